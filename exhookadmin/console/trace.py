"""The way to a decision as a page shows it: the rules in order, each with its source; long lists are cut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from acl.core.decide import Consideration
from acl.core.placeholders import parse_template
from acl.core.rules import Rule
from acl.sources import Source, rule_notes, sources_of
from exhookadmin.explain import Explained

SHOWN = 60
"""So many rules that did not match are shown before the deciding one, and so many rules after it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was tried, or would have been. ``rendered`` is its filter for this client."""

    number: int
    rule: Rule
    matched: bool
    decides: bool
    why: str
    rendered: str
    source: Source | None
    note: str


@dataclass(frozen=True, slots=True)
class Trace:
    """``tried`` ends with the rule that decided, if one did; ``unreached`` come after it."""

    tried: tuple[Step, ...]
    unreached: tuple[Step, ...]
    tried_hidden: int
    unreached_hidden: int


def trace_of(explained: Explained) -> Trace:
    """The rules that were considered, with where they come from. Costs three queries."""
    considered = explained.considered
    if explained.principal is None or not considered:
        return Trace((), (), 0, 0)
    deciding = explained.deciding
    end = next((n for n, each in enumerate(considered, 1) if each is deciding), len(considered))
    tried = list(_worth_showing(considered[:end]))
    unreached = list(enumerate(considered[end : end + SHOWN], end + 1))
    sources = sources_of(explained.principal)
    notes = rule_notes([each.rule.id for _, each in (*tried, *unreached)])

    def steps(chosen: Sequence[tuple[int, Consideration]]) -> tuple[Step, ...]:
        return tuple(_step(explained, number, each, sources, notes) for number, each in chosen)

    return Trace(steps(tried), steps(unreached), end - len(tried), len(considered) - end - len(unreached))


def _worth_showing(considered: Sequence[Consideration]) -> Iterator[tuple[int, Consideration]]:
    shown = 0
    for number, each in enumerate(considered, 1):
        shown += not each.matched
        if each.matched or shown <= SHOWN:
            yield number, each


def _step(
    explained: Explained,
    number: int,
    each: Consideration,
    sources: Mapping[str, Source],
    notes: Mapping[int, str],
) -> Step:
    template = parse_template(each.rule.topic_filter)
    rendered = (
        template.render(explained.client, explained.principal) if template and explained.principal else ""
    )
    return Step(
        number,
        each.rule,
        each.matched,
        each is explained.deciding,
        each.why,
        rendered or "",
        sources.get(each.rule.source),
        notes.get(each.rule.id, ""),
    )
