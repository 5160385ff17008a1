"""The upkeep of the log as a whole, on both databases: what stays, what goes, and when it is doubted."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit import expiry
from audit import partitions_postgresql as postgresql
from audit.fact import Fact, Kind
from audit.maintenance import Outcome, maintain
from audit.models import Chain, ChainLink, Event, Maintenance, Session
from audit.partitions import AHEAD, Length, length_for
from audit.retention import KindGroup, retention_days
from audit.writer import write_facts
from tests.audit.elsewhere import Elsewhere
from tests.outage import Outage

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("same_partitions_afterwards"),
]
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only it has partitions")

DECISIONS, PRESENCE, ACTIVITY = KindGroup
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def days(settings: Any) -> None:
    settings.EXHOOK_RETENTION_DECISIONS_DAYS = 60
    settings.EXHOOK_RETENTION_PRESENCE_DAYS = 20
    settings.EXHOOK_RETENTION_ACTIVITY_DAYS = 0


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH_ROWS", 3)
    monkeypatch.setattr(postgresql, "BATCH_ROWS", 3)


def write(kind: Kind, *ages: float) -> None:
    """Events that are so many days old."""
    write_facts([Fact(kind, time=(NOW - age * DAY).timestamp()) for age in ages])


def ages(kind: Kind) -> list[float]:
    times = Event.objects.filter(kind=kind).order_by("-time").values_list("time", flat=True)
    return [round((NOW - time) / DAY, 3) for time in times]


def run(now: datetime = NOW, **options: bool) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return maintain(said.append, now=now, **options), said


def trusting(now: datetime = NOW) -> list[str]:
    return run(now, trust_clock=True)[1]


def test_what_has_expired_goes_and_the_rest_stays(small_batches: None) -> None:
    write(Kind.AUTHORIZE, 0, 59, 59.9, 80, 81, 82, 83, 84, 85, 86)
    write(Kind.CONNECTED, 0, 19, 19.9, 28, 29, 59, 300)
    trusting()
    assert ages(Kind.AUTHORIZE) == [0, 59, 59.9]
    assert ages(Kind.CONNECTED) == [0, 19, 19.9]


def test_zero_keeps_for_ever(settings: Any) -> None:
    settings.EXHOOK_RETENTION_DECISIONS_DAYS = 0
    write(Kind.AUTHORIZE, 0, 4000)
    trusting()
    assert ages(Kind.AUTHORIZE) == [0, 4000]


def test_rows_outlive_a_retention_of_days_by_a_day_at_most(settings: Any) -> None:
    """A partition goes when the youngest row it may hold has expired; no row ever goes too early."""
    settings.EXHOOK_RETENTION_PRESENCE_DAYS = 10
    write(Kind.CONNECTED, *(age / 4 for age in range(4 * 16)))
    for hour in range(0, 49, 8):
        now = NOW + hour * HOUR
        trusting(now)
        oldest = max(ages(Kind.CONNECTED)) + hour / 24
        assert 9.75 <= oldest <= 11
        kept = [age for age in ages(Kind.CONNECTED) if age + hour / 24 <= 10]
        assert kept == [age / 4 for age in range(4 * 16) if age / 4 + hour / 24 <= 10]


def test_a_retention_that_was_shortened_takes_effect(settings: Any, small_batches: None) -> None:
    """Also within a partition that was made for a longer one."""
    settings.EXHOOK_RETENTION_PRESENCE_DAYS = 0
    write(Kind.CONNECTED, *range(40))
    trusting()
    assert len(ages(Kind.CONNECTED)) == 40
    settings.EXHOOK_RETENTION_PRESENCE_DAYS = 1
    trusting()
    assert max(ages(Kind.CONNECTED)) <= 2
    assert ages(Kind.CONNECTED)[:2] == [0, 1]


def test_dry_runs_change_nothing_and_tell_everything(small_batches: None) -> None:
    write(Kind.AUTHORIZE, 0, 80, 81, 82, 83)
    write(Kind.CONNECTED, 40)
    outcome, said = run(dry_run=True, trust_clock=True)
    assert len(ages(Kind.AUTHORIZE)) == 5
    assert not Maintenance.objects.exists()
    assert outcome.problems == []
    told = " ".join(said)
    assert "would delete 4 from before" in told
    assert "would delete 1 from before" in told
    run(trust_clock=True)
    assert not [text for text in run(dry_run=True)[1] if "delete" in text]


def session(client_id: str, began: float, ended: float | None) -> None:
    Session.objects.create(
        client_id=client_id,
        connected_at=NOW - began * DAY,
        disconnected_at=None if ended is None else NOW - ended * DAY,
    )


def test_sessions_that_ended_long_ago_go_and_open_ones_stay(small_batches: None) -> None:
    for number in range(4):
        session(f"open{number}", 400 - number, None)
        session(f"over{number}", 300 - number, 30)
    session("long", 200, 19)
    session("short", 20.1, 19.9)
    session("new", 1, None)
    said = trusting()
    kept = set(Session.objects.values_list("client_id", flat=True))
    assert kept == {"open0", "open1", "open2", "open3", "long", "short", "new"}
    assert any(text.startswith("ended sessions: deleted 4") for text in said)


def link(age: int) -> None:
    moment = NOW - age * DAY
    event = Fact(Kind.AUTHORIZE, time=moment.timestamp()).id
    Chain.objects.create(writer="w", day=moment.date(), method="sha256", started_at=moment, count=1)
    ChainLink.objects.create(
        writer="w", day=moment.date(), number=0, event_id=event, event_time=moment, digest="0" * 64
    )


def test_links_of_the_hash_chain_go_when_all_that_they_prove_has(settings: Any) -> None:
    for age in (1, 30, 60, 61, 62, 99):
        link(age)
    trusting()
    assert ChainLink.objects.count() == 6, "activity is kept for ever"
    settings.EXHOOK_RETENTION_ACTIVITY_DAYS = 5
    trusting()
    for of_chains in (Chain, ChainLink):
        days_kept = of_chains.objects.order_by("-day").values_list("day", flat=True)
        assert [(NOW.date() - day).days for day in days_kept] == [1, 30, 60]


# The clock


def test_nothing_is_deleted_while_the_clock_is_doubted() -> None:
    run()
    write(Kind.AUTHORIZE, 0, 50)
    write(Kind.CONNECTED, 0)
    session("over", 9, 8)
    ten_years = NOW + 3652 * DAY
    outcome, _ = run(ten_years)
    [warning] = [text for text in outcome.warnings if "clock" in text and "--trust-clock" in text]
    assert f"{NOW:%Y-%m-%d %H:%M} UTC" in warning
    assert f"{ten_years + 7 * DAY:%Y-%m-%d}" in warning
    assert Event.objects.count() == 3
    assert Session.objects.count() == 1
    assert run(NOW + HOUR)[0].warnings == [], "mended"
    assert Event.objects.count() == 3


def test_the_doubt_ends_by_itself_and_at_a_word() -> None:
    write(Kind.CONNECTED, 0)
    run()
    later = NOW + 40 * DAY
    assert run(later)[0].warnings
    assert run(later + 6 * DAY)[0].warnings
    assert Event.objects.count() == 1
    assert not run(later + 7 * DAY)[0].warnings
    assert Event.objects.count() == 0
    write(Kind.CONNECTED, 0)
    assert run(later + 90 * DAY)[0].warnings
    assert not run(later + 90 * DAY, trust_clock=True)[0].warnings
    assert Event.objects.count() == 0
    assert not run(later + 90 * DAY + HOUR)[0].warnings


def test_at_the_first_run_the_newest_event_is_the_witness() -> None:
    write(Kind.CONNECTED, 300, 301)
    assert run()[0].warnings
    assert Event.objects.count() == 2


# Partitions


@on_postgresql
def test_the_partitions_go_on_without_a_gap_whatever_is_set_and_however_long_nobody_looks(
    settings: Any,
) -> None:
    now = NOW
    for rest, kept in ((0, 180), (40, 9), (7, 400), (100, 30), (1, 0), (45, 1)):
        settings.EXHOOK_RETENTION_DECISIONS_DAYS = kept
        now += rest * DAY
        outcome, _ = run(now, trust_clock=True)
        assert outcome.problems == []
        spans = [one.span for one in postgresql.partitions(DECISIONS)]
        assert all(left.end == right.start for left, right in pairwise(spans))
        assert any(now in span for span in spans)
        assert any(now + AHEAD in span for span in spans)
        horizon = now - kept * DAY
        assert kept == 0 or all(span.end > horizon for span in spans)
    assert length_for(retention_days(DECISIONS)) is Length.DAY


@on_postgresql
def test_after_weeks_without_it_rows_are_moved_to_where_they_belong() -> None:
    trusting()
    later = NOW + 60 * DAY
    write(Kind.AUTHORIZE, *(-day for day in range(0, 60, 2)))
    assert postgresql.count_outside(DECISIONS) > 5
    outcome, said = run(later, trust_clock=True)
    assert outcome == Outcome(outside={"decisions": 0, "presence": 0, "activity": 0})
    assert any("rows" in text for text in said)
    assert len(ages(Kind.AUTHORIZE)) == 30
    assert run(later)[1] == []


@on_postgresql
def test_late_rows_of_before_the_first_partition_are_moved_too(settings: Any) -> None:
    write(Kind.AUTHORIZE, 20, 21, 55)
    outcome, _ = run(trust_clock=True)
    assert outcome.outside["decisions"] == 0
    assert len(ages(Kind.AUTHORIZE)) == 3


@on_postgresql
def test_rows_of_a_clock_far_ahead_are_reported_and_kept() -> None:
    write(Kind.AUTHORIZE, 0, -3650, -3650)
    outcome, _ = run(trust_clock=True)
    assert outcome.outside["decisions"] == 2
    [warning] = outcome.warnings
    assert warning.startswith("decisions: 2 events are outside of all partitions")
    assert "clock" in warning
    assert Maintenance.objects.get().warnings == [warning]
    assert Maintenance.objects.get().outside["decisions"] == 2
    assert Event.objects.count() == 3


@on_postgresql
def test_what_cannot_be_locked_is_a_problem_and_the_rest_is_done(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(trust_clock=True)
    before = Maintenance.objects.get().done_at
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(postgresql, "LOCK_ATTEMPTS", 1)
    later = NOW + 40 * DAY
    with Elsewhere("SELECT count(*) FROM audit_event_decisions"):
        outcome, _ = run(later, trust_clock=True)
    assert [text for text in outcome.problems if "audit_event_decisions" in text]
    assert not [text for text in outcome.problems if "audit_event_presence" in text]
    assert any(later in one.span for one in postgresql.partitions(PRESENCE))
    remembered = Maintenance.objects.get()
    assert remembered.done_at == before
    assert remembered.warnings == outcome.problems + outcome.warnings
    assert run(later)[0].problems == []
    assert any(later in one.span for one in postgresql.partitions(DECISIONS))


# The command


def command(*arguments: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("audit_maintain", *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_the_command_says_what_it_does() -> None:
    command()
    status, out, err = command()
    assert (status, out, err) == (0, "There is nothing to do.\n", "")
    session("over", 40, 39)
    assert "ended sessions: would delete 1 from before" in command("--dry-run")[1]
    assert "ended sessions: deleted 1 from before" in command()[1]
    assert Maintenance.objects.get().done_at is not None


def test_the_command_tells_a_script_that_somebody_should_look() -> None:
    write(Kind.CONNECTED, 300)
    status, _, err = command()
    assert status == 3
    assert "Warning: The database’s clock says" in err
    assert Event.objects.exists()
    assert command("--trust-clock")[0] == 0
    assert not Event.objects.exists()


def test_the_command_fails_in_plain_words(outage: Outage) -> None:
    outage.begin()
    connection.close()
    with pytest.raises(CommandError, match="The database failed"):
        command()
    outage.end()
    assert command()[0] == 0
