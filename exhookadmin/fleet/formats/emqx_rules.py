"""EMQX's built-in database: authorization rules, as its REST API takes and gives them.

    [{"username": "u", "rules": […]}]    of a user, tried after those of his client id
    [{"clientid": "c", "rules": […]}]    of a client id, tried first
    {"rules": […]}                       of everyone, tried last

In each list the first rule that matches decides. The same rules come from EMQX's HTTP and JWT sources, in an
older shape too: ``{"pub": […], "sub": […], "all": […]}``, which only allows. EMQX Cloud's CSV has
one rule a row.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from accounts.core.text import quoted
from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import (
    ANYONE,
    Alternatives,
    BadCondition,
    all_of,
    client_id_is,
    client_id_like,
    from_networks,
    lost,
    username_is,
    username_like,
)
from exhookadmin.fleet.formats.csv_rows import csv_rows
from exhookadmin.fleet.formats.emqx_actions import ALL_QOS, lost_with
from exhookadmin.fleet.formats.json_items import json_items
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, emqx_filter
from exhookadmin.fleet.formats.typed import a_list, a_text, an_object, one_of, required_text
from exhookadmin.fleet.records import EVERYONE, Finding, Kind, Read, RuleRecord, Subject, SubjectRules

ACTIONS = {"publish": "publish", "pub": "publish", "subscribe": "subscribe", "sub": "subscribe", "all": "all"}
CLOUD_ACTIONS = {"pub": "publish", "sub": "subscribe", "pubsub": "all"}
LIST_LENGTH = 100_000
"""How far apart the priorities of the three kinds of lists are: so many rules can be in one list."""
USERS, CLIENTS = 1, 2

_CONDITIONS = ("username_re", "clientid_re", "ipaddr", "zone", "zone_re", "listener", "listener_re")
_KNOWN = {"permission", "action", "topic", "topics", "qos", "retain", *_CONDITIONS}
_OLD = {"pub": Action.PUBLISH, "sub": Action.SUBSCRIBE, "all": Action.ALL}


def read_emqx_rules_json(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """One SubjectRules for each list. Raises Malformed."""
    shared: list[Read] = []
    for item in json_items(stream):
        if item.key is None:
            entry = an_object(item.value, item.line)
            yield from _entry(item.line, entry, options)
        elif item.key == "rules" or item.key in _OLD:
            # A member that is a list comes item by item.
            rules = item.value if item.key == "rules" else {item.key: [item.value]}
            old = isinstance(rules, dict) and rules.keys() <= _OLD.keys()
            shared += _rules(item.line, rules if old else [rules], EVERYONE, options, len(shared))
        else:
            raise Malformed(
                item.line, "a member of the object is not known; known are rules, pub, sub and all"
            )
        if len(shared) > LIST_LENGTH:
            raise Malformed(item.line, f"a list has more than {LIST_LENGTH:,} rules")
    if shared:
        yield from _gathered(1, EVERYONE, shared, options)


def _entry(line: int, entry: Mapping[str, Any], options: Options) -> Iterator[Read]:
    names = [name for name in ("username", "clientid") if name in entry]
    if "rules" not in entry or len(names) != 1:
        raise Malformed(line, "each item needs rules, and one of username and clientid")
    name = a_text(entry[names[0]], line, names[0])
    if not name:
        raise Malformed(line, "this is empty", names[0])
    subject = Subject(username=name) if names == ["username"] else Subject(client_id=name)
    yield from _gathered(line, subject, _rules(line, entry["rules"], subject, options, 0), options)


def _gathered(line: int, subject: Subject, read: list[Read], options: Options) -> Iterator[Read]:
    rules: list[RuleRecord] = []
    for found in read:
        if isinstance(found, RuleRecord):
            rules.append(found)
        elif isinstance(found, Finding):
            yield found
            rules += found.instead if options.widen_denies else ()
    yield SubjectRules(line, subject, tuple(rules), _list_name(subject, options))


def _list_name(subject: Subject, options: Options) -> str:
    """One device may have both a list by its name and one by its client id."""
    return f"{options.name} (client ids)" if subject.client_id is not None else options.name


def _rules(line: int, rules: Any, subject: Subject, options: Options, before: int) -> list[Read]:
    band = CLIENTS if subject.client_id is not None else USERS if subject.username is not None else 0
    top = options.priority + band * LIST_LENGTH
    note = f"{_list_name(subject, options)}, line {line}"
    if isinstance(rules, dict):
        return list(_old_rules(line, rules, subject, options, top, note))
    listed = a_list(rules, line, "rules")
    if len(listed) > LIST_LENGTH:
        raise Malformed(line, f"a list has more than {LIST_LENGTH:,} rules", "rules")
    read: list[Read] = []
    for number, rule in enumerate(listed):
        field = f"rules[{number + before}]"
        try:
            read += _rule(
                line, an_object(rule, line, field), subject, options, top - before - number, note, field
            )
        except Malformed as problem:
            where = problem.field if problem.field.startswith(field) else f"{field}.{problem.field}"
            raise Malformed(line, problem.reason, where.rstrip(".")) from None
    return read


def _rule(
    line: int,
    rule: Mapping[str, Any],
    subject: Subject,
    options: Options,
    priority: int,
    note: str,
    field: str,
) -> Iterator[Read]:
    for number, name in enumerate(rule, start=1):
        if name not in _KNOWN:
            yield Finding(
                Kind.REMARK, line, field, f"EMQX ignores member {number} of this rule, and so it is here"
            )
    effect = Effect(one_of(required_text(rule, "permission", line), list(Effect), line, "permission"))
    action = ACTIONS[one_of(required_text(rule, "action", line), list(ACTIONS), line, "action")]
    missing = lost_with(action, _qos(line, rule.get("qos")), _retain(line, rule.get("retain")))
    topics = rule.get("topic", rule.get("topics"))
    yield from rewritten(
        line,
        effect,
        Action(action),
        _who(line, rule, subject),
        list(_filters(line, topics, options)),
        lost=missing,
        priority=priority,
        note=note,
        field=field,
    )


def _who(line: int, rule: Mapping[str, Any], subject: Subject) -> Alternatives:
    conditions: list[Alternatives] = [ANYONE]
    if subject.username is not None:
        conditions.append(username_is(subject.username))
    if subject.client_id is not None:
        conditions.append(client_id_is(subject.client_id))
    for name in _CONDITIONS:
        if rule.get(name) is None:
            continue
        text = a_text(rule[name], line, name)
        if name == "username_re":
            conditions.append(username_like(text))
        elif name == "clientid_re":
            conditions.append(client_id_like(text))
        elif name == "ipaddr":
            try:
                conditions.append(from_networks([text]))
            except BadCondition as problem:
                raise Malformed(line, str(problem), name) from None
        else:
            conditions.append(lost(f"the condition {name} {quoted(text)}"))
    return all_of(conditions)


def _filters(line: int, topics: Any, options: Options) -> Iterator[Filter]:
    if topics is None:
        raise Malformed(line, "this is missing", "topic")
    for topic in topics if isinstance(topics, list) else [topics]:
        try:
            yield emqx_filter(a_text(topic, line, "topic"), options.attributes)
        except BadFilter as problem:
            raise Malformed(line, str(problem), "topic") from None


def _qos(line: int, value: Any) -> frozenset[int]:
    """0, "1", "0,1", [0, "1"]; null for all (``emqx_authz_rule_raw.erl``)."""
    if value is None:
        return ALL_QOS
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    levels = set()
    for part in parts:
        if isinstance(part, bool) or str(part) not in ("0", "1", "2"):
            raise Malformed(line, "QoS is 0, 1, 2, a list of these, or a text such as “0,1”", "qos")
        levels.add(int(part))
    return frozenset(levels)


def _retain(line: int, value: Any) -> bool | None:
    """true, false, 0, 1 or all, as such or as text; null for all."""
    if value is None or value == "all":
        return None
    text = str(value).lower() if isinstance(value, (bool, int)) else value
    if text not in ("true", "false", "0", "1"):
        raise Malformed(line, "retain is true, false, 0, 1 or all", "retain")
    return text in ("true", "1")


def _old_rules(
    line: int, rules: Mapping[str, Any], subject: Subject, options: Options, priority: int, note: str
) -> Iterator[Read]:
    for name, topics in rules.items():
        if name not in _OLD:
            raise Malformed(line, "a member of rules is not known; known are pub, sub and all")
        filters = list(_filters(line, a_list(topics, line, name), options))
        yield from rewritten(
            line, Effect.ALLOW, _OLD[name], _who(line, {}, subject), filters, priority=priority, note=note,
            field=name,
        )  # fmt: skip


def read_emqx_cloud_csv(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """EMQX Cloud: ``clientid`` or ``username``, then ``topic,action,access``, first match first.

    Raises Malformed.
    """
    rows = csv_rows(stream, required=("topic", "action", "access"), optional=("clientid", "username"))
    for position, row in enumerate(rows):
        cells = row.cells
        if ("clientid" in cells) == ("username" in cells):
            raise Malformed(1, "the header needs one of the columns clientid and username")
        name = cells.get("clientid", cells.get("username", ""))
        if not name:
            raise Malformed(row.line, "this is empty", "clientid" if "clientid" in cells else "username")
        action = CLOUD_ACTIONS[one_of(cells["action"], list(CLOUD_ACTIONS), row.line, "action")]
        effect = Effect(one_of(cells["access"], list(Effect), row.line, "access"))
        yield from rewritten(
            row.line,
            effect,
            Action(action),
            client_id_is(name) if "clientid" in cells else username_is(name),
            list(_filters(row.line, cells["topic"], options)),
            priority=options.priority - position,
            note=f"{options.name}, line {row.line}",
        )
