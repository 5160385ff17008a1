"""Pages of a long table by place, not by number: none costs more for being far down, nothing is counted.

A page that has to look at many rows to find a few looks at them in slices, and stops when it has looked for
long enough: it then says how far it came, and its cursor goes on from there.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
LOWEST_ID = "0" * 32
"""Sorts before every id, read as a UUID or as a number."""

Row = TypeVar("Row", bound=Model)


class BadCursor(ValueError):
    """A text that is no cursor of such a list; the message is for people."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows, and the direction to read in. ``id`` is a primary key as text."""

    older: bool
    time: datetime
    id: str

    def __str__(self) -> str:
        """Opaque: what it is made of may change."""
        microseconds = (self.time - EPOCH) // INSTANT
        return urlsafe_b64encode(f"{'<' if self.older else '>'}{microseconds}.{self.id}".encode()).decode()


def place_of(time: datetime, key: UUID | int, older: bool) -> Cursor:
    """The place just behind the row with this time and primary key, when read in that direction."""
    return Cursor(older, time, key.hex if isinstance(key, UUID) else str(key))


def read_cursor(text: str) -> Cursor:
    """Raises BadCursor."""
    try:
        plain = urlsafe_b64decode(text.encode()).decode()
        parts = re.fullmatch(r"([<>])(-?[0-9]{1,16})\.([0-9a-f-]{1,36})", plain)
        if parts is None:
            raise ValueError(plain)
        return Cursor(parts[1] == "<", EPOCH + int(parts[2]) * INSTANT, parts[3])
    except (ValueError, OverflowError):
        raise BadCursor(
            "cursor: it is not one that this list gave out; leave it out to begin anew."
        ) from None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows, newest first. ``newer`` and ``older`` are cursors; empty where nothing is known to follow.

    ``searched_to`` is set when the page is not full although rows may follow: from its beginning to this
    time everything was looked at, and its cursor goes on from there.
    """

    rows: list[Row]
    newer: str = ""
    older: str = ""
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much one page may cost where rows must be looked at one by one.

    No slice is begun after ``seconds``, or when ``rows`` have been looked at. Slices grow from ``first`` to
    ``largest`` while they are quick, so that none of them takes long on any machine.
    """

    seconds: float = 0.5
    rows: int = 1_000_000
    first: int = 2_000
    largest: int = 64_000
    clock: Callable[[], float] = field(default=monotonic)


DEFAULT_EFFORT = Effort()


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """What is paged: rows in the order of ``time_field`` and primary key, newest first.

    ``scanned`` is given where no index finds ``matching`` rows in that order: a wider queryset, which an
    index does find, and which is then looked through slice by slice.
    """

    matching: QuerySet[Row]
    scanned: QuerySet[Row] | None = None
    time_field: str = "time"

    def place(self, row: Row, older: bool) -> Cursor:
        """The place just behind the row, when read in that direction."""
        return place_of(getattr(row, self.time_field), row.pk, older)

    def behind(self, rows: QuerySet[Row], cursor: Cursor | None, older: bool) -> QuerySet[Row]:
        """What follows the cursor, in the direction's order. Raises BadCursor for another list's."""
        time, sign = self.time_field, "-" if older else ""
        ordered = rows.order_by(f"{sign}{time}", f"{sign}pk")
        if cursor is None:
            return ordered
        near, past = ("lte", "lt") if older else ("gte", "gt")
        try:
            # The outer comparison, of the time alone, is what an index and partitions are found by.
            return ordered.filter(
                Q(**{f"{time}__{near}": cursor.time})
                & (Q(**{f"{time}__{past}": cursor.time}) | Q(**{f"pk__{past}": cursor.id}))
            )
        except (ValueError, ValidationError):
            raise BadCursor("cursor: it belongs to another list; leave it out to begin anew.") from None

    def up_to(self, rows: QuerySet[Row], end: Cursor) -> QuerySet[Row]:
        """What comes before the cursor or lies at it, in the cursor's direction."""
        time = self.time_field
        near, past = ("gte", "gt") if end.older else ("lte", "lt")
        return rows.filter(
            Q(**{f"{time}__{near}": end.time})
            & (Q(**{f"{time}__{past}": end.time}) | Q(**{f"pk__{near}": end.id}))
        )


@dataclass(slots=True)
class Found(Generic[Row]):
    """What a walk came to: ``stopped`` is the place where it gave up, None where it saw all or had enough."""

    rows: list[Any]
    stopped: Cursor | None = None


def walk(
    listing: Listing[Row],
    enough: int,
    cursor: Cursor | None = None,
    older: bool = True,
    effort: Effort = DEFAULT_EFFORT,
    read: Callable[[QuerySet[Row]], QuerySet[Row, Any]] = lambda rows: rows,
) -> Found[Row]:
    """The next ``enough`` matching rows behind the cursor, as far as the effort reaches.

    ``read`` may turn a queryset into one of values.
    """
    if listing.scanned is None:
        return Found(list(read(listing.behind(listing.matching, cursor, older))[:enough]))
    found: Found[Row] = Found([])
    for start, end in _slices(listing, listing.scanned, cursor, older, effort):
        rows = listing.behind(listing.matching, start, older)
        if end is not None:
            rows = listing.up_to(rows, end)
        found.rows += read(rows)[: enough - len(found.rows)]
        found.stopped = end
        if len(found.rows) >= enough:
            found.stopped = None
            break
    return found


def _slices(
    listing: Listing[Row], scanned: QuerySet[Row], cursor: Cursor | None, older: bool, effort: Effort
) -> Iterator[tuple[Cursor | None, Cursor | None]]:
    """Where each slice begins and ends; the end of the last one is None when nothing follows it."""
    began = effort.clock()
    size, looked = effort.first, 0
    while True:
        started = effort.clock()
        # The only OFFSET there is, and within a slice: what it skips is looked at anyway.
        places = listing.behind(scanned, cursor, older).values_list(listing.time_field, "pk")
        last = next(iter(places[size - 1 : size]), None)
        end = None if last is None else place_of(last[0], last[1], older)
        yield cursor, end
        looked += size
        if end is None or looked >= effort.rows or effort.clock() - began >= effort.seconds:
            return
        if effort.clock() - started < effort.seconds / 10:
            size = min(size * 4, effort.largest)
        cursor = end


def page(
    listing: Listing[Row], cursor: Cursor | None = None, size: int = 50, effort: Effort = DEFAULT_EFFORT
) -> Page[Row]:
    """The page at the cursor; without one, the newest. Raises BadCursor."""
    older = cursor is None or cursor.older
    found = walk(listing, size + 1, cursor, older, effort)
    rows: list[Row] = found.rows[:size]
    onward = listing.place(rows[-1], older) if len(found.rows) > size else found.stopped
    back: Cursor | None = None
    if cursor is not None:
        # Behind an empty page's cursor there is nothing: the way back begins a moment beyond it.
        beyond = cursor.time + (-INSTANT if older else INSTANT)
        back = listing.place(rows[0], not older) if rows else Cursor(not older, beyond, LOWEST_ID)
    newer, earlier = (back, onward) if older else (onward, back)
    return Page(
        rows if older else rows[::-1],
        newer=str(newer or ""),
        older=str(earlier or ""),
        searched_to=found.stopped.time if found.stopped else None,
    )
