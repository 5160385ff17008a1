"""Triggers that move the revision with every change a decision could depend on, whoever makes it."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

WATCHED_TABLES = (
    "accounts_device",
    "accounts_credential",
    "accounts_device_groups",
    "acl_policy",
    "acl_policy_devices",
    "acl_policy_groups",
    "acl_rule",
)
OPERATIONS = ("INSERT", "UPDATE", "DELETE")


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("exhookadmin", "Revision").objects.get_or_create(pk=1)
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE FUNCTION exhookadmin_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "UPDATE exhookadmin_revision SET number = number + 1 WHERE id = 1; RETURN NULL; END $$"
        )
    for table in WATCHED_TABLES:
        for operation in OPERATIONS:
            schema_editor.execute(_trigger(schema_editor.connection.vendor, table, operation))


def _trigger(vendor: str, table: str, operation: str) -> str:
    # When a credential was last used changes no decision.
    what = (
        "UPDATE OF enabled, expires_at, encoded, kind, device_id"
        if (table == "accounts_credential" and operation == "UPDATE")
        else operation
    )
    name = f"changed_{table}_{operation.lower()}"
    if vendor == "postgresql":
        return f"CREATE TRIGGER {name} AFTER {what} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION exhookadmin_changed()"
    return (
        f"CREATE TRIGGER {name} AFTER {what} ON {table} BEGIN "
        "UPDATE exhookadmin_revision SET number = number + 1 WHERE id = 1; END"
    )


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    on = " ON {table}" if schema_editor.connection.vendor == "postgresql" else ""
    for table in WATCHED_TABLES:
        for operation in OPERATIONS:
            schema_editor.execute(
                f"DROP TRIGGER changed_{table}_{operation.lower()}" + on.format(table=table)
            )
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION exhookadmin_changed()")


class Migration(migrations.Migration):
    dependencies = [
        ("exhookadmin", "0001_initial"),
        ("accounts", "0001_initial"),
        ("acl", "0001_initial"),
    ]

    operations = [migrations.RunPython(install, remove)]
