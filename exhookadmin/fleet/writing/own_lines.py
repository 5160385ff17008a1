"""This program's own JSON Lines, with everything that decisions depend on: what a backup is made of.

Every member is written, also an empty one, so that restoring it over what is there empties it too.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from exhookadmin.fleet.formats.own_credentials import credential_problem
from exhookadmin.fleet.formats.own_lines import LONGEST_LINE
from exhookadmin.fleet.records import (
    CredentialRecord,
    DeviceRecord,
    GroupRecord,
    Kind,
    PolicyRecord,
    Record,
    RuleRecord,
    SubjectRules,
)
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.unsaid import Unsaid


def write_own_lines(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """Groups, policies, devices, one a line."""
    for name, value in _shared(fleet.shared()):
        yield from _one(name, value)
    for device in fleet.devices():
        yield from _problems(device)
        yield from _one(device.username, device_object(device))


def _one(name: str, value: Any) -> Iterator[Written]:
    line = own_line(value)
    if len(line) > LONGEST_LINE:
        yield Unsaid(Kind.ERROR, name, "rules", f"its line is longer than {LONGEST_LINE:,} bytes")
    yield line


def own_line(value: Any) -> bytes:
    """One line, in the one spelling that backups have."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"


def device_object(device: DeviceRecord, *, credentials: bool = True) -> dict[str, Any]:
    """A device as the format has it. Without ``credentials`` no secret's stored form is in it."""
    values = dict(device.values)
    made: dict[str, Any] = {"type": "device", "username": device.username}
    networks = values.pop("networks", None)
    attributes = values.pop("attributes", None)
    made |= {name: values[name] for name in sorted(values)}
    if networks is not None:
        made["networks"] = networks.splitlines()
    if attributes is not None:
        made["attributes"] = dict(sorted(attributes.items()))
    for name, names in (("groups", device.groups), ("policies", device.policies)):
        if names is not None:
            made[name] = list(names)
    if credentials:
        made["credentials"] = [_credential(one) for one in device.credentials]
    if device.rules is not None:
        made["rules"] = [rule_object(rule) for rule in device.rules]
    return made


def rule_object(rule: RuleRecord) -> dict[str, Any]:
    """A rule as the format has it."""
    return {
        "effect": rule.effect.value,
        "action": rule.action.value,
        "topic_filter": rule.topic_filter,
        "literal": rule.literal,
        "networks": list(rule.networks),
        "priority": rule.priority,
        "enabled": rule.enabled,
        "note": rule.note,
    }


def _credential(credential: CredentialRecord) -> dict[str, Any]:
    return {
        "kind": credential.kind.value,
        "encoded": credential.encoded,
        "label": credential.label,
        "enabled": credential.enabled,
        "expires_at": credential.expires_at,
    }


def _shared(records: Iterable[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
    policy: dict[str, Any] | None = None
    for record in records:
        if policy is not None and isinstance(record, SubjectRules):
            policy["rules"] = [rule_object(rule) for rule in record.rules]
            continue
        if policy is not None:
            yield policy["name"], policy
            policy = None
        if isinstance(record, GroupRecord):
            described = {"type": "group", "name": record.name, "description": record.description or ""}
            yield record.name, described
        elif isinstance(record, PolicyRecord):
            policy = {
                "type": "policy",
                "name": record.name,
                "description": record.description or "",
                "enabled": record.enabled,
                "everyone": record.everyone,
                "groups": list(record.groups or ()),
            }
    if policy is not None:
        yield policy["name"], policy


def _problems(device: DeviceRecord) -> Iterator[Unsaid]:
    for number, credential in enumerate(device.credentials):
        problem = credential_problem(credential)
        if problem:
            yield Unsaid(
                Kind.ERROR,
                device.username,
                f"credentials[{number}]",
                f"it could not be restored: {problem}; delete this credential",
            )
