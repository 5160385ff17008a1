"""The index that finds, among many deny rules, those whose filter overlaps a filter with wildcards.

A wildcard in the request fits every branch of a trie, so a trie would be walked whole. Here rules are
bits, numbered in evaluation order, and each level of the request strikes out those that cannot fit:
the work is a few operations on long integers, whatever the request. Like the trie it finds
candidates only; `rule_matches` tries each.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import or_

from acl.core.matching import CompiledRule, earliest_match
from acl.core.placeholders import Template, parse_template
from acl.core.question import Question


@dataclass(frozen=True, slots=True)
class _Bits:
    """A set of rule numbers. The shift keeps the many sets of one or two rules small."""

    shift: int
    bits: int

    def mask(self) -> int:
        return self.bits << self.shift


_NONE = _Bits(0, 0)


def _bits(numbers: Sequence[int]) -> _Bits:
    """`numbers` ascending."""
    if not numbers:
        return _NONE
    shift = numbers[0]
    packed = bytearray((numbers[-1] - shift) // 8 + 1)
    for number in numbers:
        packed[(number - shift) >> 3] |= 1 << ((number - shift) & 7)
    return _Bits(shift, int.from_bytes(packed, "little"))


@dataclass(frozen=True, slots=True)
class _Depth:
    """Which rules can have a given text at one depth."""

    named: dict[str, _Bits]
    templates: tuple[tuple[Template, _Bits], ...]
    wild: int
    """Those with ``+`` here, or ``#`` here or before."""

    def admits(self, level: str, question: Question) -> int:
        admitted = self.wild | self.named.get(level, _NONE).mask()
        for template, rules in self.templates:
            if template.render(question.client, question.principal) == level:
                admitted |= rules.mask()
        return admitted


class OverlappingIndex:
    """Numbers its rules in evaluation order, so that the lowest bit left is the rule to try first."""

    __slots__ = ("_depths", "_dollar", "_ending", "_reaching", "_rules")

    def __init__(self, rules: Iterable[CompiledRule]) -> None:
        """`rules` in evaluation order."""
        self._rules = tuple(rules)
        deepest = max((len(rule.levels) for rule in self._rules), default=0)
        texts: list[dict[str, list[int]]] = [defaultdict(list) for _ in range(deepest)]
        exact: list[list[int]] = [[] for _ in range(deepest + 2)]
        opened: list[list[int]] = [[] for _ in range(deepest + 2)]
        for number, rule in enumerate(self._rules):
            for level, at_depth in zip(rule.levels, texts, strict=False):
                at_depth[level].append(number)
            if rule.levels[-1] == "#":
                opened[len(rule.levels) - 1].append(number)
            else:
                exact[len(rule.levels)].append(number)
        exact_here = [_bits(numbers).mask() for numbers in exact]
        open_by_here = list(accumulate((_bits(numbers).mask() for numbers in opened), or_))
        # By number of levels: the rules that match a topic with exactly so many, and with so many or more.
        self._ending = [one | other for one, other in zip(exact_here, open_by_here, strict=True)]
        self._reaching = [
            longer | open_by_here[-1] for longer in reversed(list(accumulate(reversed(exact_here), or_)))
        ]
        self._depths = tuple(
            _depth(at_depth, opened_by, first=depth == 0)
            for depth, (at_depth, opened_by) in enumerate(zip(texts, open_by_here, strict=False))
        )
        self._dollar = _dollar_rules(self._depths)

    def earliest(self, question: Question, best: CompiledRule | None) -> CompiledRule | None:
        """The first candidate in evaluation order that matches; `best` when that is tried earlier."""
        return earliest_match(self._candidates(question), question, best)

    def _candidates(self, question: Question) -> Iterator[CompiledRule]:
        levels = question.levels
        if levels[-1] == "#":
            left = self._reaching[min(len(levels) - 1, len(self._reaching) - 1)]
        else:
            left = self._ending[min(len(levels), len(self._ending) - 1)]
        if levels[0] == "+":  # covers no topic that begins with $ (MQTT 5, 4.7.2-1), nor the other way round
            left &= ~self._dollar
        elif levels[0][:1] == "$":
            left &= self._dollar
        for level, depth in zip(levels, self._depths, strict=False):
            if level != "+" and level != "#":
                left &= depth.admits(level, question)
        while left:
            lowest = left & -left
            yield self._rules[lowest.bit_length() - 1]
            left ^= lowest


def _depth(texts: dict[str, list[int]], opened: int, *, first: bool) -> _Depth:
    named: dict[str, _Bits] = {}
    templates: list[tuple[Template, _Bits]] = []
    wild = opened
    for level, numbers in texts.items():
        template = parse_template(level, first=first)
        if template is not None:
            templates.append((template, _bits(numbers)))
        elif level == "+":
            wild |= _bits(numbers).mask()
        elif level != "#":
            named[level] = _bits(numbers)
    return _Depth(named, tuple(templates), wild)


def _dollar_rules(depths: Sequence[_Depth]) -> int:
    if not depths:
        return 0
    return reduce(or_, (rules.mask() for level, rules in depths[0].named.items() if level[:1] == "$"), 0)
