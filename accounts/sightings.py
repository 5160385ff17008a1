"""When devices were seen and credentials used last, stored for many at once.

To be called through ``accounts.services``. No decision reads these columns, and the change feed
does not watch them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from django.db import connection, models, transaction

from accounts.models import Credential, Device

# What is stored may be so much older than the truth: each row is written at most so often.
STORED_EVERY_SECONDS = 60.0


def store(model: type[models.Model], column: str, sighted: Mapping[int, float]) -> None:
    """Moves the column of these rows forward to the times given, where that is at least a minute.

    Raises django.db.Error; then some of it may be stored.
    """
    if not sighted:
        return
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Rows that somebody else is changing are left out: waiting for them in whatever order
            # could end in a deadlock, and they will be sighted again.
            cursor.execute(
                f"WITH sighted AS (SELECT * FROM unnest(%s::bigint[], %s::float8[]) AS s (id, at)),"
                f" due AS (SELECT row.id, to_timestamp(sighted.at) AS at FROM {table} AS row"
                f" JOIN sighted ON sighted.id = row.id"
                f" WHERE row.{column} IS NULL OR row.{column} <= to_timestamp(sighted.at - %s)"
                f" FOR NO KEY UPDATE OF row SKIP LOCKED)"
                f" UPDATE {table} AS row SET {column} = due.at FROM due WHERE row.id = due.id",
                [list(sighted), list(sighted.values()), STORED_EVERY_SECONDS],
            )
            return
        with transaction.atomic():
            cursor.executemany(
                f"UPDATE {table} SET {column} = %s WHERE id = %s AND ({column} IS NULL OR {column} <= %s)",
                [(_stored(at), row, _stored(at - STORED_EVERY_SECONDS)) for row, at in sighted.items()],
            )


def store_seen(devices: Mapping[int, float]) -> None:
    """When devices were seen last, by id. Raises django.db.Error."""
    store(Device, "last_seen_at", devices)


def store_used(credentials: Mapping[int, float]) -> None:
    """When credentials were used last, by id. Raises django.db.Error."""
    store(Credential, "last_used_at", credentials)


def _stored(seconds: float) -> str | None:
    return connection.ops.adapt_datetimefield_value(
        datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    )
