"""The groups viewer, operator and administrator. exhookadmin/staff/roles.py gives them their permissions, which
Django itself makes only after the last migration."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

ROLES = ("viewer", "operator", "administrator")


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("exhookadmin", "0004_recorded_changes"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    # Kept when going back: people may be in them.
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
