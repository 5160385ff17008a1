"""Rows of EMQX 4's ``mqtt_acl`` table, exported as CSV or JSON in the order of their ids.

``allow`` 0|1, ``ipaddr``, ``username`` (``$all`` for everyone), ``clientid``, ``access`` 1 subscribe, 2
publish, 3 both, ``topic`` with ``%u`` and ``%c``. All of ipaddr, username and clientid that are given must
hold; the first row that matches decides. NULL may be an empty cell, ``NULL`` or ``\\N``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import (
    ANYONE,
    Alternatives,
    BadCondition,
    all_of,
    client_id_is,
    from_networks,
    username_is,
)
from exhookadmin.fleet.formats.csv_rows import csv_rows
from exhookadmin.fleet.formats.json_items import json_items
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, percent_filter
from exhookadmin.fleet.formats.typed import an_object, no_others
from exhookadmin.fleet.records import Read

COLUMNS = ("allow", "ipaddr", "username", "clientid", "access", "topic")
ACCESS = {"1": Action.SUBSCRIBE, "2": Action.PUBLISH, "3": Action.ALL}
EFFECTS = {"0": Effect.DENY, "1": Effect.ALLOW}
EVERYBODY = "$all"
_NULLS = ("", "NULL", "\\N")


def read_mqtt_acl_csv(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Raises Malformed."""
    for position, row in enumerate(csv_rows(stream, required=COLUMNS, optional=("id",))):
        yield from _rule(row.line, row.cells, options, position)


def read_mqtt_acl_json(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """An array of objects with the same names. Raises Malformed."""
    for position, item in enumerate(json_items(stream)):
        if item.key is not None:
            raise Malformed(item.line, "this must be an array of rows in brackets")
        row = an_object(item.value, item.line)
        no_others(row, ("id", *COLUMNS), item.line)
        cells = {name: "" if row.get(name) is None else str(row[name]) for name in COLUMNS}
        yield from _rule(item.line, cells, options, position)


def _rule(line: int, row: Mapping[str, Any], options: Options, position: int) -> Iterator[Read]:
    if row["allow"] not in EFFECTS:
        raise Malformed(line, "this is neither 0 (deny) nor 1 (allow)", "allow")
    if row["access"] not in ACCESS:
        raise Malformed(line, "this must be 1 (subscribe), 2 (publish) or 3 (both)", "access")
    yield from rewritten(
        line,
        EFFECTS[row["allow"]],
        ACCESS[row["access"]],
        _who(line, row),
        [_filter(line, row["topic"])],
        priority=options.priority - position,
        note=f"{options.name}, line {line}",
    )


def _who(line: int, row: Mapping[str, str]) -> Alternatives:
    address, username, client_id = (
        "" if row[name] in _NULLS else row[name] for name in ("ipaddr", "username", "clientid")
    )
    if username == EVERYBODY:
        # EMQX 4 then looks at nothing else of the row.
        return ANYONE
    if not (address or username or client_id):
        raise Malformed(
            line, "it names no address, username or client id; write $all for everyone", "username"
        )
    conditions = []
    if address:
        try:
            conditions.append(from_networks([address]))
        except BadCondition as problem:
            raise Malformed(line, str(problem), "ipaddr") from None
    if username:
        conditions.append(username_is(username))
    if client_id:
        conditions.append(client_id_is(client_id))
    return all_of(conditions)


def _filter(line: int, text: str) -> Filter:
    literal = text.startswith("eq ")
    try:
        return percent_filter(text.removeprefix("eq "), literal=literal)
    except BadFilter as problem:
        raise Malformed(line, str(problem), "topic") from None
