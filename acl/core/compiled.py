"""Rules compiled once and asked often: a device's own rules, or a policy's."""

from collections import defaultdict
from collections.abc import Iterable

from acl.core.containing import ContainingIndex
from acl.core.matching import CompiledRule, compile_rule, earliest_match
from acl.core.overlapping import OverlappingIndex
from acl.core.placeholders import Placeholder
from acl.core.question import Question
from acl.core.rules import Action, Rule
from acl.core.topics import has_wildcards

SCANNED_RULES = 4
"""So many rules are tried one by one: as fast as an index and much smaller, and most devices own no more."""


class CompiledRules:
    """An immutable set of rules, made by `compile_rules`. `rules` is in evaluation order."""

    __slots__ = ("_publish", "_subscribe", "rules")

    def __init__(self, rules: Iterable[CompiledRule], scanned: int) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.order))
        self._publish = _indexed(self.rules, Action.PUBLISH, scanned)
        self._subscribe = _indexed(self.rules, Action.SUBSCRIBE, scanned)

    def __len__(self) -> int:
        return len(self.rules)

    def first_match(self, question: Question, best: CompiledRule | None = None) -> CompiledRule | None:
        """The first rule in evaluation order that matches; `best`, of another set, when tried earlier."""
        if question.action is Action.PUBLISH:
            return self._publish.earliest(question, best)
        return self._subscribe.earliest(question, best)


class _Scan:
    """A few rules for one action."""

    __slots__ = ("_rules",)

    def __init__(self, rules: tuple[CompiledRule, ...]) -> None:
        self._rules = rules

    def earliest(self, question: Question, best: CompiledRule | None) -> CompiledRule | None:
        return earliest_match(self._rules, question, best)


class _Index:
    """Many rules for one action. Every rule that can match is a candidate of at least one of its parts.

    An allow rule, and a literal one, matches only what its filter contains. A deny rule matches what it
    overlaps, which differs for requests with wildcards only; and, whatever the request, it matches where
    one of its placeholders has no value.
    """

    __slots__ = ("_containing", "_overlapping", "_unrendered")

    def __init__(self, rules: tuple[CompiledRule, ...]) -> None:
        denying = [rule for rule in rules if rule.denies]
        self._containing = ContainingIndex(rules)
        self._overlapping = OverlappingIndex(rule for rule in denying if not rule.same_text)
        unrendered: dict[Placeholder, list[CompiledRule]] = defaultdict(list)
        for rule in denying:
            if rule.template is not None:
                for placeholder in dict.fromkeys(rule.template.placeholders):
                    unrendered[placeholder].append(rule)
        self._unrendered = tuple(unrendered.items())

    def earliest(self, question: Question, best: CompiledRule | None) -> CompiledRule | None:
        best = self._containing.earliest(question, best)
        if has_wildcards(question.text):
            best = self._overlapping.earliest(question, best)
        for placeholder, rules in self._unrendered:
            if placeholder.value(question.client, question.principal) is None:
                best = earliest_match(rules, question, best)
        return best


def _indexed(rules: Iterable[CompiledRule], action: Action, scanned: int) -> _Scan | _Index:
    about = tuple(rule for rule in rules if rule.action in (action, Action.ALL))
    return _Scan(about) if len(about) <= scanned else _Index(about)


def compile_rules(rules: Iterable[Rule], *, scanned: int = SCANNED_RULES) -> CompiledRules:
    """Raises PolicyError, naming the rule, when a filter is invalid. Above `scanned` rules, indexes them."""
    return CompiledRules((compile_rule(rule) for rule in rules), scanned)
