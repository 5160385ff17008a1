"""Small fleets without a database, and what a written file reads as."""

import io
from collections.abc import Iterable
from typing import Any

from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.known import FORMATS, read
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Kind, Read, Record, RuleRecord, Subject
from exhookadmin.fleet.stored import in_order
from exhookadmin.fleet.writing.fleet import Effective, Fleet, Listed, WriteOptions
from exhookadmin.fleet.writing.known import TARGETS
from exhookadmin.fleet.writing.unsaid import Unsaid

VALUES: dict[str, Any] = {
    "description": "",
    "client_id_binding": "equals_username",
    "client_id": "",
    "certificate_cn": "",
    "networks": "",
    "enabled": True,
    "superuser": False,
    "credential_required": True,
    "attributes": {},
    "valid_from": None,
    "valid_until": None,
}
NOW = 1_800_000_000.0


def device(
    username: str = "p1", *credentials: CredentialRecord, rules: Any = (), **values: Any
) -> DeviceRecord:
    """A device; its rules are its own."""
    groups = values.pop("groups", ())
    return DeviceRecord(
        0, username, VALUES | values, groups, tuple(credentials), in_order(rules), policies=()
    )


def rule(text: str, **fields: Any) -> RuleRecord:
    """“deny publish a/#”, “allow all eq #”, for device p1."""
    effect, action, topic_filter = text.split(" ", 2)
    literal = topic_filter.startswith("eq ")
    return RuleRecord(
        0,
        fields.pop("subject", Subject(username="p1")),
        Effect(effect),
        Action(action),
        topic_filter.removeprefix("eq "),
        literal,
        **fields,
    )


def fleet(*devices: DeviceRecord, shared: Iterable[Record] = ()) -> Fleet:
    """These devices with their own rules."""
    own = in_order(one for each in devices for one in each.rules or ())
    return Fleet(
        shared=lambda: iter(shared),
        devices=lambda: iter(devices),
        effective=lambda: (
            Effective(each, tuple(one for one in each.rules or () if one.enabled)) for each in devices
        ),
        listed=lambda: (Listed(one, (one.subject.username or "",)) for one in own if one.enabled),
    )


def written(name: str, wrote: Fleet, **options: Any) -> tuple[bytes, list[Unsaid]]:
    """The file, and what is not in it."""
    found = list(TARGETS[name].write(wrote, WriteOptions(**{"now": NOW, **options})))
    content = b"".join(one for one in found if isinstance(one, bytes))
    return content, [one for one in found if isinstance(one, Unsaid)]


def lost(unsaid: Iterable[Unsaid]) -> list[tuple[Kind, str]]:
    """Kind and field of what stands against writing the file."""
    return [(one.kind, one.field) for one in unsaid if one.kind is not Kind.REMARK]


def read_again(name: str, content: bytes, **options: Any) -> list[Read]:
    """What the import reads in it."""
    return list(read(FORMATS[name], io.BytesIO(content), Options(**{"name": "test", "now": NOW, **options})))
