"""VerneMQ's authentication rows (``vmq_diversity``), as a JSON array or one JSON object a line.

    {"mountpoint": "", "client_id": "c", "username": "u", "password": "$2a$…",
     "publish_acl": [{"pattern": "a/+", "max_qos": 1, "allowed_retain": false, "modifiers": {…}}],
     "subscribe_acl": […]}

Username and client id must both hold, so the device is bound to that client id. There is no deny.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from accounts.core.binding import Binding
from accounts.stored_hashes import UnusableHash, read_hash
from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import ANYONE
from exhookadmin.fleet.formats.json_items import Item, json_items, json_lines
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, percent_filter
from exhookadmin.fleet.formats.typed import (
    a_list,
    a_text,
    an_object,
    no_others,
    optional_bool,
    optional_int,
    optional_text,
    required_text,
)
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Finding, Kind, Read, RuleRecord, Subject

ORIGIN = "imported from VerneMQ"
_ROW = ("mountpoint", "client_id", "username", "password", "passhash", "publish_acl", "subscribe_acl")
_ACLS = (("publish_acl", Action.PUBLISH), ("subscribe_acl", Action.SUBSCRIBE))
_LIMITS = ("max_payload_size", "modifiers")


def read_vernemq(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """An array. Raises Malformed."""
    for item in json_items(stream):
        if item.key is not None:
            raise Malformed(item.line, "this must be an array of rows in brackets")
        yield from _row(item, options)


def read_vernemq_lines(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """One row a line. Raises Malformed."""
    for item in json_lines(stream):
        yield from _row(item, options)


def _row(item: Item, options: Options) -> Iterator[Read]:
    line, row = item.line, an_object(item.value, item.line)
    no_others(row, _ROW, line)
    username, client_id = required_text(row, "username", line), required_text(row, "client_id", line)
    mountpoint = optional_text(row, "mountpoint", line)
    encoded = optional_text(row, "password", line) or optional_text(row, "passhash", line)
    try:
        if encoded:
            read_hash(encoded)
    except UnusableHash as problem:
        yield Finding(Kind.REFUSED, line, "password", str(problem))
        return
    subject = Subject(username=username)
    rules = []
    for name, action in _ACLS:
        for number, acl in enumerate(a_list(row.get(name) or [], line, name)):
            field = f"{name}[{number}]"
            for found in _allow(line, acl, action, subject, mountpoint, options, field):
                if isinstance(found, RuleRecord):
                    rules.append(found)
                else:
                    yield found
    values: dict[str, Any] = {}
    # “*” stands for any client id in VerneMQ.
    if client_id == "*":
        if options.binding is not None:
            values["client_id_binding"] = options.binding.value
    elif client_id == username:
        values |= {"client_id_binding": Binding.EQUALS_USERNAME.value, "client_id": ""}
    else:
        values |= {"client_id_binding": Binding.EXACT.value, "client_id": client_id}
    credentials = (CredentialRecord(encoded=encoded, origin=ORIGIN),) if encoded else ()
    yield DeviceRecord(
        line, username, values, credentials=credentials, rules=tuple(rules), list_name=options.name
    )


def _allow(
    line: int,
    acl: Any,
    action: Action,
    subject: Subject,
    mountpoint: str,
    options: Options,
    field: str,
) -> Iterator[RuleRecord | Finding]:
    if isinstance(acl, str):
        acl = {"pattern": acl}
    acl = an_object(acl, line, field)
    no_others(acl, ("pattern", "max_qos", "allowed_retain", *_LIMITS), line)
    yield from rewritten(
        line,
        Effect.ALLOW,
        action,
        ANYONE,
        [_filter(line, acl.get("pattern"), mountpoint, field)],
        lost=list(_lost(line, acl)),
        priority=options.priority,
        note=f"{options.name}, line {line}",
        field=field,
        subject=subject,
    )


def _filter(line: int, pattern: Any, mountpoint: str, field: str) -> Filter:
    try:
        return percent_filter(a_text(pattern, line, f"{field}.pattern"), mountpoint)
    except BadFilter as problem:
        raise Malformed(line, str(problem), f"{field}.pattern") from None


def _lost(line: int, acl: Mapping[str, Any]) -> Iterator[str]:
    qos = optional_int(acl, "max_qos", line, 2)
    if qos < 2:
        yield f"the condition max_qos {qos}"
    if not optional_bool(acl, "allowed_retain", line, True):
        yield "the condition allowed_retain false"
    for name in _LIMITS:
        if acl.get(name):
            yield f"the setting {name}"
