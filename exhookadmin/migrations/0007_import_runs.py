from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exhookadmin", "0006_enrolment"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=64)),
                ("format", models.CharField(max_length=40)),
                ("file_name", models.CharField(max_length=255)),
                ("records", models.BigIntegerField(default=0)),
                ("outcomes", models.JSONField(default=dict)),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at", None)),
                        fields=("key",),
                        name="import_run_is_unfinished_once",
                    )
                ],
            },
        ),
    ]
