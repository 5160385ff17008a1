"""The declared state: groups, policies and rules as a YAML file says they shall be.

Strict, because a word that is ignored is a policy that is not what somebody thinks it is: unknown
keys, keys given twice and values of another type are refused with their place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Any

import yaml

from accounts.core.text import quoted
from acl.core.rules import Action, Effect

MOST_BYTES = 16 * 1024 * 1024


class NotUnderstood(ValueError):
    """What is wrong with the file, a place and a fix each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """A rule by its content: two equal ones are the same rule."""

    effect: str
    action: str
    topic_filter: str
    priority: int = 0
    literal: bool = False
    networks: tuple[str, ...] = ()
    enabled: bool = True
    note: str = ""

    def __str__(self) -> str:
        more = [f"priority {self.priority}"] if self.priority else []
        more += [f"from {', '.join(self.networks)}"] if self.networks else []
        more += [] if self.enabled else ["off"]
        more += [f"“{self.note}”"] if self.note else []
        text = f"{self.effect} {self.action} {'eq ' if self.literal else ''}{self.topic_filter}"
        return f"{text} ({'; '.join(more)})" if more else text


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """A policy with exactly these rules and groups."""

    name: str
    description: str = ""
    enabled: bool = True
    everyone: bool = False
    groups: frozenset[str] = frozenset()
    rules: tuple[DeclaredRule, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclaredGroup:
    """A group; who is in it is not declared."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """All that a file says, by name."""

    groups: Mapping[str, DeclaredGroup]
    policies: Mapping[str, DeclaredPolicy]


class _UniqueKeys(yaml.SafeLoader):
    """YAML 1.2 demands unique keys (3.2.1.1); PyYAML quietly takes the last of two."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except NotUnderstood:
            raise
        # PyYAML lets the errors of Python's own conversions out, such as that of 2026-02-31.
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
            raise NotUnderstood(
                [f"line {line}: {quoted(str(node.value))} is no {kind}; put it in quotes."]
            ) from None


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise NotUnderstood(
                [f"line {key_node.start_mark.line + 1}: “{key}” is no name; put it in quotes."]
            )
        if key in seen:
            raise NotUnderstood([f"line {key_node.start_mark.line + 1}: “{key}” is there twice; keep one."])
        seen.add(key)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_document(text: str) -> Declared:
    """Raises NotUnderstood, with everything that is wrong at once where that is possible."""
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise NotUnderstood([f"The file is larger than {MOST_BYTES // 1024**2} MiB."])
    try:
        whole = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise NotUnderstood(
            [f"{where}this is no YAML: {getattr(error, 'problem', None) or error}."]
        ) from None
    except RecursionError:
        raise NotUnderstood(["The file is nested too deeply."]) from None
    problems: list[str] = []
    whole = _mapping(whole if whole is not None else {}, "the file", {"groups", "policies"}, problems)
    groups = {
        name: DeclaredGroup(name, **_values(DeclaredGroup, given or {}, f"groups.{name}", problems))
        for name, given in _mapping(whole.get("groups") or {}, "groups", None, problems).items()
    }
    policies = {
        name: _policy(name, given or {}, problems)
        for name, given in _mapping(whole.get("policies") or {}, "policies", None, problems).items()
    }
    if problems:
        raise NotUnderstood(problems)
    return Declared(groups, policies)


def write_document(declared: Declared) -> str:
    """The file that ``read_document`` reads the same state from; equal states make equal files."""
    groups = {name: _told(group, DeclaredGroup(name)) for name, group in sorted(declared.groups.items())}
    policies = {}
    for name, policy in sorted(declared.policies.items()):
        told = _told(policy, DeclaredPolicy(name))
        if policy.groups:
            told["groups"] = sorted(policy.groups)
        if policy.rules:
            told["rules"] = [_told(rule, _PLAIN_RULE, always=("effect", "action", "topic_filter"))
                             for rule in policy.rules]  # fmt: skip
        policies[name] = told
    whole = {"groups": groups, "policies": policies}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=110)


_PLAIN_RULE = DeclaredRule("", "", "")


def _told(thing: Any, plain: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [field.name for field in fields(thing) if field.name not in ("name", "groups", "rules")]
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name in names
        if (value := getattr(thing, name)) != getattr(plain, name) or name in always
    }


def _policy(name: str, given: Any, problems: list[str]) -> DeclaredPolicy:
    place = f"policies.{name}"
    values = _values(DeclaredPolicy, given, place, problems)
    groups = _list(values.pop("groups", []), f"{place}.groups", str, "a name", problems)
    rules = tuple(_rules(values.pop("rules", []), f"{place}.rules", problems))
    return DeclaredPolicy(name, groups=frozenset(groups), rules=rules, **values)


def _rules(given: Any, place: str, problems: list[str]) -> Iterator[DeclaredRule]:
    for number, each in enumerate(_list(given, place, dict, "a rule", problems)):
        here = f"{place}.{number}"
        values = _values(DeclaredRule, each, here, problems)
        missing = [name for name in ("effect", "action", "topic_filter") if name not in values]
        if missing:
            problems.append(f"{here}: it lacks {' and '.join(missing)}.")
            continue
        for name, known in (("effect", Effect), ("action", Action)):
            if values[name] not in [str(one) for one in known]:
                problems.append(f"{here}.{name}: choose from {', '.join(known)}.")
        networks = _list(values.get("networks", []), f"{here}.networks", str, "a CIDR", problems)
        yield DeclaredRule(**{**values, "networks": tuple(_network(text) for text in networks)})


def _network(text: str) -> str:
    # As it is stored, so that another spelling is no difference; what is wrong with it is told later.
    try:
        return str(ip_network(text.strip()))
    except ValueError:
        return text


_TYPES: dict[str, tuple[type, str]] = {
    "description": (str, "a text"),
    "note": (str, "a text"),
    "effect": (str, "a text"),
    "action": (str, "a text"),
    "topic_filter": (str, "a text; put it in quotes"),
    "enabled": (bool, "true or false"),
    "everyone": (bool, "true or false"),
    "literal": (bool, "true or false"),
    "priority": (int, "a whole number"),
    "groups": (list, "a list"),
    "rules": (list, "a list"),
    "networks": (list, "a list"),
}


def _values(kind: Any, given: Any, place: str, problems: list[str]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)} - {"name"}
    values = {}
    for name, value in _mapping(given, place, known, problems).items():
        wanted, words = _TYPES[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            problems.append(f"{place}.{name}: write {words}.")
        else:
            values[name] = value
    return values


def _mapping(given: Any, place: str, known: set[str] | None, problems: list[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        problems.append(f"{place}: write a mapping of names, such as “name: …”.")
        return {}
    for name in [name for name in given if known is not None and name not in known]:
        near = get_close_matches(name, sorted(known or ()), 1)
        fix = f"did you mean {near[0]}?" if near else f"choose from {', '.join(sorted(known or ()))}."
        problems.append(f"{place}: “{name}” is not known; {fix}")
    return {name: value for name, value in given.items() if known is None or name in known}


def _list(given: Any, place: str, kind: type, words: str, problems: list[str]) -> list[Any]:
    for number, each in enumerate(given):
        if not isinstance(each, kind):
            problems.append(f"{place}.{number}: write {words}.")
    return [each for each in given if isinstance(each, kind)]
