"""Imports, as far as they have come."""

from django.db import models
from django.db.models import Q


class ImportRun(models.Model):
    """One import of one file with one set of options, which after an interruption goes on where it was.

    ``key`` is a digest of these. ``records`` is how many records are in the database: it is written in the
    transaction that stores them, so it is right whenever the process is killed.
    """

    key = models.CharField(max_length=64)
    format = models.CharField(max_length=40)
    file_name = models.CharField(max_length=255)
    records = models.BigIntegerField(default=0)
    outcomes = models.JSONField(default=dict)
    started_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="import_run_is_unfinished_once", fields=["key"], condition=Q(finished_at=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.format} from {self.file_name}"
