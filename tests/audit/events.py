"""Rows of the audit log, made directly: searching must not depend on how they were written."""

from datetime import UTC, datetime
from typing import Any

from audit.fact import Fact, Kind
from audit.models import Event
from audit.rows import event_of

DAY = datetime(2026, 11, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds into the day that the tests' events are of."""
    return datetime.fromtimestamp(DAY.timestamp() + seconds, UTC)


def event(seconds: float, kind: Kind = Kind.AUTHORIZE, **fields: Any) -> Event:
    """An event of that moment, not stored yet."""
    return event_of(Fact(kind, time=DAY.timestamp() + seconds, **fields))


def store(*events: Event) -> list[Event]:
    return Event.objects.bulk_create(events)
