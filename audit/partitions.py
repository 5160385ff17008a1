"""Which partitions a table of events should have: pure planning, in UTC.

A partition holds a span of time. Each begins where the one before it ended and ends at the next
boundary of its length, so that a changed length, clock or time zone leaves neither gap nor overlap.
What no partition covers is in the table's default partition: nothing is ever refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice

# So long before they are needed partitions exist: maintenance may rest for weeks.
AHEAD = timedelta(days=28)
# A gap of more periods than this tells of a clock that leapt, not of maintenance that rested: it is
# left to the default partition, and filled only where there are rows.
MOST_BRIDGED = 26


class Length(StrEnum):
    """How much time a partition covers; a week begins on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """From ``start`` until before ``end``."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"a span cannot end before it begins: {self}")

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{_text(self.start)} to {_text(self.end)}"


@dataclass(frozen=True, slots=True)
class Partition:
    """One that exists, with the name of its table."""

    table: str
    span: Span


def length_for(retention_days: int) -> Length:
    """The length that fits a retention (0: for ever): rows outlive it by at most one length."""
    if 0 < retention_days <= 14:
        return Length.DAY
    return Length.WEEK if 0 < retention_days <= 180 else Length.MONTH


def floor(moment: datetime, length: Length) -> datetime:
    """The last boundary at or before the moment."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if length is Length.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if length is Length.MONTH else day


def following(moment: datetime, length: Length) -> datetime:
    """The first boundary after the moment."""
    start = floor(moment, length)
    if length is Length.MONTH:
        return floor(start + timedelta(days=31), length)
    return start + timedelta(days=7 if length is Length.WEEK else 1)


def span_for(moment: datetime, existing: Iterable[Span], length: Length) -> Span:
    """What a new partition for this moment covers: its period, cut where other partitions are.

    Raises ValueError where one covers it already.
    """
    start, end = floor(moment, length), following(moment, length)
    for span in existing:
        if moment in span:
            raise ValueError(f"{_text(moment)} is covered already")
        if span.end <= moment:
            start = max(start, span.end)
        else:
            end = min(end, span.start)
    return Span(start, end)


def missing(existing: Sequence[Span], now: datetime, length: Length) -> list[Span]:
    """The partitions to be created, in order, so that now and all that is AHEAD of it are covered."""
    before = [span.end for span in existing if span.end <= now]
    bridge = list(islice(_filling(max(before), now, existing, length), MOST_BRIDGED + 1)) if before else []
    if len(bridge) > MOST_BRIDGED:
        bridge = []
    begin = bridge[-1].end if bridge else now
    return [*bridge, *_filling(begin, now + AHEAD, [*existing, *bridge], length)]


def _filling(moment: datetime, until: datetime, existing: Iterable[Span], length: Length) -> Iterator[Span]:
    """Spans for all moments from one until another (included) that are in none yet."""
    known = list(existing)
    while moment <= until:
        covering = next((span for span in known if moment in span), None)
        if covering is None:
            covering = span_for(moment, known, length)
            known.append(covering)
            yield covering
        moment = covering.end


def expired(existing: Iterable[Partition], horizon: datetime | None) -> list[Partition]:
    """Those that hold nothing younger than the horizon, oldest first; nothing expires without one."""
    if horizon is None:
        return []
    return sorted((one for one in existing if one.span.end <= horizon), key=lambda one: one.span)


def outgrown(existing: Iterable[Partition], horizon: datetime | None, length: Length) -> list[Partition]:
    """Those that reach over the horizon and began more than a length before it.

    They were made for a longer retention: what expired is to be deleted from them row by row.
    """
    if horizon is None:
        return []
    return [one for one in existing if horizon in one.span and following(one.span.start, length) <= horizon]


def _text(moment: datetime) -> str:
    """A date, and the time only where there is one."""
    return moment.isoformat(sep=" ").removesuffix("+00:00").removesuffix(" 00:00:00")
