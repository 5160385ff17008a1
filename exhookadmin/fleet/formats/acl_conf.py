"""EMQX's ``acl.conf``: Erlang terms, tried from the top, the first that matches decides.

    {allow | deny, all}.
    {allow | deny, condition, action, all | ["filter", …]}.

The grammar is that of the file's own header up to EMQX 6.3 and of ``emqx_authz_rule.erl``. A rule of
username x belongs to device x; one of client id x to the device that is bound to x; the others to everyone.
The topics ``all`` also mean those that begin with ``$``, which no filter of ours can say: an allow then
leaves them out, a deny names those of them that a later rule could allow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from accounts.core.text import quoted, text_problem
from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import (
    ANYONE,
    Alternatives,
    BadCondition,
    all_of,
    any_of,
    client_id_is,
    client_id_like,
    from_networks,
    lost,
    username_is,
    username_like,
)
from exhookadmin.fleet.formats.emqx_actions import ALL_QOS, lost_with
from exhookadmin.fleet.formats.erlang_terms import Atom, erlang_terms
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.topics import BadFilter, Filter, emqx_filter
from exhookadmin.fleet.records import Finding, Kind, Read

CONDITIONS = (
    *("all", "and", "or", "ipaddr", "ipaddrs", "user", "username", "client", "clientid"),
    *("client_attr", "zone", "listener", "security_profile"),
)
MOST_RULES = 100_000
"""A list is read whole, because what a deny must say depends on the rules after it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule as the file has it. ``filters`` is None for the topics ``all``."""

    line: int
    effect: Effect
    who: Alternatives
    action: Action
    lost: tuple[str, ...]
    filters: tuple[Filter, ...] | None


def read_acl_conf(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """The rules of the list, highest priority first. Raises Malformed."""
    rules: list[_Rule] = []
    for term in erlang_terms(stream):
        if len(rules) == MOST_RULES:
            raise Malformed(term.line, f"a list of more than {MOST_RULES:,} rules is not read")
        rules.append(_rule(term.line, term.value, options))
    for position, rule in enumerate(rules):
        filters = rule.filters
        if filters is None:
            filters = (Filter("#"), *_hidden_topics(rule, rules[position + 1 :]))
            if rule.effect is Effect.ALLOW:
                yield Finding(
                    Kind.REMARK,
                    rule.line,
                    "topics",
                    "“all” is taken as #, which never covers topics that begin with $, such as $SYS/#; "
                    "add a rule for those that are wanted",
                )
        if not rule.who:
            yield Finding(
                Kind.REMARK, rule.line, "condition", "its conditions can never hold together: it is left out"
            )
        elif not filters:
            yield Finding(
                Kind.REMARK, rule.line, "topics", "it names no topic, so it never matches: it is left out"
            )
        yield from rewritten(
            rule.line,
            rule.effect,
            rule.action,
            rule.who,
            filters,
            lost=rule.lost,
            priority=options.priority - position,
            note=f"{options.name}, line {rule.line}",
        )


def _hidden_topics(rule: _Rule, later: Sequence[_Rule]) -> tuple[Filter, ...]:
    """For a deny of all topics, the filters that deny what later rules could allow below ``$…``."""
    if rule.effect is Effect.ALLOW:
        return ()
    roots = dict.fromkeys(
        filter_.text.partition("/")[0]
        for other in later
        if other.effect is Effect.ALLOW
        for filter_ in other.filters or ()
        if filter_.text.startswith("$") and not filter_.text.startswith("${")
    )
    return tuple(Filter(f"{root}/#") for root in roots)


def _rule(line: int, term: object, options: Options) -> _Rule:
    if not isinstance(term, tuple) or not 2 <= len(term) <= 4:
        raise Malformed(line, "a rule is {allow, all}. or {allow, Condition, Action, Topics}.")
    effect = term[0]
    if not isinstance(effect, Atom) or effect not in ("allow", "deny"):
        raise Malformed(line, "it must begin with allow or deny", "permission")
    if len(term) == 2:
        if not _is(term[1], "all") and not _is_pair(term[1], "security_profile"):
            raise Malformed(line, "after allow or deny alone, only all or {security_profile, …} may follow")
        return _Rule(line, Effect(effect), _condition(line, term[1]), Action.ALL, (), None)
    action, missing, never = _action(line, term[2])
    topics = term[3] if len(term) == 4 else Atom("all")
    filters = () if never else _topics(line, topics, options)
    return _Rule(line, Effect(effect), _condition(line, term[1]), action, missing, filters)


def _condition(line: int, value: object) -> Alternatives:
    if _is(value, "all"):
        return ANYONE
    if not isinstance(value, tuple) or not value or not isinstance(value[0], Atom):
        raise Malformed(line, "a condition is all or {kind, …}", "condition")
    kind, arguments = str(value[0]), value[1:]
    try:
        match kind, arguments:
            case (("and" | "or"), (list() as parts,)):
                conditions = [_condition(line, part) for part in parts]
                return all_of(conditions) if kind == "and" else any_of(conditions)
            case "ipaddr", (cidr,):
                return from_networks([_text(line, cidr, kind)])
            case "ipaddrs", (list() as cidrs,):
                return from_networks([_text(line, cidr, kind) for cidr in cidrs])
            case (("user" | "username"), (name,)):
                pattern = _pattern(line, name, kind)
                return username_is(_text(line, name, kind)) if pattern is None else username_like(pattern)
            case (("client" | "clientid"), (name,)):
                pattern = _pattern(line, name, kind)
                return client_id_is(_text(line, name, kind)) if pattern is None else client_id_like(pattern)
            case "client_attr", (name, wanted):
                _text(line, wanted, kind) if _pattern(line, wanted, kind) is None else None
                return lost(f"the condition on client attribute {quoted(_text(line, name, kind))}")
            case (("zone" | "listener"), (name,)):
                shown = _pattern(line, name, kind)
                return lost(
                    f"the condition {kind} {quoted(shown if shown is not None else _text(line, name, kind))}"
                )
            case "security_profile", (Atom() as profile,):
                return lost(f"the condition security_profile {profile}")
    except BadCondition as problem:
        raise Malformed(line, str(problem), kind) from None
    raise Malformed(
        line,
        f"this condition is not known, or has other arguments; known are {', '.join(CONDITIONS)}",
        "condition",
    )


def _action(line: int, value: object) -> tuple[Action, tuple[str, ...], bool]:
    """The action, what of it is lost, and whether it can never match."""
    options: object = []
    if isinstance(value, tuple) and len(value) == 2:
        value, options = value
    if not isinstance(value, Atom) or value not in ("publish", "subscribe", "all"):
        raise Malformed(line, "the action must be publish, subscribe or all", "action")
    if not isinstance(options, list):
        raise Malformed(line, "the action's options must be a list such as [{qos, 1}]", "action")
    qos: list[int] | None = None
    retain: bool | None = None
    for option in options:
        match option:
            case (Atom("qos"), levels):
                qos = [*(qos or []), *_qos(line, levels)]
            case (Atom("retain"), Atom("true" | "false" | "all") as wanted):
                retain = {"true": True, "false": False}.get(wanted)
            case _:
                raise Malformed(
                    line, "an option is {qos, 0..2}, {qos, [0..2]} or {retain, true|false|all}", "action"
                )
    missing = tuple(lost_with(value, ALL_QOS if qos is None else qos, retain))
    return Action(value), missing, qos == []


def _qos(line: int, levels: object) -> list[int]:
    found = levels if isinstance(levels, list) else [levels]
    wanted = [level for level in found if isinstance(level, int) and 0 <= level <= 2]
    if wanted != found:
        raise Malformed(line, "QoS is 0, 1, 2 or a list of these", "qos")
    return wanted


def _topics(line: int, value: object, options: Options) -> tuple[Filter, ...] | None:
    if _is(value, "all"):
        return None
    if not isinstance(value, list):
        raise Malformed(line, 'topics are all or a list such as ["a/#", {eq, "#"}]', "topics")
    filters = []
    for topic in value:
        literal = _is_pair(topic, "eq")
        text = _text(line, topic[1] if literal and isinstance(topic, tuple) else topic, "topics")
        try:
            filters.append(emqx_filter(text, options.attributes, literal=literal))
        except BadFilter as problem:
            raise Malformed(line, str(problem), "topics") from None
    return tuple(filters)


def _pattern(line: int, value: object, field: str) -> str | None:
    """The regular expression of ``{re, "…"}``; None for anything else."""
    return _text(line, value[1], field) if _is_pair(value, "re") and isinstance(value, tuple) else None


def _text(line: int, value: object, field: str) -> str:
    if isinstance(value, Atom) and field in ("zone", "listener", "client_attr"):
        return str(value)
    if not isinstance(value, str) or isinstance(value, Atom):
        raise Malformed(line, "this must be a string in double quotes", field)
    problem = text_problem(value)
    if problem:
        raise Malformed(line, problem, field)
    return value


def _is(value: object, name: str) -> bool:
    return isinstance(value, Atom) and value == name


def _is_pair(value: object, name: str) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _is(value[0], name)
