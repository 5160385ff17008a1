"""Deletes what has expired row by row, in transactions so small that no writer waits for long."""

import time
from collections.abc import Iterable
from datetime import datetime

from django.db import connection, models

from audit.models import Chain, ChainLink, Event, Session
from audit.retention import KindGroup, kinds_of

# On SQLite a writer waits for the whole of a batch: these take about ten milliseconds.
BATCH_ROWS = 500


def delete_events(group: KindGroup, horizon: datetime) -> int:
    """Deletes events of the group that are older; answers how many. (PostgreSQL drops partitions.)"""
    # One kind at a time, because that is what the index begins with.
    return sum(
        _delete(Event.objects.filter(kind=kind, time__lt=horizon).order_by("time"))
        for kind in kinds_of(group)
    )


def count_events(group: KindGroup, horizon: datetime) -> int:
    return Event.objects.filter(kind__in=kinds_of(group), time__lt=horizon).count()


def delete_ended_sessions(horizon: datetime) -> int:
    """Deletes sessions that ended earlier; answers how many. One that is open stays, however old it is."""
    deleted, after = 0, None
    began = Session.objects.filter(connected_at__lt=horizon).order_by("connected_at", "pk")
    while True:
        # From where the last look ended: at the old end of the index those that are open for long pile up.
        rest = began if after is None else began.filter(_later(*after))
        looked_at = list(rest.values_list("connected_at", "pk", "disconnected_at")[:BATCH_ROWS])
        ended = [pk for _, pk, end in looked_at if end is not None and end < horizon]
        deleted += _delete_rows(Session.objects.filter(disconnected_at__lt=horizon), ended)
        if len(looked_at) < BATCH_ROWS:
            return deleted
        after = looked_at[-1][:2]


def count_ended_sessions(horizon: datetime) -> int:
    return Session.objects.filter(connected_at__lt=horizon, disconnected_at__lt=horizon).count()


def delete_chain_links(horizon: datetime) -> int:
    """Deletes the links and chains of days that ended earlier; answers how many links.

    To be called with the horizon of everything: a chain proves the events of all kinds together.
    """
    deleted = _delete(ChainLink.objects.filter(day__lt=horizon.date()).order_by("day", "pk"))
    _delete(Chain.objects.filter(day__lt=horizon.date()).order_by("day", "pk"))
    return deleted


def count_chain_links(horizon: datetime) -> int:
    return ChainLink.objects.filter(day__lt=horizon.date()).count()


def delete_rows(rows: "models.QuerySet[models.Model]") -> int:
    """Deletes these, the first first; answers how many. They come in an order that an index has."""
    return _delete(rows)


def _later(connected_at: datetime, pk: int) -> models.Q:
    return models.Q(connected_at__gt=connected_at) | models.Q(connected_at=connected_at, pk__gt=pk)


def _delete(rows: "models.QuerySet[models.Model]") -> int:
    deleted = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH_ROWS]):
        deleted += _delete_rows(rows.model._default_manager.all(), batch)
    return deleted


def _delete_rows(rows: "models.QuerySet[models.Model]", keys: Iterable[object]) -> int:
    began = time.monotonic()
    deleted, _ = rows.filter(pk__in=keys).order_by().delete()
    if connection.vendor == "sqlite":
        # As long as it held the lock, others may have it: SQLite keeps no queue of those who wait.
        time.sleep(min(time.monotonic() - began, 0.1))
    return deleted
