"""A figure: what was measured, what it should be, and how both are shown."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.load import Sample


@dataclass(frozen=True)
class Target:
    """A bound that the figure should keep."""

    bound: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


def at_least(bound: float) -> Target:
    """For what should be large."""
    return Target(bound)


def at_most(bound: float) -> Target:
    """For what should be small."""
    return Target(bound, at_most=True)


@dataclass(frozen=True)
class Figure:
    """One line of the table. Without a target it is there to be compared with; without a value
    it was not measured, and ``note`` says why.

    ``value`` counts a server's CPU time where it is a ratio of throughputs, and ``by_clock`` is
    the same ratio by the clock. ``spread`` holds the value of each round.
    """

    text: str
    target: Target | None
    value: float | None
    unit: str = ""
    by_clock: float | None = None
    spread: tuple[float, ...] = ()
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value."""
        return None if self.target is None or self.value is None else self.target.met_by(self.value)

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "skipped"
        return {True: "✓", False: "✗", None: "·"}[self.met]

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "target": str(self.target) if self.target else None,
            "met": self.met,
        }


def skipped(text: str, target: Target | None, why: str) -> Figure:
    """A line for what could not be measured here."""
    return Figure(text, target, None, note=why)


Rounds = Mapping[str, Sequence[Sample]]


def alternate(rounds: int, runs: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Makes each run in turn, over and over: what disturbs the machine disturbs all of them.

    Every other round goes backwards, so that no run always follows the same one.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs) if number % 2 == 0 else reversed(list(runs)):
            samples[name].append(runs[name]())
    return samples


def ratio(text: str, target: Target | None, ours: Sequence[Sample], theirs: Sequence[Sample]) -> Figure:
    """The median, over the rounds, of how many times more calls a CPU-second of ours answers."""
    per_cpu = [
        one.per_cpu_second / other.per_cpu_second
        for one, other in zip(ours, theirs, strict=True)
        if one.per_cpu_second and other.per_cpu_second
    ]
    clock = [one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]
    return Figure(
        text,
        target,
        value=statistics.median(per_cpu or clock),
        by_clock=statistics.median(clock),
        spread=tuple(round(value, 4) for value in per_cpu or clock),
        detail={"ours": rates(ours), "theirs": rates(theirs)},
    )


def clock_ratio(text: str, target: Target | None, ours: Sequence[Sample], theirs: Sequence[Sample]) -> Figure:
    """The same by the clock alone, for what is about waiting."""
    clock = [one.rate / other.rate for one, other in zip(ours, theirs, strict=True)]
    value = statistics.median(clock)
    return Figure(
        text,
        target,
        value=value,
        by_clock=value,
        spread=tuple(round(each, 4) for each in clock),
        detail={"ours": rates(ours), "theirs": rates(theirs)},
    )


def rates(samples: Sequence[Sample]) -> dict[str, float]:
    """Medians: calls a second, and calls for each second of the server's CPU time."""
    return {
        "per_second": round(statistics.median(sample.rate for sample in samples), 1),
        "per_cpu_second": round(statistics.median(sample.per_cpu_second for sample in samples), 1),
    }


def table(figures: Sequence[Figure]) -> str:
    """For a terminal."""
    width = max(len(figure.text) for figure in figures)
    lines = [f"  {'':<{width}}  {'target':>9}  {'measured':>9}  {'by clock':>9}"]
    for figure in figures:
        target = str(figure.target) if figure.target else ""
        lines.append(
            f"{figure.verdict[:1]} {figure.text:<{width}}  {target:>9}  {_shown(figure):>9}  "
            f"{_clock(figure):>9}{'  ' + figure.note if figure.note else ''}".rstrip()
        )
    return "\n".join(lines)


def markdown(figures: Sequence[Figure]) -> str:
    """For docs/performance.md."""
    lines = ["| measure | target | measured | by clock | |", "|---|---|---|---|---|"]
    for figure in figures:
        target = str(figure.target) if figure.target else ""
        note = f" ({figure.note})" if figure.note else ""
        lines.append(
            f"| {figure.text}{note} | {target} | {_shown(figure)} | {_clock(figure)} | {figure.verdict} |"
        )
    return "\n".join(lines)


def results(figures: Mapping[str, Sequence[Figure]], machine: Mapping[str, str]) -> str:
    """Everything, as JSON."""
    return json.dumps(
        {
            "machine": dict(machine),
            "figures": {name: [figure.as_json() for figure in each] for name, each in figures.items()},
        },
        indent=1,
        ensure_ascii=False,
    )


def _shown(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    return f"{_rounded(figure.value)}{' ' + figure.unit if figure.unit else ''}"


def _clock(figure: Figure) -> str:
    return "" if figure.by_clock is None else _rounded(figure.by_clock)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
