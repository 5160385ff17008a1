"""The report of an import as a page shows it: the gravest lines first, and no more than a page can hold."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from exhookadmin.fleet.outcomes import Outcome, Told
from exhookadmin.fleet.records import Finding, Kind
from exhookadmin.fleet.report import Report

SHOWN = 200

COLOURS = {
    Kind.ERROR.value: "bad",
    Kind.ALLOW_LOST.value: "bad",
    Kind.DENY_WIDER.value: "bad",
    Outcome.REFUSED.value: "bad",
    Kind.REMARK.value: "careful",
    Outcome.REMOVED.value: "careful",
    Outcome.CREATED.value: "good",
    Outcome.UPDATED.value: "good",
    Outcome.UNCHANGED.value: "",
}
"""What a line can say, the gravest first, and its colour."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report. ``line`` is 0 where it is about the file as a whole."""

    line: int
    name: str
    outcome: str
    field: str = ""
    reason: str = ""

    @property
    def colour(self) -> str:
        return COLOURS[self.outcome]


@dataclass
class PageReport(Report):
    """Also keeps the first lines of each sort, so that nothing grave is crowded out by what is not."""

    kept: dict[str, list[Line]] = field(default_factory=dict)

    def finding(self, found: Finding) -> None:
        super().finding(found)
        self._keep(Line(found.line, "", found.kind.value, found.field, found.reason))

    def told(self, told: Told) -> None:
        super().told(told)
        self._keep(Line(told.line, told.name, told.outcome.value, told.field, told.reason))

    def _keep(self, line: Line) -> None:
        lines = self.kept.setdefault(line.outcome, [])
        if len(lines) < SHOWN:
            lines.append(line)

    @property
    def sums(self) -> list[tuple[str, str, str]]:
        """How often each outcome is there: the number, the word, its colour."""
        counted = Counter(self.outcomes) + Counter({kind.value: n for kind, n in self.kinds.items()})
        return [(f"{counted[word]:,}", word, colour) for word, colour in COLOURS.items() if counted[word]]

    @property
    def lines(self) -> list[Line]:
        """What is shown, by gravity and then by line."""
        return list(self._gravest())[:SHOWN]

    @property
    def left_out(self) -> int:
        """How many lines of the report are not shown."""
        return self.outcomes.total() + self.kinds.total() - len(self.lines)

    def _gravest(self) -> Iterator[Line]:
        for word in COLOURS:
            yield from sorted(self.kept.get(word, []), key=lambda line: line.line)
