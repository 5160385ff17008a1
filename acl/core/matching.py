"""Does this rule match this request? The one answer behind decisions, the index and the explain page."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network

from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, allow, deny
from accounts.core.networks import address_allowed
from acl.core.placeholders import Template, parse_template
from acl.core.question import Question
from acl.core.rules import Action, Effect, Order, Rule, rule_filter_problem
from acl.core.topics import filter_levels, has_wildcards, levels_contain, levels_overlap

_EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class PolicyError(ValueError):
    """A rule that cannot be compiled; the text names it and what to change."""

    def __init__(self, rule: Rule, problem: str) -> None:
        super().__init__(f"rule {rule.id} ({rule.source or 'no source'}): {problem}")
        self.rule = rule
        self.problem = problem


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule, ready to be tried: its filter is read, its place in the order and its decision are made."""

    rule: Rule
    order: Order
    action: Action
    denies: bool
    same_text: bool
    """A literal filter with wildcards. Without them, literal and ordinary filters mean the same topic."""
    text: str
    levels: list[str]
    template: Template | None
    decision: Decision


def compile_rule(rule: Rule) -> CompiledRule:
    """Raises PolicyError when the rule's filter cannot be used: forms refuse it, and so does this."""
    problem = rule_filter_problem(rule.topic_filter)
    if problem is not None:
        raise PolicyError(rule, problem)
    denies = rule.effect is Effect.DENY
    return CompiledRule(
        rule=rule,
        order=rule.order,
        action=rule.action,
        denies=denies,
        same_text=rule.literal and has_wildcards(rule.topic_filter),
        text=rule.topic_filter,
        levels=filter_levels(rule.topic_filter),
        template=parse_template(rule.topic_filter),
        decision=deny(Reason.RULE_DENIES, rule.ref) if denies else allow(Reason.RULE_ALLOWS, rule.ref),
    )


class Verdict(Enum):
    """What came of trying one rule: whether it matches, and why, as words that follow “because”."""

    MATCHES_TOPIC = True, "its filter matches the topic"
    CONTAINS_FILTER = True, "its filter contains the requested filter"
    OVERLAPS_FILTER = True, "its filter and the requested filter have topics in common"
    SAME_TEXT = True, "its literal filter is the requested filter"
    DENIES_UNRENDERED = True, "a deny rule whose filter cannot be filled in matches everything"

    OTHER_ACTION = False, "it is about the other action"
    OTHER_ADDRESS = False, "the address is not in its networks"
    UNRENDERED = False, "its filter cannot be filled in"
    OTHER_TOPIC = False, "its filter does not match the topic"
    NOT_CONTAINED = False, "its filter does not contain the requested filter"
    NO_OVERLAP = False, "its filter and the requested filter have no topic in common"
    TEXT_DIFFERS = False, "its literal text differs"

    def __init__(self, matched: bool, words: str) -> None:
        self.matched = matched
        self.words = words


def rule_matches(rule: CompiledRule, question: Question) -> Verdict:
    """Tries one rule. A condition that cannot be judged holds for a deny rule, and not for an allow rule."""
    if rule.action is not question.action and rule.action is not Action.ALL:
        return Verdict.OTHER_ACTION
    networks = rule.rule.networks
    if (
        networks
        and not address_allowed(networks, question.client.address)
        and not (rule.denies and address_unknown(question.client))
    ):
        return Verdict.OTHER_ADDRESS
    text, levels = rule.text, rule.levels
    if rule.template is not None:
        rendered = rule.template.render(question.client, question.principal)
        if rendered is None:
            return Verdict.DENIES_UNRENDERED if rule.denies else Verdict.UNRENDERED
        text, levels = rendered, filter_levels(rendered)
    if rule.same_text:
        return Verdict.SAME_TEXT if text == question.text else Verdict.TEXT_DIFFERS
    if question.action is Action.PUBLISH:
        return Verdict.MATCHES_TOPIC if levels_contain(levels, question.levels) else Verdict.OTHER_TOPIC
    if rule.denies:
        return Verdict.OVERLAPS_FILTER if levels_overlap(levels, question.levels) else Verdict.NO_OVERLAP
    return Verdict.CONTAINS_FILTER if levels_contain(levels, question.levels) else Verdict.NOT_CONTAINED


def address_unknown(client: Client) -> bool:
    """The broker gave no address that can be compared with a network."""
    return not address_allowed(_EVERYWHERE, client.address)


def earliest_match(
    rules: Iterable[CompiledRule], question: Question, best: CompiledRule | None = None
) -> CompiledRule | None:
    """The first of `rules`, which come in evaluation order, that matches; `best` when it is tried earlier."""
    for rule in rules:
        if best is not None and best.order <= rule.order:
            break
        if rule_matches(rule, question).matched:
            return rule
    return best
