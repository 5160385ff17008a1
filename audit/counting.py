"""Repeats that stored rows are to count, in one statement a batch."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest
from psycopg2.extras import execute_values

from audit.folding import Addition
from audit.models import Event

# The bounds of the time are there for the planner: it then looks into the partitions between them only.
_UPDATE = f"""
    UPDATE {Event._meta.db_table} AS event
    SET repeats = event.repeats + again.count, last_time = GREATEST(event.last_time, again.last_time)
    FROM (VALUES %s) AS again (id, time, kind, count, last_time)
    WHERE event.id = again.id AND event.time = again.time AND event.kind = again.kind
        AND event.time BETWEEN {{earliest}} AND {{latest}}
    RETURNING event.id
"""
_VALUES = "(%s::uuid, %s::timestamptz, %s, %s::integer, %s::timestamptz)"


def count_repeats(additions: Sequence[Addition]) -> set[UUID]:
    """Adds to the rows what they are to count; answers the ids of those that are no longer there.

    To be called in a transaction.
    """
    if not additions:
        return set()
    counted = _update(additions) if connection.vendor == "postgresql" else _update_each(additions)
    return {addition.first.id for addition in additions} - counted


def _update(additions: Sequence[Addition]) -> set[UUID]:
    rows = [
        (each.first.id, _utc(each.first.time), each.first.kind.value, each.count, _utc(each.last_time))
        for each in additions
    ]
    times = [time for _, time, *_ in rows]
    bounds = {"earliest": f"'{min(times).isoformat()}'", "latest": f"'{max(times).isoformat()}'"}
    with connection.cursor() as cursor, connection.wrap_database_errors:
        found = execute_values(
            cursor.cursor, _UPDATE.format(**bounds), rows, template=_VALUES, page_size=len(rows), fetch=True
        )
    return {event for (event,) in found}


def _update_each(additions: Sequence[Addition]) -> set[UUID]:
    counted = set()
    for addition in additions:
        last = _utc(addition.last_time)
        changed = Event.objects.filter(pk=addition.first.id).update(
            repeats=F("repeats") + addition.count, last_time=Greatest(Coalesce("last_time", last), last)
        )
        if changed:
            counted.add(addition.first.id)
    return counted


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
