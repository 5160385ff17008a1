"""What the newest matching events have in common: counts by field, over a bounded number of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from audit.paging import DEFAULT_EFFORT, Effort, walk
from audit.search import Search

COUNTED_FIELDS = ("kind", "reason", "allowed", "device", "node")
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Facets:
    """``counts`` has for each field how many of the ``counted`` newest events hold each value, most first.

    ``complete`` is False when there may be more events than were counted.
    """

    counts: Mapping[str, Mapping[str, int]]
    counted: int
    complete: bool

    @property
    def total(self) -> str:
        """For people: “1,234”, or “10,000+” where counting stopped."""
        return f"{self.counted:,}{'' if self.complete else '+'}"


def count_facets(search: Search, most: int = MOST_COUNTED, effort: Effort = DEFAULT_EFFORT) -> Facets:
    """Counts at most so many of the newest matching events, and looks no further than the effort reaches."""
    found = walk(
        search.listing(), most + 1, effort=effort, read=lambda rows: rows.values_list(*COUNTED_FIELDS)
    )
    counted = found.rows[:most]
    columns = zip(*counted, strict=True) if counted else ([] for _ in COUNTED_FIELDS)
    return Facets(
        counts={
            field: {_shown(value): count for value, count in Counter(values).most_common()}
            for field, values in zip(COUNTED_FIELDS, columns, strict=True)
        },
        counted=len(counted),
        complete=len(found.rows) <= most and found.stopped is None,
    )


def _shown(value: str | bool | None) -> str:
    """As a search's parameters have it; empty for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value or ""
