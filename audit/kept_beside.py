"""What other apps keep for some time only: it is taken away in the same runs as what has expired of the log.

The log knows no other app, so these say what they keep (``connect``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows that expire. ``days`` is for how many they are kept, 0 for ever; ``older_than`` are those from
    before a moment, in an order in which the database finds the first of them cheaply."""

    what: str
    days: Callable[[], int]
    older_than: Callable[[datetime], QuerySet[Any]]


_kept: list[Kept] = []


def connect(*kept: Kept) -> None:
    """From now on these expire too."""
    _kept.extend(kept)


def kept_beside(now: datetime) -> Iterator[tuple[Kept, datetime]]:
    """What expires, each with the moment before which it has expired ``now``."""
    for one in _kept:
        if days := one.days():
            yield one, now - timedelta(days=days)
