"""mosquitto-go-auth's tables, exported as CSV: users with their hashes, and what they may do.

``rw`` is 1 read, 2 write, 3 readwrite, 4 subscribe. It asks for 4 when a client subscribes and for 1 when a
message is about to be delivered, and 3 stands for all. Here a subscription is one question, so it is allowed
where a filter has both 1 and 4, or 3. There is no deny.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from accounts.core.binding import Binding
from accounts.stored_hashes import UnusableHash, read_hash
from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import ANYONE
from exhookadmin.fleet.formats.csv_rows import csv_rows
from exhookadmin.fleet.formats.go_auth_hash import go_auth_hash
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, percent_filter
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Finding, Kind, Read, Subject

ORIGIN = "imported from mosquitto-go-auth"
TRUE, FALSE = ("1", "t", "true"), ("", "0", "f", "false")
_ALONE = {
    "1": "reading without subscribing (rw 1 without 4)",
    "4": "subscribing without reading (rw 4 without 1)",
}


def read_go_auth_users(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """``username,password_hash[,is_admin]``. Raises Malformed."""
    for row in csv_rows(stream, required=("username", "password_hash"), optional=("is_admin", "id")):
        username, encoded = row.cells["username"], row.cells["password_hash"]
        admin = row.cells.get("is_admin", "").lower()
        if not username:
            raise Malformed(row.line, "this is missing", "username")
        if admin not in TRUE + FALSE:
            raise Malformed(row.line, "this is neither true nor false", "is_admin")
        try:
            encoded = go_auth_hash(encoded, options.salt_encoding)
            read_hash(encoded)
        except UnusableHash as problem:
            yield Finding(Kind.REFUSED, row.line, "password_hash", str(problem))
            continue
        values: dict[str, Any] = {"superuser": admin in TRUE}
        if options.binding is not None:
            values["client_id_binding"] = Binding(options.binding).value
        credential = CredentialRecord(encoded=encoded, origin=ORIGIN)
        yield DeviceRecord(row.line, username, values, credentials=(credential,))


def read_go_auth_acls(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """``username,topic,rw``. Raises Malformed. Remembers rows with 1 and 4 until their other half comes."""
    halves: dict[tuple[str, str], tuple[int, str]] = {}
    for row in csv_rows(stream, required=("username", "topic", "rw"), optional=("id",)):
        username, topic, access = row.cells["username"], row.cells["topic"], row.cells["rw"]
        if not username:
            raise Malformed(row.line, "this is missing", "username")
        if access not in ("1", "2", "3", "4"):
            raise Malformed(row.line, "this must be 1 (read), 2 (write), 3 (both) or 4 (subscribe)", "rw")
        action = {"2": Action.PUBLISH, "3": Action.ALL}.get(access)
        if action is None:
            first = halves.pop((username, topic), None)
            if first is None or first[1] == access:
                _filter(row.line, topic)
                halves[username, topic] = (row.line, access)
                continue
            action = Action.SUBSCRIBE
        yield from _allow(row.line, username, action, topic, options)
    for (username, topic), (line, access) in halves.items():
        yield from _allow(line, username, Action.SUBSCRIBE, topic, options, lost=_ALONE[access])


def _allow(
    line: int, username: str, action: Action, topic: str, options: Options, lost: str = ""
) -> Iterator[Read]:
    yield from rewritten(
        line,
        Effect.ALLOW,
        action,
        ANYONE,
        [_filter(line, topic)],
        lost=[lost] if lost else [],
        priority=options.priority,
        note=f"{options.name}, line {line}",
        subject=Subject(username=username),
        field="rw",
    )


def _filter(line: int, topic: str) -> Filter:
    try:
        return percent_filter(topic)
    except BadFilter as problem:
        raise Malformed(line, str(problem), "topic") from None
