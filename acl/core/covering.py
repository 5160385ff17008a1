"""Does one rule match whatever another one matches? Then the other, tried later, never decides.

Held for every client, device and request at once: `covers` is True only where that is certain.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from accounts.core.networks import Network, Networks
from acl.core.matching import CompiledRule
from acl.core.placeholders import Placeholder, parse_template
from acl.core.rules import Action
from acl.core.topics import Levels, levels_contain, levels_overlap

ASKED = (Action.PUBLISH, Action.SUBSCRIBE)


def actions_of(rule: CompiledRule) -> tuple[Action, ...]:
    """What the rule is about, among what can be asked."""
    return ASKED if rule.action is Action.ALL else (rule.action,)


def can_match(rule: CompiledRule, action: Action) -> bool:
    """False where no request can ever match: no topic that is published to holds a wildcard."""
    return action in actions_of(rule) and not (
        rule.same_text and action is Action.PUBLISH and not _opaque(rule)
    )


def covers(higher: CompiledRule, lower: CompiledRule, action: Action) -> bool:
    """True when every request of this action that `lower` matches is matched by `higher` too."""
    return (
        higher.action in (action, Action.ALL)
        and _covers_networks(higher, lower)
        and _renders_whenever(higher, lower)
        and _covers_filter(higher, lower, action)
    )


class CoveringIndex:
    """Finds, among many rules, those that cover another one, in the order in which they were added."""

    def __init__(self) -> None:
        self._root = _Node()
        self._all: list[CompiledRule] = []

    def add(self, rule: CompiledRule) -> None:
        """A rule that is tried before those that are asked about from now on."""
        self._all.append(rule)
        node = self._root
        for level in plain_levels(rule):
            node = node.next[level]
        node.rules.append((len(self._all), rule))

    def covering(self, lower: CompiledRule, action: Action) -> CompiledRule | None:
        """The first of them that covers this rule; None when no single one is certain to."""
        # What a literal rule asks for is one filter, which a deny rule covers by merely overlapping it.
        candidates = self._all if lower.same_text else self._containing(plain_levels(lower))
        return next((rule for rule in candidates if covers(rule, lower, action)), None)

    def _containing(self, levels: Levels) -> Iterator[CompiledRule]:
        found: list[tuple[int, CompiledRule]] = []
        nodes: Sequence[_Node] = (self._root,)
        for level in levels:
            found += (each for node in nodes if "#" in node.next for each in node.next["#"].rules)
            names = ("+",) if level == "+" else () if level == "#" else (level, "+")
            nodes = [node.next[name] for node in nodes for name in names if name in node.next]
        for node in nodes:
            found += node.rules
            if "#" in node.next:
                found += node.next["#"].rules
        yield from (rule for _, rule in sorted(found, key=lambda each: each[0]))


class _Node:
    """The rules that share their first levels, each with its number."""

    __slots__ = ("next", "rules")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = defaultdict(_Node)
        self.rules: list[tuple[int, CompiledRule]] = []


def plain_levels(rule: CompiledRule) -> list[str]:
    """The levels of its filter, where one with a placeholder is like no other text and not like a wildcard.

    It begins with NUL, which no filter holds, so that ``${clientid}`` is no topic that begins with $.
    """
    return [f"\0{level}" if parse_template(level) else level for level in rule.levels]


def _opaque(rule: CompiledRule) -> bool:
    """A deny rule with placeholders, which matches everything where they have no value."""
    return rule.denies and rule.template is not None


def _covers_networks(higher: CompiledRule, lower: CompiledRule) -> bool:
    outer, inner = higher.rule.networks, lower.rule.networks
    if not outer:
        return True
    # An unknown address is in every network to a deny rule, and in none to an allow rule.
    return bool(inner) and (higher.denies or not lower.denies) and all(_inside(each, outer) for each in inner)


def _inside(network: Network, networks: Networks) -> bool:
    return any(
        network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]
        for other in networks
    )


def _renders_whenever(higher: CompiledRule, lower: CompiledRule) -> bool:
    """An allow rule that cannot be filled in matches nothing, and a deny rule everything."""
    ours, others = _placeholders(higher), _placeholders(lower)
    if _opaque(lower) and not (higher.denies and _missing_whenever(others, ours)):
        return False
    return higher.denies or _missing_whenever(ours, others)


def _missing_whenever(some: Iterable[Placeholder], others: Iterable[Placeholder]) -> bool:
    """Where one of `some` has no value, one of `others` has none either.

    A value that begins with $ is none where the filter begins with it, and only there.
    """
    known = set(others)
    return all(
        Placeholder(each.name, leads=True) in known or (not each.leads and each in known) for each in some
    )


def _placeholders(rule: CompiledRule) -> tuple[Placeholder, ...]:
    return rule.template.placeholders if rule.template else ()


def _covers_filter(higher: CompiledRule, lower: CompiledRule, action: Action) -> bool:
    outer, inner = plain_levels(higher), plain_levels(lower)
    if lower.same_text:
        if action is Action.PUBLISH and not _opaque(lower):
            return True  # it matches nothing at all
        if higher.same_text:
            return higher.text == lower.text
        if action is Action.PUBLISH:
            return levels_contain(outer, inner)
        return levels_overlap(outer, inner) if higher.denies else levels_contain(outer, inner)
    if higher.same_text:
        return False
    if action is Action.SUBSCRIBE and lower.denies and not higher.denies:
        # A deny rule matches what it overlaps, up to “#” itself; only a rule on all topics contains that.
        return outer == ["+", "#"] and not inner[0].startswith("$")
    return levels_contain(outer, inner)
