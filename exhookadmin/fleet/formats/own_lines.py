"""This program's own JSON Lines: everything about a fleet, one object a line.

    {"type": "group", "name": …, "description": …}
    {"type": "policy", "name": …, "description": …, "enabled": …, "everyone": …, "groups": […], "rules": […]}
    {"type": "device", "username": …, …, "attributes": {…}, "groups": […], "policies": […],
     "credentials": […], "rules": […]}

A member that is missing leaves the field as it is. ``policies`` are those attached to the device itself,
which are there already or stand before it in the file. A rule has ``effect``, ``action``,
``topic_filter`` and perhaps ``literal``, ``networks``, ``priority``, ``enabled``, ``note``. A credential
has ``kind``, ``encoded`` or ``password``, and perhaps ``label``, ``enabled``, ``expires_at``. Unlike in the
lists of other brokers a rule's order is its priority.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from accounts.core.networks import parse_networks
from accounts.core.principal import CredentialKind
from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.json_items import json_lines
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.own_credentials import credential_problem
from exhookadmin.fleet.formats.typed import (
    a_list,
    a_text,
    an_object,
    no_others,
    one_of,
    optional_bool,
    optional_int,
    optional_text,
    required_text,
)
from exhookadmin.fleet.formats.unrepeated import NETWORKS, filter_reason
from exhookadmin.fleet.records import (
    CredentialRecord,
    DeviceRecord,
    Finding,
    GroupRecord,
    Kind,
    PolicyRecord,
    Read,
    RuleRecord,
    Subject,
    SubjectRules,
)

TYPES = ("group", "policy", "device")
LONGEST_LINE = 16 * 1024 * 1024
"""In bytes: a policy stands on one line with all its rules, and ten thousand of them are some megabytes."""
_TEXTS = ("description", "client_id_binding", "client_id", "certificate_cn")
_BOOLEANS = ("enabled", "superuser", "credential_required")
_MOMENTS = ("valid_from", "valid_until")
_LISTS = ("networks", "groups", "policies", "credentials", "rules")
_DEVICE = ("type", "username", *_TEXTS, *_BOOLEANS, *_MOMENTS, "attributes", *_LISTS)
_POLICY = ("type", "name", "description", "enabled", "everyone", "groups", "devices", "rules")
_RULE = ("effect", "action", "topic_filter", "literal", "networks", "priority", "enabled", "note")
_CREDENTIAL = ("kind", "encoded", "password", "label", "enabled", "expires_at")


def read_own_lines(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Raises Malformed."""
    for item in json_lines(stream, LONGEST_LINE):
        line, value = item.line, item.value
        match one_of(required_text(value, "type", line), TYPES, line, "type"):
            case "group":
                no_others(value, ("type", "name", "description"), line)
                description = optional_text(value, "description", line) if "description" in value else None
                yield GroupRecord(line, required_text(value, "name", line), description)
            case "policy":
                yield from _policy(line, value)
            case "device":
                yield _device(line, value)


def _policy(line: int, value: Mapping[str, Any]) -> Iterator[Read]:
    no_others(value, _POLICY, line)
    name = required_text(value, "name", line)
    yield PolicyRecord(
        line,
        name,
        description=optional_text(value, "description", line) if "description" in value else None,
        enabled=_maybe(value, "enabled", line),
        everyone=_maybe(value, "everyone", line),
        groups=_names(value, "groups", line),
        devices=_names(value, "devices", line),
    )
    if "rules" in value:
        yield SubjectRules(line, Subject(policy=name), _rules(line, value, Subject(policy=name)))


def _device(line: int, value: Mapping[str, Any]) -> Read:
    no_others(value, _DEVICE, line)
    username = required_text(value, "username", line)
    values: dict[str, Any] = {name: optional_text(value, name, line) for name in _TEXTS if name in value}
    values |= {name: optional_bool(value, name, line, True) for name in _BOOLEANS if name in value}
    values |= {name: optional_text(value, name, line) or None for name in _MOMENTS if name in value}
    if "networks" in value:
        values["networks"] = "\n".join(_names(value, "networks", line) or ())
    if "attributes" in value:
        values["attributes"] = an_object(value["attributes"], line, "attributes")
    try:
        credentials = tuple(_credentials(line, value))
    except _Refused as refused:
        return Finding(Kind.REFUSED, line, refused.field, refused.reason)
    rules = _rules(line, value, Subject(username=username)) if "rules" in value else None
    groups, policies = _names(value, "groups", line), _names(value, "policies", line)
    return DeviceRecord(line, username, values, groups, credentials, rules, policies=policies)


class _Refused(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def _credentials(line: int, value: Mapping[str, Any]) -> Iterator[CredentialRecord]:
    for number, entry in enumerate(a_list(value.get("credentials") or [], line, "credentials")):
        field = f"credentials[{number}]"
        given = an_object(entry, line, field)
        no_others(given, _CREDENTIAL, line)
        kind = one_of(
            optional_text(given, "kind", line) or CredentialKind.PASSWORD, list(CredentialKind), line, field
        )
        encoded, plain = optional_text(given, "encoded", line), optional_text(given, "password", line)
        if bool(encoded) == bool(plain):
            raise Malformed(line, "a credential needs either encoded or password", field)
        credential = CredentialRecord(
            CredentialKind(kind),
            encoded,
            plain,
            label=optional_text(given, "label", line),
            enabled=optional_bool(given, "enabled", line, True),
            expires_at=optional_text(given, "expires_at", line) or None,
        )
        problem = credential_problem(credential)
        if problem:
            raise _Refused(field, problem)
        yield credential


def _rules(line: int, value: Mapping[str, Any], subject: Subject) -> tuple[RuleRecord, ...]:
    return tuple(
        _rule(line, an_object(rule, line, f"rules[{number}]"), subject, f"rules[{number}]")
        for number, rule in enumerate(a_list(value["rules"], line, "rules"))
    )


def _rule(line: int, rule: Mapping[str, Any], subject: Subject, field: str) -> RuleRecord:
    no_others(rule, _RULE, line)
    topic_filter = required_text(rule, "topic_filter", line)
    problem = filter_reason(topic_filter)
    if problem:
        raise Malformed(line, problem, f"{field}.topic_filter")
    try:
        networks = parse_networks(_names(rule, "networks", line) or ())
    except ValueError:
        raise Malformed(line, f"this is no list of networks: {NETWORKS}", f"{field}.networks") from None
    return RuleRecord(
        line,
        subject,
        Effect(one_of(required_text(rule, "effect", line), list(Effect), line, f"{field}.effect")),
        Action(one_of(required_text(rule, "action", line), list(Action), line, f"{field}.action")),
        topic_filter,
        optional_bool(rule, "literal", line, False),
        tuple(str(network) for network in networks),
        optional_int(rule, "priority", line, 0),
        optional_bool(rule, "enabled", line, True),
        optional_text(rule, "note", line),
    )


def _maybe(value: Mapping[str, Any], name: str, line: int) -> bool | None:
    return optional_bool(value, name, line, True) if name in value else None


def _names(value: Mapping[str, Any], name: str, line: int) -> tuple[str, ...] | None:
    if name not in value:
        return None
    return tuple(a_text(entry, line, name) for entry in a_list(value[name], line, name))
