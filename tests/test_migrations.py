"""Migrations: up to date, possible from nothing and back to nothing, with the triggers in place."""

import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from accounts.models import Credential, Device
from acl.models import Policy, Rule
from tests.endpoint import database_url
from tests.programs import run_python

# Each before those it depends on.
APPS = ("exhookadmin", "audit", "acl", "accounts")

# All that a decision is made of.
ATTACHMENTS = (Device.groups.through, Policy.devices.through, Policy.groups.through)
DECIDING = [model._meta.db_table for model in (Device, Credential, Policy, Rule, *ATTACHMENTS)]
TRIGGERS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT event_manipulation || ' ON ' || event_object_table"
    " FROM information_schema.triggers",
}
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"

Ask = Callable[[str], list[str]]
"""The first column of a query's rows."""


def test_the_migrations_say_what_the_models_say(db):
    said = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=said)
    assert said.getvalue().strip() == "No changes detected"


def ask_test_database(query: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


def triggered(ask: Ask) -> set[tuple[str, str]]:
    """Table and operation of every trigger."""
    found = (
        re.search(r"\b(INSERT|UPDATE|DELETE)\b[^;]*?\bON \"?(\w+)", trigger)
        for trigger in ask(TRIGGERS[connection.vendor])
    )
    return {(match[2], match[1]) for match in found if match}


@pytest.mark.parametrize("operation", ["INSERT", "UPDATE", "DELETE"])
@pytest.mark.parametrize("table", DECIDING)
def test_every_table_that_decides_reports_its_changes(db, table, operation):
    """On SQLite a migration that rebuilds a table loses its triggers: it must install them again."""
    assert (table, operation) in triggered(ask_test_database)


@pytest.fixture
def new_database(db: None, tmp_path: Path) -> Iterator[tuple[str, Ask]]:
    """An empty database of the kind under test: its URL, and a way to ask it."""
    if connection.vendor == "sqlite":
        path = tmp_path / "new.sqlite3"

        def ask_sqlite(query: str) -> list[str]:
            with closing(sqlite3.connect(path)) as own:
                return [row[0] for row in own.execute(query)]

        yield f"sqlite:///{path}", ask_sqlite
        return
    server, _, _ = database_url().rpartition("/")
    url = f"{server}/new_{secrets.token_hex(4)}"
    name = url.rpartition("/")[2]
    _on_server(f"CREATE DATABASE {name}")
    try:
        yield url, lambda query: _rows(url, query)
    finally:
        _on_server(f"DROP DATABASE {name} WITH (FORCE)")


def _rows(url: str, query: str) -> list[str]:
    with closing(psycopg2.connect(url)) as own, own.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


def _on_server(statement: str) -> None:
    with closing(psycopg2.connect(database_url())) as own:
        own.autocommit = True
        own.cursor().execute(statement)


def tables_of(*names: str) -> set[str]:
    models = [
        model for name in names for model in apps.get_app_config(name).get_models(include_auto_created=True)
    ]
    return {model._meta.db_table for model in models}


def test_from_nothing_and_back_to_nothing_and_again(new_database, tmp_path):
    url, ask = new_database

    def migrate(*targets: tuple[str, ...]) -> None:
        commands = "".join(f"call_command('migrate', *{target}, verbosity=0);" for target in targets)
        done = run_python(
            "-c",
            f"import django; django.setup()\nfrom django.core.management import call_command\n{commands}",
            DATABASE_URL=url,
            VAR_DIR=str(tmp_path / "var"),
            SECRET_KEY="x" * 50,
        )
        assert done.returncode == 0, done.stderr

    def state() -> dict[str, Any]:
        return {
            "tables": set(ask(TABLES[connection.vendor])) & tables_of(*APPS),
            "triggers": triggered(ask),
            "functions": set(ask(FUNCTIONS)) if connection.vendor == "postgresql" else set(),
        }

    migrate(())
    complete = state()
    assert complete["tables"] == tables_of(*APPS)
    assert complete["triggers"] >= {(table, "UPDATE") for table in DECIDING}

    migrate(*((app, "zero") for app in APPS))
    assert state() == {"tables": set(), "triggers": set(), "functions": set()}
    assert "auth_user" in ask(TABLES[connection.vendor])

    migrate(())
    assert state() == complete


def test_going_back_works_with_rows_in_the_tables(new_database, tmp_path):
    url, ask = new_database
    program = """
import django; django.setup()
from django.core.management import call_command
from accounts import services as accounts
from acl import services as acl
call_command("migrate", verbosity=0)
device = accounts.create_device("pump-17", attributes={"site": "berlin"})
accounts.create_token(device)
accounts.add_password(device, "correct horse")
acl.create_rule(acl.create_policy("fleet", devices=[device]), "allow", "all", "dev/${clientid}/#")
for app in %r:
    call_command("migrate", app, "zero", verbosity=0)
"""
    done = run_python(
        "-c", program % (APPS,), DATABASE_URL=url, VAR_DIR=str(tmp_path / "var"), SECRET_KEY="x" * 50
    )
    assert done.returncode == 0, done.stderr
    assert not set(ask(TABLES[connection.vendor])) & tables_of(*APPS)


def test_events_stay_when_their_table_is_partitioned_and_when_it_is_one_again(new_database, tmp_path):
    """Each in the partition of its week; what no partition is made for, in the default one."""
    url, ask = new_database
    program = """
import django; django.setup()
from datetime import timedelta
from uuid import uuid4
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from audit.models import Event

def migrate(target):
    call_command("migrate", "audit", target, verbosity=0)

def told():
    return list(Event.objects.order_by("id").values_list())

def indexes():
    with connection.cursor() as cursor:
        return {
            name: found["columns"]
            for name, found in connection.introspection.get_constraints(cursor, "audit_event").items()
            if found["index"] and not found["primary_key"]
        }

migrate("0006")
before = indexes()
now = timezone.now()
kinds = ("client.authorize", "client.connected", "message.publish")
Event.objects.bulk_create(
    Event(id=uuid4(), time=now + timedelta(days=days), kind=kind, client_id="c", port=7, detail="x")
    for days in (0, -1, -8, -300, -20_000, 5_000)
    for kind in kinds
)
rows = told()
assert len(rows) == 18
for target in ("0007", "0006", "0007"):
    migrate(target)
    assert told() == rows, target
    assert indexes() == before, target
"""
    done = run_python("-c", program, DATABASE_URL=url, VAR_DIR=str(tmp_path / "var"), SECRET_KEY="x" * 50)
    assert done.returncode == 0, done.stderr
    if connection.vendor == "postgresql":
        assert ask("SELECT count(*) FROM ONLY audit_event") == [0]
        for group in ("decisions", "presence", "activity"):
            assert ask(f"SELECT count(*) FROM audit_event_{group}") == [6]
            assert ask(f"SELECT count(*) FROM audit_event_{group}_default") == [2]
