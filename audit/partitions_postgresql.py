"""The partitions of the events on PostgreSQL: found, created, emptied and dropped.

Each step is a transaction of its own, short, and looks again at what there is: whoever else does the
same at the same time, and whenever this is killed, the table is whole. Writers and readers wait for a
step at most a moment; a step waits for them LOCK_SECONDS and then gives up.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg2.errors import DeadlockDetected, LockNotAvailable

from audit.models import Event
from audit.partitions import Partition, Span
from audit.retention import KindGroup

# Any number that no other program locks in the same database.
MAINTENANCE_LOCK = 7_305_811_735
# More than the second after which PostgreSQL asks autovacuum to let go of a table; and everybody who
# wants the same table waits as long.
LOCK_SECONDS = 3.0
LOCK_ATTEMPTS = 5
# So many rows are moved out of the default partition while writers wait: one or two seconds.
MOST_MOVED = 50_000
BATCH_ROWS = 10_000
# Enough to say how bad it is.
MOST_COUNTED = 1_000_000

_T = TypeVar("_T")


class Busy(Exception):
    """Another process maintains the same database at this moment."""


class Locked(Exception):
    """Somebody held a lock for too long; the text says on what."""


def table_of(group: KindGroup) -> str:
    """The table of a group, which is a partition of the table of all events."""
    return f"{Event._meta.db_table}_{group}"


def default_of(group: KindGroup) -> str:
    """The partition that holds what no other of the group does."""
    return f"{table_of(group)}_default"


def clock() -> datetime:
    """What the database's clock says: one clock for all machines."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
        return _utc(cursor.fetchone()[0])


def partitions(group: KindGroup) -> list[Partition]:
    """The partitions that exist, but for the default one, oldest first."""
    with connection.cursor() as cursor:
        return _partitions(cursor, group)


def attach(group: KindGroup, span: Span, say: Callable[[str], None]) -> int:
    """Creates the partition for a span; answers how many rows it took from the default partition.

    Where there are many such rows, several partitions are made of the span, so that writers never
    wait for long. Raises Busy, Locked.
    """
    moved = 0
    while True:
        created, taken = _with_locks(group, partial(_attach, group, span))
        if created is None:
            return moved
        moved += taken
        say(f"{group}: created the partition for {created}" + (f", with {taken} rows" if taken else ""))
        if created.end >= span.end:
            return moved
        span = Span(created.end, span.end)


def drop(group: KindGroup, partition: Partition) -> None:
    """Drops a partition with its rows. Raises Busy, Locked."""

    def step(cursor: CursorWrapper) -> None:
        # Another table could have got the name since it was read.
        if partition in _partitions(cursor, group):
            cursor.execute(f"DROP TABLE {_quoted(partition.table)}")

    _with_locks(group, step)


def delete_before(table: str, horizon: datetime) -> int:
    """Deletes what is older from one partition, in batches; answers how many rows. Raises Busy."""
    deleted = 0
    while True:
        with _turn() as cursor:
            cursor.execute(
                f"DELETE FROM {_quoted(table)} WHERE ctid = ANY(ARRAY("
                f"SELECT ctid FROM {_quoted(table)} WHERE time < %s ORDER BY time LIMIT {BATCH_ROWS}))",
                [horizon],
            )
            batch: int = cursor.rowcount
        deleted += batch
        if batch < BATCH_ROWS:
            return deleted


def count_before(table: str, horizon: datetime) -> int:
    """How many rows of one partition are older; at most MOST_COUNTED."""
    return _count(f"SELECT 1 FROM {_quoted(table)} WHERE time < %s", horizon)


def count_outside(group: KindGroup) -> int:
    """How many rows are in the default partition; at most MOST_COUNTED."""
    return _count(f"SELECT 1 FROM {default_of(group)}")


def oldest_outside(group: KindGroup, since: datetime | None, until: datetime) -> datetime | None:
    """The time of the oldest row in the default partition within these limits (the last excluded)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT min(time) AT TIME ZONE 'UTC' FROM {default_of(group)}"
            " WHERE (%s::timestamptz IS NULL OR time >= %s) AND time < %s",
            [since, since, until],
        )
        found = cursor.fetchone()[0]
        return found and _utc(found)


def tidy_default(group: KindGroup) -> None:
    """Makes room of the rows that were moved: every new partition has the default one read through."""
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {default_of(group)}")


def _attach(group: KindGroup, wanted: Span, cursor: CursorWrapper) -> tuple[Span | None, int]:
    """The span that was covered, and how many rows were moved into it."""
    covered = [one.span for one in _partitions(cursor, group)]
    if any(span.start < wanted.end and wanted.start < span.end for span in covered):
        return None, 0
    table, default = table_of(group), default_of(group)
    span = _with_not_too_many_rows(cursor, default, wanted)
    name = _free_name(cursor, table, span.start)
    limits = [span.start, span.end]
    cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
    cursor.execute(
        f"WITH moved AS (DELETE FROM {default} WHERE time >= %s AND time < %s RETURNING *)"
        f" INSERT INTO {name} SELECT * FROM moved",
        limits,
    )
    moved = cursor.rowcount
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", limits)
    return span, moved


def _with_not_too_many_rows(cursor: CursorWrapper, default: str, span: Span) -> Span:
    cursor.execute(
        f"SELECT time AT TIME ZONE 'UTC' FROM {default} WHERE time >= %s AND time < %s"
        " ORDER BY time OFFSET %s LIMIT 1",
        [span.start, span.end, MOST_MOVED],
    )
    found = cursor.fetchone()
    cut = _utc(found[0]) if found else span.end
    return Span(span.start, cut) if span.start < cut else span


def _free_name(cursor: CursorWrapper, table: str, start: datetime) -> str:
    at_midnight = (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0)
    name = f"{table}_{start:%Y%m%d}" if at_midnight else f"{table}_{start:%Y%m%dt%H%M%S%f}"
    cursor.execute("SELECT to_regclass(%s) IS NULL", [name])
    # Taken only where somebody has detached a partition and kept its table.
    return name if cursor.fetchone()[0] else f"{name}_{random.randrange(16**8):08x}"


def _partitions(cursor: CursorWrapper, group: KindGroup) -> list[Partition]:
    # Bounds are shown in the session's time zone; with the offset they say the same in each.
    cursor.execute(
        """
        SELECT child.relname, bounds[1], bounds[2]
        FROM pg_inherits
            JOIN pg_class child ON child.oid = inhrelid
            CROSS JOIN pg_get_expr(relpartbound, child.oid) AS definition
            CROSS JOIN regexp_match(definition, $$FROM \\('?(.+?)'?\\) TO \\('?(.+?)'?\\)$$) AS bounds
        WHERE inhparent = %s::regclass AND bounds IS NOT NULL
        """,
        [table_of(group)],
    )
    found = [Partition(name, Span(_bound(start), _bound(end))) for name, start, end in cursor.fetchall()]
    return sorted(found, key=lambda one: one.span)


def _bound(text: str) -> datetime:
    """A bound as the catalog has it; the open ones are for who makes partitions by hand."""
    ends = {"MINVALUE": datetime.min, "MAXVALUE": datetime.max}
    return ends[text].replace(tzinfo=UTC) if text in ends else datetime.fromisoformat(text).astimezone(UTC)


def _with_locks(group: KindGroup, step: Callable[[CursorWrapper], _T]) -> _T:
    """Does a step while nobody else reads or writes the group. Raises Busy, Locked.

    One strong lock from the beginning: with weaker ones to be strengthened later, a writer that
    has read before it writes would end in a deadlock.
    """
    for attempt in range(LOCK_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.1, 1.0))
        try:
            with _turn() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
                cursor.execute(f"LOCK TABLE ONLY {table_of(group)} IN ACCESS EXCLUSIVE MODE")
                return step(cursor)
        except OperationalError as error:
            if not isinstance(error.__cause__, (LockNotAvailable, DeadlockDetected)):
                raise
    raise Locked(f"Somebody has been using {table_of(group)} for long, so that it could not be locked.")


@contextmanager
def _turn() -> Iterator[CursorWrapper]:
    """A transaction in which nobody else maintains this database. Raises Busy."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [MAINTENANCE_LOCK])
        if not cursor.fetchone()[0]:
            raise Busy
        yield cursor


def _count(rows: str, *parameters: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({rows} LIMIT {MOST_COUNTED}) few", parameters)
        return int(cursor.fetchone()[0])


def _utc(moment: datetime) -> datetime:
    """Of what was read AT TIME ZONE 'UTC': the driver goes by the zone that it thinks the session has."""
    return moment.replace(tzinfo=UTC)


def _quoted(table: str) -> str:
    return connection.ops.quote_name(table)
