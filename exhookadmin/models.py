"""What belongs to no single app."""

from django.db import models

from exhookadmin.api.models import ApiKey, RememberedAnswer
from exhookadmin.console.models import Dismissal, SavedSearch
from exhookadmin.enrolment.models import EnrolmentAttempt, EnrolmentKey
from exhookadmin.fleet.models import ImportRun
from exhookadmin.staff.models import RecordedChange

__all__ = [
    "ApiKey",
    "Dismissal",
    "EnrolmentAttempt",
    "EnrolmentKey",
    "ImportRun",
    "RecordedChange",
    "RememberedAnswer",
    "Revision",
    "SavedSearch",
]


class Revision(models.Model):
    """On SQLite, one row whose numbers move with every change that a decision could depend on.

    ``devices`` stands for devices and what belongs to one, ``policies`` for policies and what is
    attached to groups. Database triggers move them, and make the row, so it does not matter who
    made the change. On PostgreSQL they notify instead, and there is no row.
    """

    devices = models.BigIntegerField(default=0)
    policies = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(name="revision_is_one_row", condition=models.Q(pk=1))]

    def __str__(self) -> str:
        return f"devices {self.devices}, policies {self.policies}"
