"""The history of changes and the logins of the staff are kept for some time, as the audit log is."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessAttemptExpiration, AccessFailureLog, AccessLog
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from accounts import services
from audit import expiry
from audit.maintenance import maintain
from exhookadmin.staff.models import RecordedChange
from exhookadmin.staff.retention import KEPT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("same_partitions_afterwards"),
]
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def days(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EXHOOK_RETENTION_CHANGES_DAYS = 60
    monkeypatch.setattr(expiry, "BATCH_ROWS", 3)


def change(age: float) -> None:
    RecordedChange.objects.create(time=NOW - age * DAY, name=f"{age}", kind="accounts.device", channel="cli")


def login(model: type[models.Model], age: float) -> Any:
    values: dict[str, Any] = {"username": f"{age}", "user_agent": "", "http_accept": "", "path_info": "/"}
    if model is AccessAttempt:
        values["failures_since_start"] = 5
    row = model._default_manager.create(**values)
    model._default_manager.filter(pk=row.pk).update(attempt_time=NOW - age * DAY)
    return row


def make(model: type[models.Model], *ages: float) -> None:
    for age in ages:
        change(age) if model is RecordedChange else login(model, age)


def left(model: type[models.Model]) -> list[float]:
    name = "name" if model is RecordedChange else "username"
    return sorted(float(text) for text in model._default_manager.values_list(name, flat=True))


def run(**options: bool) -> list[str]:
    said: list[str] = []
    maintain(said.append, now=NOW, **{"trust_clock": True, **options})
    return said


MODELS = [one.older_than(NOW).model for one in KEPT]


def test_all_that_is_kept_of_the_staffs_work_is_meant_here() -> None:
    assert {RecordedChange, AccessLog, AccessAttempt, AccessFailureLog} == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_what_has_expired_goes_and_the_rest_stays(model: type[models.Model]) -> None:
    # The newest row may have been stored first: what is told late, or a failed login that goes on.
    make(model, 1, 61, 62, 0, 63, 59.9, 300, 400, 500, 600, 59)
    [told] = [text for text in run() if "deleted" in text]
    assert left(model) == [0, 1, 59, 59.9]
    assert "deleted 7 from before" in told
    assert not [text for text in run() if "deleted" in text]


def test_zero_keeps_for_ever(settings: Any) -> None:
    settings.EXHOOK_RETENTION_CHANGES_DAYS = 0
    for model in MODELS:
        make(model, 0, 4000)
    assert not [text for text in run() if "deleted" in text]
    assert [left(model) for model in MODELS] == [[0, 4000]] * len(MODELS)


def test_a_dry_run_only_tells() -> None:
    make(RecordedChange, 1, 61, 62)
    make(AccessLog, 61)
    told = [text for text in run(dry_run=True) if "would delete" in text]
    assert [text.partition(" from")[0] for text in told] == [
        "history of changes: would delete 2",
        "logins: would delete 1",
    ]
    assert left(RecordedChange) == [1, 61, 62]


def test_nothing_is_deleted_by_a_clock_that_is_doubted() -> None:
    run()
    make(RecordedChange, 1)
    said: list[str] = []
    outcome = maintain(said.append, now=NOW + 400 * DAY)
    assert outcome.warnings
    assert left(RecordedChange) == [1]


def test_a_failed_login_goes_with_when_it_is_forgiven() -> None:
    attempt = login(AccessAttempt, 100)
    AccessAttemptExpiration.objects.create(access_attempt=attempt, expires_at=NOW - 99 * DAY)
    run()
    assert not AccessAttempt.objects.exists()
    assert not AccessAttemptExpiration.objects.exists()


def test_each_batch_is_a_transaction_of_its_own() -> None:
    make(RecordedChange, *range(100, 110))
    with CaptureQueriesContext(connection) as asked:
        run()
    deletes = [
        one["sql"] for one in asked if one["sql"].startswith('DELETE FROM "exhookadmin_recordedchange"')
    ]
    assert len(deletes) == 4
    assert not RecordedChange.objects.exists()


def test_deleting_the_history_writes_none() -> None:
    services.create_device("pump-17")
    RecordedChange.objects.update(time=NOW - 61 * DAY)
    run()
    assert not RecordedChange.objects.exists()


def test_the_command_tells_it() -> None:
    make(RecordedChange, 61)
    make(AccessLog, 61)
    out = StringIO()
    call_command("audit_maintain", stdout=out, stderr=out, trust_clock=True)
    assert "history of changes: deleted 1 from before" in out.getvalue()
    assert "logins: deleted 1 from before" in out.getvalue()
