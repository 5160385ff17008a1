"""Rows of several tables on one axis of time, newest first, in pages found by place.

Each table is a lane. Of what happened at the same instant, the first lane's comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from audit.paging import (
    DEFAULT_EFFORT,
    EPOCH,
    INSTANT,
    LOWEST_ID,
    BadCursor,
    Cursor,
    Effort,
    Listing,
    place_of,
    read_cursor,
    walk,
)

SEPARATOR = "~"


@dataclass(frozen=True, slots=True)
class Moment:
    """A row on the axis; ``lane`` is the number of its table."""

    time: datetime
    lane: int
    row: Any


@dataclass(frozen=True, slots=True)
class Place:
    """Just behind this row, on the way to older ones."""

    lane: int
    cursor: Cursor

    def __str__(self) -> str:
        """Opaque: what it is made of may change."""
        return f"{self.lane}{SEPARATOR}{self.cursor}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was read of one lane: its next rows in order. ``stopped`` is the place where reading gave up,
    None where there are no more rows than these, or enough of them."""

    rows: Sequence[Any]
    stopped: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. ``older`` is where to go on, empty at the end; ``searched_to`` is set where reading
    stopped before the page was full."""

    moments: list[Moment]
    older: str = ""
    searched_to: datetime | None = None


def merge(stretches: Sequence[Stretch], size: int) -> tuple[list[Moment], Place | None]:
    """The newest moments of all lanes, at most ``size``, and the place down to which nothing is missing.

    What is older than the place where a lane gave up is left for later: something may belong before it.
    None stands for all that was read.
    """
    stops = [Place(number, lane.stopped) for number, lane in enumerate(stretches) if lane.stopped]
    horizon = min(stops, key=lambda stop: _order(stop.cursor.time, stop.lane), default=None)
    moments = [Moment(row.time, number, row) for number, lane in enumerate(stretches) for row in lane.rows]
    # Stable, so that each lane keeps its order.
    moments.sort(key=lambda moment: _order(moment.time, moment.lane))
    if horizon is not None:
        end = _order(horizon.cursor.time, horizon.lane)
        moments = [moment for moment in moments if _order(moment.time, moment.lane) <= end]
    return moments[:size], horizon


def _order(time: datetime, lane: int) -> tuple[timedelta, int]:
    return EPOCH - time, lane


def read_place(text: str, lanes: int) -> Place:
    """Raises BadCursor."""
    lane, _, cursor = text.partition(SEPARATOR)
    if not (lane.isascii() and lane.isdigit() and len(lane) < 4 and int(lane) < lanes):
        raise BadCursor("before: it is not a place on this timeline; leave it out to begin anew.")
    return Place(int(lane), read_cursor(cursor))


def behind(place: Place, lane: int) -> Cursor:
    """Where to read on in a lane, behind a row of that or another one."""
    if lane == place.lane:
        return place.cursor
    # Of the same instant, earlier lanes have been shown and later ones have not.
    time = place.cursor.time
    return Cursor(True, time + INSTANT if lane > place.lane else time, LOWEST_ID)


def timeline(
    lanes: Sequence[Listing[Any]], before: str = "", size: int = 50, effort: Effort = DEFAULT_EFFORT
) -> Page:
    """A page of the lanes' rows. Raises BadCursor."""
    place = read_place(before, len(lanes)) if before else None
    stretches = []
    for number, listing in enumerate(lanes):
        found = walk(listing, size + 1, behind(place, number) if place else None, effort=effort)
        stretches.append(Stretch(found.rows, found.stopped))
    moments, horizon = merge(stretches, size)
    more = horizon is not None or sum(len(lane.rows) for lane in stretches) > len(moments)
    if not more:
        return Page(moments)
    if horizon is not None and len(moments) < size:
        return Page(moments, str(horizon), horizon.cursor.time)
    last = moments[-1]
    return Page(moments, str(Place(last.lane, place_of(last.time, last.row.pk, older=True))))
