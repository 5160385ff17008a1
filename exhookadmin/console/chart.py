"""A bar chart as numbers: where each bar of an SVG stands. Pure; the template writes the elements."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320, 112
TOP, BOTTOM = 14, 16
"""Room above the bars for the scale, and below for the words of the axis."""
GAP = 0.25
"""Of a bar's room, what is left free beside it."""
LEAST = 2.0
"""So high is the lowest bar that stands for anything: one event among thousands is to be seen."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What one bar stands for. ``value`` is None where it is not known, ``more`` where it may be more."""

    label: str
    value: int | None
    more: bool = False

    @property
    def text(self) -> str:
        """For people: “1,234”, “10,000+”, or “not counted”."""
        if self.value is None:
            return "not counted"
        return f"{self.value:,}{'+' if self.more else ''}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, or the empty room of one, in units of the chart's own, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    amount: Amount


@dataclass(frozen=True, slots=True)
class Mark:
    """A word below the bars; ``anchor`` is SVG's text-anchor."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Chart:
    """``highest`` is what the tallest bar stands for, ``total`` the sum; both are for people."""

    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    highest: str
    total: str
    width: int = WIDTH
    height: int = HEIGHT
    top: int = TOP
    floor: int = HEIGHT - BOTTOM
    tall: int = HEIGHT - TOP - BOTTOM


def chart_of(amounts: Sequence[Amount]) -> Chart:
    """Bars from left to right, as high as their values beside the highest of them."""
    known = [amount for amount in amounts if amount.value is not None]
    highest = max(known, key=lambda amount: (amount.value or 0, amount.more), default=Amount("", 0))
    total = Amount(
        "",
        sum(amount.value or 0 for amount in known),
        len(known) < len(amounts) or any(amount.more for amount in known),
    )
    room = WIDTH / max(len(amounts), 1)
    bars = tuple(
        _bar(amount, number * room, room, highest.value or 0) for number, amount in enumerate(amounts)
    )
    return Chart(bars, _marks([amount.label for amount in amounts]), highest.text, total.text)


def _bar(amount: Amount, left: float, room: float, highest: int) -> Bar:
    full = HEIGHT - TOP - BOTTOM
    value = amount.value or 0
    height = max(full * value / highest, LEAST) if value else 0.0
    return Bar(
        round(left + room * GAP / 2, 2),
        round(HEIGHT - BOTTOM - height, 2),
        round(room * (1 - GAP), 2),
        round(height, 2),
        amount,
    )


def _marks(labels: Sequence[str]) -> tuple[Mark, ...]:
    """The first, the middle and the last, which is all that there is room for."""
    if len(labels) < 3:
        return tuple(
            Mark((number + 0.5) * WIDTH / len(labels), label, "middle") for number, label in enumerate(labels)
        )
    middle = len(labels) // 2
    return (
        Mark(0, labels[0], "start"),
        Mark(round((middle + 0.5) * WIDTH / len(labels), 2), labels[middle], "middle"),
        Mark(WIDTH, labels[-1], "end"),
    )
