"""The trie that finds, among many rules, those whose filter contains the requested one.

It finds candidates and no decision: `rule_matches` tries each. So a level with a placeholder is simply
kept as ``+``, and literal filters, conditions and deny rules need no place of their own.
"""

from collections.abc import Iterable, Sequence

from acl.core.matching import CompiledRule, earliest_match
from acl.core.placeholders import parse_template
from acl.core.question import Question


class _Node:
    """The rules that share their first levels. Both lists are in evaluation order."""

    __slots__ = ("ending", "next", "open")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.ending: list[CompiledRule] = []
        self.open: list[CompiledRule] = []


class ContainingIndex:
    """Looks a request up level by level: its cost follows the depth of the topic, not the number of rules."""

    __slots__ = ("_root",)

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        """`rules` in evaluation order."""
        self._root = _Node()
        for rule in rules:
            node = self._root
            for level in rule.levels:
                if level == "#":
                    node.open.append(rule)
                    break
                node = node.next.setdefault("+" if parse_template(level) else level, _Node())
            else:
                node.ending.append(rule)

    def earliest(self, question: Question, best: CompiledRule | None) -> CompiledRule | None:
        """The first candidate in evaluation order that matches; `best` when that is tried earlier."""
        nodes: Sequence[_Node] = (self._root,)
        # A leading wildcard covers no topic that begins with $ (MQTT 5, 4.7.2-1).
        wildcards = question.levels[0][:1] != "$"
        for level in question.levels:
            following = []
            for node in nodes:
                if node.open:
                    best = earliest_match(node.open, question, best)
                if level == "#":
                    continue
                child = node.next.get(level)
                if child is not None:
                    following.append(child)
                if wildcards and level != "+":
                    child = node.next.get("+")
                    if child is not None:
                        following.append(child)
            if not following:
                return best
            nodes = following
            wildcards = True
        for node in nodes:
            if node.open:
                best = earliest_match(node.open, question, best)
            if node.ending:
                best = earliest_match(node.ending, question, best)
        return best
