"""The supervisor has the audit log maintained, by a real process, and tells what it heard."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from audit.fact import Fact, Kind
from audit.models import Event, Maintenance, Session
from audit.writer import write_facts
from exhookadmin.exhook import maintenance_runs
from exhookadmin.exhook.maintenance_runs import MaintenanceRuns
from exhookadmin.exhook.metrics_totals import Totals
from tests.endpoint import StartEndpoint, child_environment
from tests.exhook.processes import descendants, eventually, get, lives, metric, said

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc")

DAY = timedelta(days=1)
RUNS = "exhook_audit_maintenance_runs_total"
OUTSIDE = "exhook_audit_events_outside_partitions"


@pytest.fixture
def environment(same_partitions_afterwards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts work on the test database."""
    for name, value in child_environment(tmp_path).items():
        monkeypatch.setenv(name, value)


def value(totals: Totals, name: str, **labels: str) -> float | None:
    for family in totals.collect():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def ended(runs: MaintenanceRuns, totals: Totals) -> bool:
    runs.tick()
    return any(value(totals, RUNS, result=one) for one in ("done", "incomplete", "busy", "failed"))


def run_once(*command: str) -> tuple[MaintenanceRuns, Totals]:
    totals = Totals()
    runs = MaintenanceRuns(totals, 0.0, command) if command else MaintenanceRuns(totals, 0.0)
    try:
        eventually(lambda: ended(runs, totals))
    finally:
        runs.stop()
    return runs, totals


@pytest.mark.usefixtures("environment")
def test_a_run_does_its_work_and_is_counted() -> None:
    now = datetime.now(UTC)
    Session.objects.create(client_id="a", connected_at=now - 400 * DAY, disconnected_at=now - 399 * DAY)
    runs, totals = run_once()
    assert not Session.objects.exists()
    assert value(totals, RUNS, result="done") == 1
    assert value(totals, RUNS, result="failed") == 0
    done_at = Maintenance.objects.get().done_at
    assert done_at is not None
    assert value(totals, "exhook_audit_maintenance_success_timestamp_seconds") == done_at.timestamp()
    assert not runs.warnings
    if connection.vendor == "postgresql":
        assert value(totals, OUTSIDE, group="decisions") == 0


@pytest.mark.usefixtures("environment")
def test_what_it_warns_of_is_heard() -> None:
    write_facts([Fact(Kind.AUTHORIZE, time=(datetime.now(UTC) - 300 * DAY).timestamp())])
    runs, totals = run_once()
    assert value(totals, RUNS, result="done") == 1
    [warning] = runs.warnings
    assert "clock" in warning
    assert Event.objects.count() == 1


@pytest.mark.usefixtures("environment")
def test_a_database_that_is_away_is_a_failure_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://nobody:x@127.0.0.1:1/none")
    runs, totals = run_once()
    assert value(totals, RUNS, result="failed") == 1
    [warning] = runs.warnings
    assert warning == "The audit log could not be maintained; the log says why. Last success: never."


def report(**values: Any) -> str:
    known = {"result": "done", "done_at": None, "warnings": [], "outside": {}} | values
    return f"print({json.dumps(json.dumps(known))})"


@pytest.mark.parametrize(
    ("program", "result"),
    [
        pytest.param(report(), "done", id="a report"),
        pytest.param(report(result="busy", outside={"presence": 7}), "busy", id="another process did it"),
        pytest.param(report(result="incomplete"), "incomplete", id="not all could be done"),
        pytest.param(report(result="odd"), "failed", id="an unknown result"),
        pytest.param(report(warnings=3), "failed", id="no list"),
        pytest.param("print('[]')", "failed", id="another shape"),
        pytest.param("print('what?')", "failed", id="no JSON"),
        pytest.param("", "failed", id="nothing"),
        pytest.param(report() + "; raise SystemExit(1)", "failed", id="a bad end"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "failed", id="killed"),
    ],
)
def test_whatever_the_process_says_is_counted_as_one_result(program: str, result: str) -> None:
    runs, totals = run_once(sys.executable, "-c", program)
    counted = {one: value(totals, RUNS, result=one) for one in ("done", "incomplete", "busy", "failed")}
    assert counted == dict.fromkeys(counted, 0) | {result: 1}
    assert bool(runs.warnings) is (result == "failed")
    if "presence" in program:
        assert value(totals, OUTSIDE, group="presence") == 7


def test_runs_follow_each_other_and_what_is_known_stays_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance_runs, "EVERY_SECONDS", 0.01)
    known = report(done_at=1_800_000_000.0, warnings=["Look here."])
    program = f"open({str(tmp_path / 'ran')!r}, 'x'); {known}"
    totals = Totals()
    runs = MaintenanceRuns(totals, 0.0, (sys.executable, "-c", program))
    eventually(lambda: ended(runs, totals))
    assert list(runs.warnings) == ["Look here."]

    def failed() -> bool:
        runs.tick()
        return value(totals, RUNS, result="failed") == 1

    eventually(failed)
    assert list(runs.warnings) == [
        "The audit log could not be maintained; the log says why. Last success: 2027-01-15 08:00 UTC.",
        "Look here.",
    ]
    assert value(totals, "exhook_audit_maintenance_success_timestamp_seconds") == 1_800_000_000.0
    assert value(totals, RUNS, result="done") == 1


def test_stopping_ends_a_run_in_its_midst() -> None:
    totals = Totals()
    runs = MaintenanceRuns(totals, 0.0, (sys.executable, "-c", "import time; time.sleep(600)"))
    runs.tick()
    before = {pid for pid in descendants(os.getpid()) if lives(pid)}
    runs.stop()
    after = {pid for pid in descendants(os.getpid()) if lives(pid)}
    assert len(before - after) == 1
    assert value(totals, RUNS, result="failed") == 0
    runs.stop()


def test_run_exhook_maintains_the_log(start_endpoint: StartEndpoint) -> None:
    now = datetime.now(UTC)
    write_facts([Fact(Kind.AUTHORIZE, time=(now - 300 * DAY).timestamp())])
    Session.objects.create(client_id="a", connected_at=now, disconnected_at=None)
    with start_endpoint() as endpoint:
        eventually(lambda: metric(endpoint, RUNS, result="done") == 1)
        status, body = get(endpoint, "/readyz")
        assert status == 200
        assert "--trust-clock" in body
        eventually(lambda: said(endpoint, Maintenance.objects.get().warnings[0]))
    assert Event.objects.filter(kind=Kind.AUTHORIZE).count() == 1
