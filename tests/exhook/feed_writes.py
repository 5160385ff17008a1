"""Ways to write to the database that are not ours to control: each bypasses some part of the program."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import psycopg2
from django.db import connection, models


def execute_elsewhere(*statements: tuple[str, Iterable[object]]) -> None:
    """One transaction of another program: no Django, a connection of its own. Placeholders are ``%s``."""
    if connection.vendor == "postgresql":
        with closing(psycopg2.connect(**connection.get_connection_params())) as other:
            with other.cursor() as cursor:
                for statement, parameters in statements:
                    cursor.execute(statement, tuple(parameters))
            other.commit()
    else:
        with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=20)) as other:
            for statement, parameters in statements:
                other.execute(statement.replace("%s", "?"), tuple(parameters))
            other.commit()


def update_elsewhere(rows: models.QuerySet[Any], values: dict[str, object]) -> None:
    """UPDATE as psql or sqlite3 would send it."""
    model = rows.model
    for pk in rows.values_list("pk", flat=True):
        columns = [model._meta.get_field(name) for name in values]
        assignments = ", ".join(f"{field.column} = %s" for field in columns)
        parameters = [
            field.get_db_prep_save(value, connection)
            for field, value in zip(columns, values.values(), strict=True)
        ]
        execute_elsewhere(
            (f"UPDATE {model._meta.db_table} SET {assignments} WHERE id = %s", [*parameters, pk])
        )


def delete_elsewhere(*rows: models.QuerySet[Any]) -> None:
    """DELETE, table by table in one transaction: nobody cascades."""
    execute_elsewhere(
        *(
            (f"DELETE FROM {queryset.model._meta.db_table} WHERE id = %s", [pk])
            for queryset in rows
            for pk in queryset.values_list("pk", flat=True)
        )
    )


def insert_elsewhere(instance: models.Model) -> None:
    """INSERT as psql or sqlite3 would send it."""
    columns, values = _row(instance)
    table = instance._meta.db_table
    execute_elsewhere(
        (f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", values)
    )


def copy_elsewhere(instance: models.Model) -> None:
    """COPY … FROM STDIN, as a bulk load on PostgreSQL does."""
    columns, values = _row(instance)
    line = io.StringIO()
    csv.writer(line).writerow(
        "\\N" if value is None else getattr(value, "adapted", value) for value in values
    )
    text = io.StringIO(line.getvalue().replace("{}", json.dumps({})))
    with closing(psycopg2.connect(**connection.get_connection_params())) as other:
        with other.cursor() as cursor:
            cursor.copy_expert(
                f"COPY {instance._meta.db_table} ({', '.join(columns)}) FROM STDIN (FORMAT csv, NULL '\\N')",
                text,
            )
        other.commit()


def _row(instance: models.Model) -> tuple[list[str], list[Any]]:
    fields = [field for field in instance._meta.concrete_fields if not field.primary_key]
    values = [field.get_db_prep_save(field.pre_save(instance, True), connection) for field in fields]
    return [str(field.column) for field in fields], values
