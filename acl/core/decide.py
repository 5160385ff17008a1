"""May this client do this with this topic? The decision, and its explanation for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accounts.core.admission import refusal
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, allow, deny
from accounts.core.principal import Principal
from acl.core.compiled import CompiledRules
from acl.core.matching import CompiledRule, Verdict, address_unknown, rule_matches
from acl.core.question import AccessRequest, Question, ask
from acl.core.rules import Rule
from acl.core.topic_problems import InvalidTopic

__all__ = ["AccessRequest", "Consideration", "Explanation", "authorize", "consider", "explain"]

_INVALID_TOPIC = deny(Reason.INVALID_TOPIC)
_SUPERUSER = allow(Reason.SUPERUSER)
_POLICY_BROKEN = deny(Reason.POLICY_BROKEN)
_NO_RULE_MATCHED = deny(Reason.NO_RULE_MATCHED)


@dataclass(frozen=True, slots=True)
class Consideration:
    """What came of trying one rule, and why, in words that follow “because”."""

    rule: Rule
    verdict: Verdict
    why: str

    @property
    def matched(self) -> bool:
        return self.verdict.matched


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the way to it.

    `topic` is the topic or filter that was judged, without its wrapper; where `topic_problem` says what is
    wrong with it, it is the request as it came. `considered` holds every rule in evaluation order: the first
    that matched decided, unless the device was refused or is a superuser.
    """

    decision: Decision
    topic: str
    topic_problem: str | None
    considered: tuple[Consideration, ...]


def authorize(
    client: Client,
    principal: Principal | None,
    request: AccessRequest,
    rule_sets: Sequence[CompiledRules] | None,
    now: float,
) -> Decision:
    """Decides about one publish or subscribe. `now` is seconds since the epoch; never raises for any text.

    The device's state comes first, then the topic itself, then superusers; then all rules of all sets are
    one list: highest priority first, deny before allow, and the first that matches decides. `rule_sets` is
    None where some of the rules cannot be compiled: what they would have denied is not known, so all is.
    """
    reason = refusal(client, principal, now)
    if reason is not None or principal is None:
        return deny(reason or Reason.UNKNOWN_DEVICE)
    try:
        question = ask(client, principal, request)
    except InvalidTopic:
        return _INVALID_TOPIC
    if principal.superuser:
        return _SUPERUSER
    if rule_sets is None:
        return _POLICY_BROKEN
    best: CompiledRule | None = None
    for rules in rule_sets:
        best = rules.first_match(question, best)
    return _NO_RULE_MATCHED if best is None else best.decision


def consider(
    client: Client, principal: Principal, request: AccessRequest, rule_sets: Sequence[CompiledRules]
) -> Iterator[Consideration]:
    """Tries every rule, in evaluation order, by the function that decides.

    Raises InvalidTopic where there is nothing to try them on.
    """
    yield from _considered(ask(client, principal, request), rule_sets)


def explain(
    client: Client,
    principal: Principal | None,
    request: AccessRequest,
    rule_sets: Sequence[CompiledRules] | None,
    now: float,
) -> Explanation:
    """The decision of `authorize` for the same arguments, and what led to it."""
    decision = authorize(client, principal, request, rule_sets, now)
    if principal is None:
        return Explanation(decision, request.topic, None, ())
    try:
        question = ask(client, principal, request)
    except InvalidTopic as problem:
        return Explanation(decision, request.topic, str(problem), ())
    return Explanation(decision, question.text, None, tuple(_considered(question, rule_sets or ())))


def _considered(question: Question, rule_sets: Sequence[CompiledRules]) -> Iterator[Consideration]:
    for rule in sorted((rule for rules in rule_sets for rule in rules.rules), key=lambda rule: rule.order):
        verdict = rule_matches(rule, question)
        yield Consideration(rule.rule, verdict, _why(rule, question, verdict))


def _why(rule: CompiledRule, question: Question, verdict: Verdict) -> str:
    words = verdict.words
    if verdict in (Verdict.UNRENDERED, Verdict.DENIES_UNRENDERED) and rule.template is not None:
        words = rule.template.flaw(question.client, question.principal) or words
        if rule.denies:
            words += "; a deny rule then matches everything"
    if verdict.matched and rule.rule.networks and address_unknown(question.client):
        words += "; its networks cannot be tested without an address, which never spares from a deny rule"
    return words
