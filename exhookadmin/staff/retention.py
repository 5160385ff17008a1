"""How long what is kept of the staff's work: the history of changes, and who logged in or failed to."""

from datetime import datetime

from axes.models import AccessAttempt, AccessBase, AccessFailureLog, AccessLog
from django.conf import settings
from django.db.models import QuerySet

from audit.kept_beside import Kept
from exhookadmin.staff.models import RecordedChange


def retention_days() -> int:
    """For how many days; 0 stands for ever."""
    return int(settings.EXHOOK_RETENTION_CHANGES_DAYS)


def _changes(horizon: datetime) -> QuerySet[RecordedChange]:
    return RecordedChange.objects.filter(time__lt=horizon).order_by("time", "pk")


def _of_axes(what: str, model: type[AccessBase]) -> Kept:
    # It has no index by time. What is old was stored first, and there are few logins of people.
    return Kept(
        what,
        retention_days,
        lambda horizon: model._default_manager.filter(attempt_time__lt=horizon).order_by("pk"),
    )


KEPT = (
    Kept("history of changes", retention_days, _changes),
    _of_axes("logins", AccessLog),
    _of_axes("failed logins", AccessAttempt),
    _of_axes("refusals of logins", AccessFailureLog),
)
