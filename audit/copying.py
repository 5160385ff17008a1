"""Rows into a table, many at once, as fast as the database takes them: by COPY, where it is PostgreSQL."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import Error, connection, transaction
from psycopg2.extras import execute_values

from audit.copy_text import Values, copy_line
from audit.event_lines import event_lines
from audit.folding import Row
from audit.models import Event
from audit.rows import COLUMNS, values_of

TABLE = Event._meta.db_table
NAMES = ", ".join(COLUMNS)
ROWS_A_STATEMENT = 500
ROWS_A_PIECE = 250
"""So few that a processor's own cache holds them while they become lines."""


def insert_events(rows: Sequence[Row]) -> None:
    """Inserts events; all of them or none.

    Raises django.db.IntegrityError when one of the ids is there already; then nothing was inserted,
    and the transaction, in which this is to be called, goes on.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            _copy(
                TABLE,
                COLUMNS,
                (
                    event_lines(rows[begin : begin + ROWS_A_PIECE])
                    for begin in range(0, len(rows), ROWS_A_PIECE)
                ),
            )
        else:
            _insert_many(TABLE, COLUMNS, [values_of(row) for row in rows])


def insert_rows(table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
    """Inserts rows into any table; their values are in the order of the columns."""
    if connection.vendor == "postgresql":
        _copy(table, columns, (copy_line(row) for row in rows))
    else:
        _insert_many(table, columns, rows)


def insert_new_events(rows: Sequence[Row]) -> set[UUID]:
    """Inserts those events whose ids are not there yet, and answers their ids. Slower.

    To be called in a transaction.
    """
    distinct = {row.fact.id: values_of(row) for row in rows}
    if connection.vendor == "postgresql":
        return _insert_ignoring_conflicts(list(distinct.values()))
    known = set(Event.objects.filter(pk__in=list(distinct)).values_list("pk", flat=True))
    new = {event: values for event, values in distinct.items() if event not in known}
    _insert_many(TABLE, COLUMNS, list(new.values()))
    return set(new)


class _Pieces:
    """Text as a file that COPY reads: PostgreSQL stores one piece while the next is made."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.error: Exception | None = None
        """What making a piece raised; psycopg2 only tells of a query that was cancelled."""

    def read(self, _: int) -> bytes:
        """The next piece, of any length; nothing at the end."""
        try:
            return next(self._pieces, "").encode()
        except Exception as error:
            self.error = error
            # Its words would be in PostgreSQL's log.
            raise RuntimeError("a row cannot be written") from None


def _copy(table: str, columns: Sequence[str], lines: Iterator[str]) -> None:
    pieces = _Pieces(lines)
    try:
        with connection.cursor() as cursor, connection.wrap_database_errors:
            cursor.cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", pieces)
    except Error:
        if pieces.error is not None:
            raise pieces.error from None
        raise


def _insert_ignoring_conflicts(rows: Sequence[Values]) -> set[UUID]:
    """No conflict target: which constraint holds the ids depends on how the table is partitioned."""
    statement = f"INSERT INTO {TABLE} ({NAMES}) VALUES %s ON CONFLICT DO NOTHING RETURNING id"
    with connection.cursor() as cursor, connection.wrap_database_errors:
        found = execute_values(cursor.cursor, statement, rows, page_size=ROWS_A_STATEMENT, fetch=True)
    return {event for (event,) in found}


def _insert_many(table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
    places = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
    with connection.cursor() as cursor:
        cursor.executemany(statement, [[_adapted(value) for value in row] for row in rows])


def _adapted(value: Any) -> Any:
    """As Django's fields hand it to a database without such a type."""
    if isinstance(value, UUID):
        return value.hex
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
