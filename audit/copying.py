"""Rows into a table, many at once, as fast as the database takes them.

PostgreSQL gets them by COPY in its text format: a line a row, tabs between the values, ``\\N`` for
NULL, and a backslash before what would end a value or a line
(https://www.postgresql.org/docs/current/sql-copy.html, “Text Format”).
"""

import io
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from psycopg2.extras import execute_values

from audit.models import Event
from audit.rows import COLUMNS

Values = Sequence[object]

TABLE = Event._meta.db_table
NAMES = ", ".join(COLUMNS)
READ_BYTES = 1024 * 1024
ROWS_A_STATEMENT = 500

_special = re.compile(r"[\\\t\n\r]")
_escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def insert_events(rows: Sequence[Values]) -> None:
    """Inserts events, whose values are in the order of ``COLUMNS``; all of them or none.

    Raises django.db.IntegrityError when one of the ids is there already; then nothing was inserted,
    and the transaction, in which this is to be called, goes on.
    """
    with transaction.atomic():
        insert_rows(TABLE, COLUMNS, rows)


def insert_rows(table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
    """Inserts rows into any table; their values are in the order of the columns."""
    if connection.vendor == "postgresql":
        _copy(table, columns, rows)
    else:
        _insert_many(table, columns, rows)


def insert_new_events(rows: Sequence[Values]) -> set[UUID]:
    """Inserts those events whose ids are not there yet, and answers their ids. Slower.

    To be called in a transaction.
    """
    distinct = {row[0]: row for row in rows}
    if connection.vendor == "postgresql":
        return _insert_ignoring_conflicts(list(distinct.values()))
    known = set(Event.objects.filter(pk__in=list(distinct)).values_list("pk", flat=True))
    new: dict[Any, Values] = {event: row for event, row in distinct.items() if event not in known}
    _insert_many(TABLE, COLUMNS, list(new.values()))
    return set(new)


def copy_line(values: Values) -> str:
    """The values as a line that COPY reads back as the same; NUL is in no PostgreSQL text."""
    return "\t".join([_encoders[type(value)](value) for value in values]) + "\n"


def copy_lines(rows: Sequence[Values]) -> str:
    """All their lines, twice as fast where nothing needs an escape, as nearly always."""
    encoders = _encoders
    # NUL, which no text can hold, stands for NULL until it is certain that nothing else has a backslash.
    lines = [
        "\t".join(
            [
                value if type(value) is str else "\0" if value is None else encoders[type(value)](value)
                for value in row
            ]
        )
        for row in rows
    ]
    text = "\n".join([*lines, ""])
    if (
        "\\" in text
        or "\r" in text
        or text.count("\n") != len(rows)
        or text.count("\t") != sum([len(row) - 1 for row in rows])
        or text.count("\0") != sum([row.count(None) for row in rows])
    ):
        return "".join([copy_line(row) for row in rows])
    return text.replace("\0", r"\N")


def _text(text: str) -> str:
    return _special.sub(_escape, text) if _special.search(text) else text


def _escape(found: re.Match[str]) -> str:
    return _escapes[found[0]]


class _Encoders(dict[type, Callable[[Any], str]]):
    """By the exact type; a subclass, such as an enumeration of texts, as what it derives from."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__:
            if base in self:
                self[kind] = self[base]
                return self[kind]
        raise TypeError(f"no column holds a {kind.__name__}")


_encoders = _Encoders(
    {
        type(None): lambda _: r"\N",
        bool: lambda value: "t" if value else "f",
        int: str,
        str: _text,
        UUID: lambda value: value.hex,
        datetime: datetime.isoformat,
    }
)


def _copy(table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
    lines = copy_lines(rows).encode()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.cursor.copy_expert(
            f"COPY {table} ({', '.join(columns)}) FROM STDIN", io.BytesIO(lines), READ_BYTES
        )


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
