"""The events in partitions (on PostgreSQL), and what maintenance remembers."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from audit.migrations import _partitioned_postgresql as postgresql


def partition(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        postgresql.partition(schema_editor)


def unpartition(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        postgresql.unpartition(schema_editor)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0006_presence"),
    ]

    operations = [
        migrations.RunPython(partition, unpartition),
        migrations.CreateModel(
            name="Maintenance",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("done_at", models.DateTimeField(help_text="When it was done last.", null=True)),
                (
                    "warnings",
                    models.JSONField(default=list, help_text="What somebody should look at, as texts."),
                ),
                (
                    "outside",
                    models.JSONField(
                        default=dict,
                        help_text="Events in no partition but the default one, by group of kinds.",
                    ),
                ),
                (
                    "clock_trusted_at",
                    models.DateTimeField(help_text="The latest that the clock was when it was trusted."),
                ),
                ("clock_seen_at", models.DateTimeField()),
                ("clock_doubted_since", models.DateTimeField(null=True)),
            ],
        ),
    ]
