"""Triggers that tell the change feed of everything a decision could depend on, whoever changes it.

A later migration that alters one of these tables has to put the triggers in place again, with
its own list of columns: Django alters a table of SQLite by rebuilding it, which drops them, and
on PostgreSQL they name the columns. tests/exhook/test_feed_triggers.py fails where that was forgotten.
"""

from collections.abc import Iterator, Mapping, Sequence

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from exhookadmin.migrations import _change_triggers_postgresql as postgresql
from exhookadmin.migrations import _change_triggers_sqlite as sqlite

# The columns that decide. accounts_devicegroup has none: who is in a group, and what applies
# to it, is in other tables, and a deleted group takes those rows along.
WATCHED: Mapping[str, Sequence[str]] = {
    "accounts_device": (
        "id",
        "username",
        "enabled",
        "superuser",
        "client_id_binding",
        "client_id",
        "networks",
        "valid_from",
        "valid_until",
        "certificate_cn",
        "credential_required",
        "attributes",
    ),
    "accounts_credential": ("id", "device_id", "kind", "encoded", "enabled", "expires_at"),
    "accounts_device_groups": ("device_id", "devicegroup_id"),
    "acl_policy": ("id", "name", "enabled", "everyone"),
    "acl_policy_devices": ("policy_id", "device_id"),
    "acl_policy_groups": ("policy_id", "devicegroup_id"),
    "acl_rule": (
        "id",
        "policy_id",
        "device_id",
        "priority",
        "effect",
        "action",
        "topic_filter",
        "literal",
        "networks",
        "enabled",
    ),
}

_TRIGGERS = {"postgresql": postgresql, "sqlite": sqlite}


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _execute(schema_editor, _TRIGGERS[schema_editor.connection.vendor].creating(WATCHED))


def drop(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _execute(schema_editor, _TRIGGERS[schema_editor.connection.vendor].dropping(WATCHED))


def _execute(schema_editor: BaseDatabaseSchemaEditor, statements: Iterator[str]) -> None:
    for statement in statements:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [
        ("exhookadmin", "0001_initial"),
        ("accounts", "0001_initial"),
        ("acl", "0001_initial"),
    ]

    operations = [migrations.RunPython(create, drop)]
