"""What is odd about the rules of one policy or device, in words for whoever writes them.

Nothing here decides. A rule that is said never to decide never does; others may be odd all the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from acl.core.covering import CoveringIndex, actions_of, can_match
from acl.core.matching import CompiledRule, compile_rule
from acl.core.placeholders import placeholder_advice
from acl.core.rules import Action, Rule, rule_filter_problem
from acl.core.topic_problems import quoted
from acl.core.topics import has_wildcards

ATTRIBUTE = "attr."


class Flaw(StrEnum):
    """What a finding is about."""

    INVALID = "invalid"
    NEVER_MATCHES = "never_matches"
    UNREACHABLE = "unreachable"
    NO_VALUE = "no_value"
    OPENS = "opens"
    CHOSEN_CLIENT_ID = "chosen_client_id"
    MISLEADING = "misleading"


class Severity(StrEnum):
    """How sure it is that something else was meant. Only an error keeps a rule from being stored."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


SEVERITIES = {
    Flaw.INVALID: Severity.ERROR,
    Flaw.NEVER_MATCHES: Severity.WARNING,
    Flaw.UNREACHABLE: Severity.WARNING,
    Flaw.NO_VALUE: Severity.WARNING,
    Flaw.OPENS: Severity.NOTICE,
    Flaw.CHOSEN_CLIENT_ID: Severity.NOTICE,
    Flaw.MISLEADING: Severity.NOTICE,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about `rule`; where other rules make it so, `because` names them."""

    rule: Rule
    flaw: Flaw
    words: str
    because: tuple[Rule, ...] = ()

    @property
    def severity(self) -> Severity:
        return SEVERITIES[self.flaw]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the devices that the rules apply to can fill in.

    `with_value` counts, for each name of an attribute, the devices that have a usable value; `choosing` are
    those that may choose their client id.
    """

    devices: int
    with_value: Mapping[str, int] = field(default_factory=dict)
    choosing: int = 0


def lint(rules: Iterable[Rule], fleet: Fleet | None = None) -> list[Finding]:
    """The findings, rule by rule in evaluation order. `fleet` is None where it is not known."""
    findings = []
    index = CoveringIndex()
    for rule in sorted(rules, key=lambda rule: rule.order):
        problem = rule_filter_problem(rule.topic_filter)
        if problem is not None:
            findings.append(Finding(rule, Flaw.INVALID, problem))
            continue
        compiled = compile_rule(rule)
        useless = _useless(compiled, index)
        if useless is None:
            index.add(compiled)  # what is covered covers nothing that its cover does not
        else:
            findings.append(useless)
        findings += _about_fleet(compiled, fleet)
        findings += _misleading(compiled, opens=useless is None)
    return findings


def attributes_in(rules: Iterable[Rule]) -> set[str]:
    """The names of the attributes that valid filters of these rules are filled in with."""
    return {
        placeholder.name.removeprefix(ATTRIBUTE)
        for rule in rules
        if rule_filter_problem(rule.topic_filter) is None and (template := compile_rule(rule).template)
        for placeholder in template.placeholders
        if placeholder.name.startswith(ATTRIBUTE)
    }


def covered_by(rule: CompiledRule, index: CoveringIndex) -> tuple[Rule, ...] | None:
    """The earlier rules that together match whatever this one matches; None where it may decide."""
    covering: list[Rule] = []
    for action in actions_of(rule):
        if can_match(rule, action):
            higher = index.covering(rule, action)
            if higher is None:
                return None
            covering.append(higher.rule)
    return tuple(dict.fromkeys(covering))


def _useless(rule: CompiledRule, index: CoveringIndex) -> Finding | None:
    covering = covered_by(rule, index)
    if covering is None:
        return None
    if not covering:
        return Finding(
            rule.rule,
            Flaw.NEVER_MATCHES,
            f"It {_nothing(rule)}: compared as text it means a subscription to {quoted(rule.text)} itself, "
            "and nobody publishes to a topic with + or #. Switch off “as text”, or choose subscribe.",
        )
    named = " and ".join(quoted(higher.ref.text) for higher in covering)
    one = len(covering) == 1
    if all(higher.effect is rule.rule.effect for higher in covering):
        words = f"It never decides: {named} {'is' if one else 'are'} tried before and "
        words += f"{'matches' if one else 'match'} all that it matches. It can go."
    else:
        words = f"It {_nothing(rule)}: {named} {'is' if one else 'are'} tried before and "
        words += f"{'matches' if one else 'match'} all that it matches. "
        highest = max(higher.priority for higher in covering)
        words += f"If it should win, give it a priority above {highest}."
    return Finding(rule.rule, Flaw.UNREACHABLE, words, covering)


def _nothing(rule: CompiledRule) -> str:
    return "denies nothing" if rule.denies else "allows nothing"


def _about_fleet(rule: CompiledRule, fleet: Fleet | None) -> Iterator[Finding]:
    if fleet is None or not fleet.devices or rule.template is None:
        return
    effect = "denies them everything" if rule.denies else "allows them nothing"
    for name in dict.fromkeys(placeholder.name for placeholder in rule.template.placeholders):
        if name == "clientid" and not rule.denies and fleet.choosing:
            its = "its" if fleet.choosing == 1 else "their"
            words = f"{_devices(fleet.choosing)} may choose {its} client id, and with it the topics of this "
            words += "rule. ${username} cannot be chosen."
            yield Finding(rule.rule, Flaw.CHOSEN_CLIENT_ID, words)
        if not name.startswith(ATTRIBUTE):
            continue
        attribute = name.removeprefix(ATTRIBUTE)
        with_value = fleet.with_value.get(attribute, 0)
        if not with_value:
            none = "The device has no" if fleet.devices == 1 else f"None of {_devices(fleet.devices)} has a"
            yield Finding(
                rule.rule, Flaw.NO_VALUE, f"{none} usable attribute {quoted(attribute)}: the rule {effect}."
            )
        elif with_value < fleet.devices:
            without = fleet.devices - with_value
            yield Finding(
                rule.rule,
                Flaw.NO_VALUE if rule.denies else Flaw.MISLEADING,
                f"{_devices(without)} of {fleet.devices:,} {'has' if without == 1 else 'have'} no usable "
                f"attribute {quoted(attribute)}: the rule {effect}.",
            )


def _devices(count: int) -> str:
    return f"{count:,} device{'' if count == 1 else 's'}"


def _misleading(rule: CompiledRule, opens: bool) -> Iterator[Finding]:
    text = rule.text
    if opens and not rule.denies and not rule.same_text:
        words = _openness(rule.levels)
        if words:
            yield Finding(rule.rule, Flaw.OPENS, words)
    if rule.rule.literal and not has_wildcards(text):
        yield Finding(rule.rule, Flaw.MISLEADING, "“As text” changes nothing: the filter has no + or #.")
    if rule.same_text and rule.action is Action.ALL:
        yield Finding(
            rule.rule,
            Flaw.MISLEADING,
            f"As text it is about the subscription to {quoted(text)} itself, and about no publish.",
        )
    if text != text.strip():
        yield Finding(
            rule.rule, Flaw.MISLEADING, "The filter begins or ends with a space, which is part of the topic."
        )
    elif text.startswith("/") and text != "/#":
        yield Finding(
            rule.rule,
            Flaw.MISLEADING,
            f"The filter begins with /, so its first level is empty: it does not match {quoted(text[1:])}.",
        )
    advice = placeholder_advice(text)
    if advice:
        yield Finding(rule.rule, Flaw.MISLEADING, advice)


def _openness(levels: list[str]) -> str | None:
    """What an allow rule opens, where that is more than it may look like."""
    if levels[0][:1] == "$" and not levels[0].startswith("${"):
        return f"Topics under {quoted(levels[0])} are the broker’s own: it tells there about all its clients."
    if any(level not in ("+", "#") for level in levels):
        return None
    if levels == ["+", "#"]:
        return "It opens every topic, whoever’s it is, except under $: “+/#” is no less than “#”."
    depth = len(levels) - (levels[-1] == "#")
    words = f"It opens every topic of {depth} level{'' if depth == 1 else 's'}"
    return (
        f"{words}{' or more' if levels[-1] == '#' else ''}, whoever’s it is, but for those that begin with $."
    )
