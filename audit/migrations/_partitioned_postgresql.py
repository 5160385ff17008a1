"""Turns the table of events on PostgreSQL into a partitioned one with all its rows, and back.

    audit_event                     by kind
      audit_event_decisions         by time: a partition a week, and audit_event_decisions_default
      audit_event_presence          the same
      audit_event_activity          the same; all other kinds

The state Django knows stays as it is. In the database the primary key has the columns that the
partitions are made by too; the id alone is unique all the same, because it was made with its event.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper

TABLE = "audit_event"
KINDS = {
    "decisions": "FOR VALUES IN ('client.authenticate', 'client.authorize', 'client.connack')",
    "presence": "FOR VALUES IN ('client.connected', 'client.disconnected', 'provider.loaded', "
    "'provider.unloaded', 'endpoint.back')",
    "activity": "DEFAULT",
}
WEEK = timedelta(days=7)
# Enough to begin with: maintenance, which begins when run_exhook is started, creates more.
AHEAD = timedelta(days=7)
# Older rows (and those of a clock that was wrong) are for the default partition, and for maintenance.
MOST_WEEKS = 110


def partition(schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        weeks = _weeks(cursor)
        indexes = _set_aside(cursor)
        cursor.execute(
            f"CREATE TABLE {TABLE} (LIKE {TABLE}_before INCLUDING ALL EXCLUDING INDEXES) PARTITION BY LIST (kind)"
        )
        cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (id, time, kind)")
        for index in indexes:
            cursor.execute(index)
        for group, kinds in KINDS.items():
            name = f"{TABLE}_{group}"
            cursor.execute(f"CREATE TABLE {name} PARTITION OF {TABLE} {kinds} PARTITION BY RANGE (time)")
            cursor.execute(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT")
            for start in weeks:
                cursor.execute(
                    f"CREATE TABLE {name}_{start:%Y%m%d} PARTITION OF {name} "
                    f"FOR VALUES FROM ('{start.isoformat()}') TO ('{(start + WEEK).isoformat()}')"
                )
        _take_rows(cursor)


def unpartition(schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        indexes = _set_aside(cursor)
        cursor.execute(f"CREATE TABLE {TABLE} (LIKE {TABLE}_before INCLUDING ALL EXCLUDING INDEXES)")
        cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_pkey PRIMARY KEY (id)")
        for index in indexes:
            cursor.execute(index.replace(" ON ONLY ", " ON "))
        _take_rows(cursor)


def _set_aside(cursor: CursorWrapper) -> Sequence[str]:
    """Renames the table and frees the names of its indexes; answers how these are made again."""
    cursor.execute(
        "SELECT indexname, indexdef, indexname = (SELECT conname FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype = 'p')"
        " FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s ORDER BY indexname",
        [TABLE, TABLE],
    )
    found = cursor.fetchall()
    cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {TABLE}_before")
    for name, _, is_primary_key in found:
        if is_primary_key:
            cursor.execute(f'ALTER TABLE {TABLE}_before RENAME CONSTRAINT "{name}" TO {TABLE}_before_pkey')
        else:
            cursor.execute(f'DROP INDEX "{name}"')
    return [definition for _, definition, is_primary_key in found if not is_primary_key]


def _weeks(cursor: CursorWrapper) -> Sequence[datetime]:
    """The Mondays (UTC) from the oldest row, or from now, until well ahead."""
    cursor.execute(
        f"SELECT now(), min(time) FROM {TABLE} WHERE time >= now() - interval '{MOST_WEEKS} weeks'"
    )
    now, oldest = cursor.fetchone()
    first = _monday(min(oldest or now, now))
    return [first + number * WEEK for number in range((now + AHEAD - first) // WEEK + 1)]


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _take_rows(cursor: CursorWrapper) -> None:
    """The columns of both tables are the same, in the same order: one was made like the other."""
    cursor.execute(f"INSERT INTO {TABLE} SELECT * FROM {TABLE}_before")
    cursor.execute(f"DROP TABLE {TABLE}_before")
