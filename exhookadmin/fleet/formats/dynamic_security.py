"""Mosquitto's ``dynamic-security.json``: clients, groups and roles.

A role becomes a policy, a group a group, a client a device. For each client Mosquitto tries his own roles
by priority, then his groups by priority and their roles by priority, in a role the ACLs by priority; here a
rule has one priority for everyone. So the roles are put into one order that is right for every client;
where there is none (two roles that both allow and deny, in different order for two clients), the file is
refused.

The file is read twice: roles and groups first, wherever they stand.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, BinaryIO

from accounts.core.binding import Binding
from accounts.stored_hashes import UnusableHash, read_hash
from acl.core.rules import Action, Effect
from acl.core.topics import contains, has_wildcards
from exhookadmin.fleet.formats.conditions import ANYONE
from exhookadmin.fleet.formats.json_items import json_items
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, percent_filter, plain_filter
from exhookadmin.fleet.formats.typed import (
    a_list,
    an_object,
    one_of,
    optional_bool,
    optional_int,
    optional_text,
    required_text,
)
from exhookadmin.fleet.records import (
    CredentialRecord,
    DeviceRecord,
    Finding,
    GroupRecord,
    Kind,
    PolicyRecord,
    Read,
    Subject,
)

ORIGIN = "imported from Mosquitto"
ROLE_LENGTH = 1_000
"""How far apart the priorities of two roles are: so many ACLs of different priority one role can have."""
MOST_ROLES = 900
NOTE_CHARACTERS = 250
TYPES = (
    "publishClientSend",
    "publishClientReceive",
    "subscribeLiteral",
    "subscribePattern",
    "unsubscribeLiteral",
    "unsubscribePattern",
)
DEFAULTS = {
    # Where the file says nothing, Mosquitto allows nothing (plugin.c).
    "publishClientSend": False,
    "publishClientReceive": False,
    "subscribe": False,
    "unsubscribe": False,
}


@dataclass(frozen=True, slots=True)
class _Acl:
    type: str
    topic: str
    priority: int
    allow: bool


@dataclass(frozen=True, slots=True)
class _Role:
    line: int
    name: str
    wildcards: bool
    acls: tuple[_Acl, ...]

    def effects(self) -> frozenset[bool]:
        return frozenset(acl.allow for acl in self.acls)


@dataclass(slots=True)
class _Shared:
    """Everything but the clients."""

    defaults: dict[str, bool] = field(default_factory=lambda: dict(DEFAULTS))
    defaults_line: int = 1
    roles: dict[str, _Role] = field(default_factory=dict)
    groups: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    members: dict[str, dict[str, int]] = field(default_factory=dict)
    """By client, his groups with their priority, as the groups tell."""
    anonymous: str = ""
    anonymous_line: int = 1


def read_dynamic_security(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Groups, policies with their rules, then devices. ``stream`` must be seekable. Raises Malformed."""
    shared = _shared(stream)
    stream.seek(0)
    order = _order(shared, stream)
    for name, (line, _) in shared.groups.items():
        yield GroupRecord(line, name)
    yield from _defaults(shared, options)
    stream.seek(0)
    attached: dict[str, list[str]] = {}
    for line, client in _clients(stream):
        yield from _device(line, client, shared, options, attached)
    for rank, name in enumerate(order):
        role = shared.roles[name]
        groups = tuple(group for group, (_, roles) in shared.groups.items() if name in roles)
        policy = _policy_name(options, name)
        yield PolicyRecord(
            role.line,
            policy,
            everyone=False,
            groups=groups,
            devices=tuple(attached.get(name, ())),
        )
        yield from _role_rules(role, policy, options.priority - rank * ROLE_LENGTH, shared.defaults, options)
    if shared.anonymous:
        yield Finding(
            Kind.REMARK,
            shared.anonymous_line,
            "anonymousGroup",
            "clients without a name are refused here, so what this group allows them is left out",
        )


def _policy_name(options: Options, role: str) -> str:
    return f"{options.name}: {role}"


def _shared(stream: BinaryIO) -> _Shared:
    shared = _Shared()
    for item in json_items(stream):
        line = item.line
        match item.key:
            case "roles":
                role = _role(line, an_object(item.value, line))
                _new(role.name, shared.roles, line, "rolename")
                shared.roles[role.name] = role
            case "groups":
                _group(line, an_object(item.value, line), shared)
            case "defaultACLAccess":
                given = an_object(item.value, line)
                shared.defaults_line = line
                for name in DEFAULTS:
                    shared.defaults[name] = optional_bool(given, name, line, DEFAULTS[name])
            case "anonymousGroup":
                shared.anonymous = item.value if isinstance(item.value, str) else ""
                shared.anonymous_line = line
            case "clients" | "version" | "changeIndex":
                pass
            case None:
                raise Malformed(line, "this must be an object with clients, groups and roles")
            case _:
                known = "clients, groups, roles, defaultACLAccess, anonymousGroup, version and changeIndex"
                raise Malformed(line, f"a member of the object is not known; known are {known}")
    if len(shared.roles) > MOST_ROLES:
        raise Malformed(1, f"more than {MOST_ROLES} roles are not read", "roles")
    for line, roles in shared.groups.values():
        _all_there(roles, shared.roles, line, "roles")
    return shared


def _new(name: str, known: Iterable[str], line: int, field_: str) -> None:
    if name in known:
        raise Malformed(line, "this name was in the file before", field_)


def _all_there(names: Iterable[str], known: Container[str], line: int, field_: str) -> None:
    """``names`` by their priority."""
    for number, name in enumerate(names, start=1):
        if name not in known:
            raise Malformed(line, f"number {number} of these, by priority, is not in the file", field_)


def _role(line: int, role: Mapping[str, Any]) -> _Role:
    name = required_text(role, "rolename", line)
    acls = []
    for number, value in enumerate(a_list(role.get("acls") or [], line, "acls")):
        where = f"acls[{number}]"
        acl = an_object(value, line, where)
        acls.append(
            _Acl(
                one_of(required_text(acl, "acltype", line), TYPES, line, f"{where}.acltype"),
                required_text(acl, "topic", line),
                optional_int(acl, "priority", line, 0),
                optional_bool(acl, "allow", line, False),
            )
        )
    if len({_place(acl) for acl in acls}) > ROLE_LENGTH:
        raise Malformed(line, f"more than {ROLE_LENGTH:,} different priorities in one role", "acls")
    return _Role(line, name, optional_bool(role, "allowwildcardsubs", line, True), tuple(acls))


def _group(line: int, group: Mapping[str, Any], shared: _Shared) -> None:
    name = required_text(group, "groupname", line)
    _new(name, shared.groups, line, "groupname")
    shared.groups[name] = (line, _by_priority(group, "roles", "rolename", line))
    for client, priority in _priorities(group, "clients", "username", line).items():
        shared.members.setdefault(client, {})[name] = priority


def _priorities(owner: Mapping[str, Any], name: str, key: str, line: int) -> dict[str, int]:
    found = {}
    for number, value in enumerate(a_list(owner.get(name) or [], line, name)):
        entry = an_object(value, line, f"{name}[{number}]")
        found[required_text(entry, key, line)] = optional_int(entry, "priority", line, -1)
    return found


def _by_priority(owner: Mapping[str, Any], name: str, key: str, line: int) -> tuple[str, ...]:
    priorities = _priorities(owner, name, key, line)
    return tuple(sorted(priorities, key=lambda entry: -priorities[entry]))


def _clients(stream: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for item in json_items(stream):
        if item.key == "clients":
            yield item.line, an_object(item.value, item.line)


def _groups_of(client: Mapping[str, Any], username: str, line: int, shared: _Shared) -> tuple[str, ...]:
    priorities = shared.members.get(username, {}) | _priorities(client, "groups", "groupname", line)
    groups = tuple(sorted(priorities, key=lambda name: -priorities[name]))
    _all_there(groups, shared.groups, line, "groups")
    return groups


def _roles_of(client: Mapping[str, Any], line: int, shared: _Shared) -> tuple[str, ...]:
    roles = _by_priority(client, "roles", "rolename", line)
    _all_there(roles, shared.roles, line, "roles")
    return roles


def _order(shared: _Shared, stream: BinaryIO) -> list[str]:
    """The roles, first tried first, so that it is right for every client."""
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(shared.roles, ()))
    # Not a set: the same file is to give the same order each time.
    sequences: dict[tuple[str, ...], None] = {}
    for line, client in _clients(stream):
        username = required_text(client, "username", line)
        tried = list(_roles_of(client, line, shared))
        for group in _groups_of(client, username, line, shared):
            tried += shared.groups[group][1]
        sequences[tuple(dict.fromkeys(tried))] = None
    for sequence in sequences:
        for place, later in enumerate(sequence):
            for earlier in sequence[:place]:
                if _matters(shared.roles[earlier], shared.roles[later]):
                    sorter.add(later, earlier)
    try:
        return list(sorter.static_order())
    except CycleError as problem:
        clashing = set(problem.args[1])
        places = [place for place, name in enumerate(shared.roles) if name in clashing]
        raise Malformed(
            list(shared.roles.values())[places[0]].line,
            f"{' and '.join(f'roles[{place}]' for place in places)} allow and deny, and clients have them in "
            "different order, which cannot be kept here: give them one order of priority",
            "roles",
        ) from None


def _matters(one: _Role, other: _Role) -> bool:
    """Whether it can make a difference which of the two is tried first."""
    return len(one.effects() | other.effects()) > 1


def _device(
    line: int, client: Mapping[str, Any], shared: _Shared, options: Options, attached: dict[str, list[str]]
) -> Iterator[Read]:
    username = required_text(client, "username", line)
    client_id = optional_text(client, "clientid", line)
    values: dict[str, Any] = {"enabled": not optional_bool(client, "disabled", line, False)}
    description = " – ".join(
        text for name in ("textname", "textdescription") if (text := optional_text(client, name, line))
    )
    if description:
        values["description"] = description
    if client_id and client_id == username:
        values |= {"client_id_binding": Binding.EQUALS_USERNAME.value, "client_id": ""}
    elif client_id:
        values |= {"client_id_binding": Binding.EXACT.value, "client_id": client_id}
    elif options.binding is not None:
        values["client_id_binding"] = options.binding.value
    try:
        credentials = tuple(_credentials(line, client))
    except UnusableHash as problem:
        yield Finding(Kind.REFUSED, line, "password", str(problem))
        return
    if not credentials:
        yield Finding(Kind.REMARK, line, "password", "this client has no password and cannot connect")
    for role in _roles_of(client, line, shared):
        attached.setdefault(role, []).append(username)
    groups = _groups_of(client, username, line, shared)
    yield DeviceRecord(line, username, values, groups=groups, credentials=credentials)


def _credentials(line: int, client: Mapping[str, Any]) -> Iterator[CredentialRecord]:
    password, salt = optional_text(client, "password", line), optional_text(client, "salt", line)
    encoded = optional_text(client, "encoded_password", line)
    if password:
        encoded = f"$7${optional_int(client, 'iterations', line, 101)}${salt}${password}"
    if encoded:
        read_hash(encoded)
        yield CredentialRecord(encoded=encoded, origin=ORIGIN)


def _defaults(shared: _Shared, options: Options) -> Iterator[Read]:
    """What is allowed where no ACL matches: the last rules of all."""
    line, lowest = shared.defaults_line, options.priority - MOST_ROLES * ROLE_LENGTH
    subscribing = shared.defaults["subscribe"] and shared.defaults["publishClientReceive"]
    allowed = {
        "publishClientSend": (Action.PUBLISH, shared.defaults["publishClientSend"]),
        "subscribe": (Action.SUBSCRIBE, subscribing),
    }
    if not any(wanted for _, wanted in allowed.values()):
        return
    policy = _policy_name(options, "default access")
    yield PolicyRecord(line, policy, everyone=True)
    for name, (action, wanted) in allowed.items():
        if wanted:
            yield from rewritten(
                line,
                Effect.ALLOW,
                action,
                ANYONE,
                [Filter("#")],
                priority=lowest,
                note=f"{options.name}, defaultACLAccess {name}",
                subject=Subject(policy=policy),
            )


def _role_rules(
    role: _Role, policy: str, top: int, defaults: Mapping[str, bool], options: Options
) -> Iterator[Read]:
    places = {place: number for number, place in enumerate(sorted({_place(acl) for acl in role.acls}))}
    receivable = [acl.topic for acl in role.acls if acl.type == "publishClientReceive" and acl.allow]
    for number, acl in enumerate(role.acls):
        where = f"acls[{number}]"
        missing, action = _meaning(role, acl, defaults, receivable)
        if action is None:
            if not acl.allow:
                yield Finding(
                    Kind.ERROR,
                    role.line,
                    where,
                    f"a deny of {acl.type} cannot be kept here: the broker asks nobody before it lets a "
                    "client unsubscribe; remove it from the file",
                )
            continue
        try:
            filter_ = _filter(acl)
        except BadFilter as problem:
            raise Malformed(role.line, str(problem), f"{where}.topic") from None
        delivery = acl.type == "publishClientReceive"
        yield from rewritten(
            role.line,
            Effect.ALLOW if acl.allow else Effect.DENY,
            action,
            ANYONE,
            [filter_],
            lost=missing,
            # Mosquitto judges delivery apart from subscriptions, so no allow of these comes before it.
            priority=options.priority + 1 if delivery else top - places[_place(acl)],
            note=f"{options.name}, role {role.name}, {acl.type}"[:NOTE_CHARACTERS],
            field=where,
            subject=Subject(policy=policy),
        )


def _place(acl: _Acl) -> tuple[bool, int]:
    """Sorts ACLs as Mosquitto tries them: literal subscriptions before patterns, then by priority."""
    return acl.type != "subscribeLiteral", -acl.priority


def _meaning(
    role: _Role, acl: _Acl, defaults: Mapping[str, bool], receivable: Sequence[str]
) -> tuple[list[str], Action | None]:
    """What of the ACL is lost, and the action that it is about; None for none that ExHook is asked about."""
    if acl.type.startswith("unsubscribe"):
        return [], None
    if acl.type == "publishClientSend":
        return [], Action.PUBLISH
    if acl.type == "publishClientReceive":
        if acl.allow:
            # It only takes effect together with a subscription, which is judged with it below.
            return [], None
        return ["that only the delivery is denied, not the subscription,"], Action.SUBSCRIBE
    lost = []
    if (
        acl.allow
        and not defaults["publishClientReceive"]
        and not any(contains(topic, acl.topic) for topic in receivable)
    ):
        lost.append("a subscription whose messages the role does not let through (publishClientReceive)")
    if acl.allow and not role.wildcards and has_wildcards(acl.topic):
        lost.append("the condition allowwildcardsubs false")
    return lost, Action.SUBSCRIBE


def _filter(acl: _Acl) -> Filter:
    if acl.type == "subscribeLiteral":
        made = plain_filter(acl.topic)
        return made if made.lost else Filter(made.text, literal=True)
    return percent_filter(acl.topic)
