"""Rules as lines of text, one a rule, so that a copy of a policy can be tried out with a keyboard.

A line reads as a rule does everywhere: ``deny publish site/+/secret from 10.0.0.0/8 (priority 5)``.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable

from accounts.core.networks import parse_networks
from acl.core.rules import Action, Effect, Rule, rule_filter_problem
from acl.core.topic_problems import quoted

EXAMPLE = "allow publish site/+/temperature"
COMMENT = "# "
UNSAVED = 2**62
"""Ids of rules that are not stored begin here: among equals the older rule is tried first."""
LONGEST_PRIORITY = 9
"""Digits. Python refuses to read numbers of thousands of them."""

_LINE = re.compile(
    r"(?P<effect>\w+)\s+(?P<action>\w+)\s+(?P<eq>eq\s+)?"
    r"(?P<filter>\"(?:[^\"\\]|\\.)*\"|\S+)"
    r"(?:\s+from\s+(?P<networks>[^()]+?))?"
    rf"(?:\s+\(priority\s+(?P<priority>-?\d{{1,{LONGEST_PRIORITY}}})\))?\s*"
)
_NEEDS_QUOTES = re.compile(r'\s|^"')


class WrongLine(ValueError):
    """A line that is no rule; the text says which one, and what to write."""


def rule_line(rule: Rule) -> str:
    """The whole rule in one line; `read_rule` reads it back."""
    topic_filter = rule.topic_filter
    if _NEEDS_QUOTES.search(topic_filter):
        topic_filter = json.dumps(topic_filter, ensure_ascii=False)
    line = f"{rule.effect} {rule.action} {'eq ' if rule.literal else ''}{topic_filter}"
    if rule.networks:
        line += f" from {', '.join(str(network) for network in rule.networks)}"
    return line + (f" (priority {rule.priority})" if rule.priority else "")


def read_rule(line: str, number: int, source: str) -> Rule:
    """The rule that the line spells, with this number as its id. Raises ValueError with the fix."""
    said = _LINE.fullmatch(line.strip())
    if said is None:
        raise ValueError(f"{quoted(line)} is not a rule; write for example {EXAMPLE}.")
    if said["effect"] not in list(Effect):
        raise ValueError(f"a rule begins with allow or deny, not with {quoted(said['effect'])}.")
    if said["action"] not in list(Action):
        raise ValueError(f"{quoted(said['action'])} is no action; write publish, subscribe or all.")
    topic_filter = _unquoted(said["filter"])
    problem = rule_filter_problem(topic_filter)
    if problem is not None:
        raise ValueError(problem)
    return Rule(
        id=number,
        effect=Effect(said["effect"]),
        action=Action(said["action"]),
        topic_filter=topic_filter,
        literal=bool(said["eq"]),
        networks=parse_networks(re.split(r"[,\s]+", said["networks"] or "")),
        priority=int(said["priority"] or 0),
        source=source,
    )


def read_rules(text: str, source: str, known: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of a text; empty lines and those that begin with ``#`` are none.

    A line that spells a rule of `known` is that rule; others are younger than all of them. Raises
    WrongLine for the first line that cannot be read.
    """
    rules: list[Rule] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            rules.append(read_rule(line, UNSAVED + number, source))
        except ValueError as problem:
            raise WrongLine(f"Line {number}: {problem}") from None
    return known_again(rules, known)


def known_again(rules: Iterable[Rule], known: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules, but those that say what a rule of `known` says are that rule, each of them once."""
    unchanged: dict[str, list[Rule]] = defaultdict(list)
    for rule in sorted(known, key=lambda rule: rule.id, reverse=True):
        unchanged[rule_line(rule)].append(rule)
    return tuple(same.pop() if (same := unchanged[rule_line(rule)]) else rule for rule in rules)


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        raise ValueError(f'{text} is quoted wrongly; inside quotes write \\" and \\\\.') from None
