"""The recorder: takes facts without ever waiting, and loses none that it can keep."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from django.db import OperationalError, connection

from audit.fact import Fact, Kind
from audit.models import Event, Session
from audit.recorder import BATCH_FACTS, Recorder
from audit.writer import write_facts
from tests.audit.test_presence import up
from tests.outage import Outage

SECONDS = 20.0
POISON = "\ud800"


def denied(number: int = 0, **more: str) -> Fact:
    return Fact(Kind.AUTHORIZE, client_id=f"pump-{number}", **more)  # type: ignore[arg-type]


def record_many(recorder: Recorder, number: int) -> None:
    for each in range(number):
        recorder.record(denied(each))


def until(happens: Callable[[], bool]) -> bool:
    """True as soon as it does, False when it does not in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def recorder(transactional_db: None) -> Iterator[Recorder]:
    """A running recorder, closed by the test or after it."""
    recorder = Recorder(limit=10_000)
    recorder.start()
    yield recorder
    recorder.close(5)


class Stuck:
    """A database that takes a batch and does not come back until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.written: list[Fact] = []

    def __call__(self, batch: Sequence[Fact]) -> int:
        self.asked.set()
        self.go_on.wait(SECONDS)
        self.written += batch
        return len(batch)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    stuck = Stuck()
    yield stuck
    stuck.go_on.set()


@pytest.mark.django_db(transaction=True)
def test_what_is_recorded_is_written(recorder: Recorder):
    for number in range(BATCH_FACTS * 2 + 7):
        recorder.record(denied(number))
    assert until(lambda: recorder.waiting == 0)
    assert recorder.written == BATCH_FACTS * 2 + 7
    assert Event.objects.count() == BATCH_FACTS * 2 + 7
    assert not recorder.dropped


@pytest.mark.django_db(transaction=True)
def test_facts_are_written_in_the_order_in_which_they_came(recorder: Recorder):
    for number in range(20):
        recorder.record(up(number, number + 1))
    assert until(lambda: recorder.waiting == 0)
    assert [session.port for session in Session.objects.online()] == [20]


def test_record_waits_for_nobody(stuck: Stuck):
    """The thread that writes hangs; those that record do not notice."""
    recorder = Recorder(limit=5_000, write=stuck)
    recorder.start()
    recorder.record(denied())
    assert stuck.asked.wait(SECONDS)
    recording = threading.Thread(target=record_many, args=(recorder, 20_000))
    recording.start()
    recording.join(SECONDS)
    assert not recording.is_alive()
    assert not stuck.go_on.is_set()
    stuck.go_on.set()
    assert recorder.close(SECONDS) == 0


def test_a_full_queue_drops_and_counts_by_kind(stuck: Stuck):
    recorder = Recorder(limit=10, write=stuck)
    kept = [denied(number) for number in range(10)]
    for fact in kept:
        recorder.record(fact)
    for _ in range(3):
        recorder.record(denied())
    for _ in range(2):
        recorder.record(Fact(Kind.CONNECTED, client_id="pump-17"))
    assert recorder.waiting == 10
    assert recorder.dropped == {"client.authorize": 3, "client.connected": 2}
    stuck.go_on.set()
    recorder.start()
    assert recorder.close(SECONDS) == 0
    assert stuck.written == kept
    assert recorder.dropped.total() == 5


def test_none_of_many_threads_facts_is_lost_or_miscounted(stuck: Stuck):
    """Hooks are answered on the event loop and in the bulkheads at once."""
    recorder = Recorder(limit=3_000, write=stuck)
    threads = [threading.Thread(target=record_many, args=(recorder, 1_000)) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)
    assert recorder.waiting + recorder.dropped.total() == 8_000
    assert 3_000 <= recorder.waiting < 3_000 + len(threads)


@pytest.mark.django_db(transaction=True)
def test_an_outage_loses_nothing(recorder: Recorder, outage: Outage, caplog: pytest.LogCaptureFixture):
    recorder.record(denied(1))
    assert until(lambda: recorder.written == 1)
    outage.begin()
    for number in range(50):
        recorder.record(denied(number))
    assert until(lambda: recorder.failures >= 2)
    assert recorder.waiting == 50
    outage.end()
    assert until(lambda: recorder.waiting == 0)
    assert Event.objects.count() == 51
    assert not recorder.dropped
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.django_db(transaction=True)
def test_an_outage_longer_than_the_queue_drops_the_newest(transactional_db: None, outage: Outage):
    recorder = Recorder(limit=20)
    recorder.start()
    outage.begin()
    for number in range(30):
        recorder.record(denied(number))
    assert until(lambda: recorder.failures >= 1)
    assert recorder.dropped == {"client.authorize": 10}
    outage.end()
    assert recorder.close(SECONDS) == 0
    assert set(Event.objects.values_list("client_id", flat=True)) == {
        f"pump-{number}" for number in range(20)
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", [0, 7, BATCH_FACTS - 1], ids=["first", "among others", "last"])
def test_a_poisonous_fact_is_set_aside_and_the_rest_is_written(
    recorder: Recorder, place: int, caplog: pytest.LogCaptureFixture
):
    facts = [denied(number) for number in range(BATCH_FACTS)]
    facts[place] = Fact(Kind.CONNACK, client_id=f"{POISON} of a kind")
    for fact in facts:
        recorder.record(fact)
    assert until(lambda: recorder.waiting == 0)
    assert Event.objects.count() == BATCH_FACTS - 1
    assert recorder.written == BATCH_FACTS - 1
    assert recorder.dropped == {"client.connack": 1}
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.event == str(facts[place].id)  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_many_poisonous_facts_are_each_set_aside(recorder: Recorder):
    for number in range(40):
        recorder.record(denied(number))
        recorder.record(Fact(Kind.AUTHENTICATE, client_id=POISON))
    assert until(lambda: recorder.waiting == 0)
    assert Event.objects.count() == 40
    assert recorder.dropped == {"client.authenticate": 40}


def test_a_poisonous_fact_is_counted_once_even_if_the_database_goes_away_meanwhile():
    calls: list[list[str]] = []

    def write(batch: Sequence[Fact]) -> int:
        calls.append([fact.client_id for fact in batch])
        if any(fact.client_id == POISON for fact in batch):
            raise UnicodeEncodeError("utf-8", POISON, 0, 1, "surrogates not allowed")
        if calls.count(["pump-2", "pump-3"]) == 1 and calls[-1] == ["pump-2", "pump-3"]:
            raise OperationalError("away")
        return len(batch)

    recorder = Recorder(limit=10, write=write)
    for fact in (denied(1), Fact(Kind.AUTHENTICATE, client_id=POISON), denied(2), denied(3)):
        recorder.record(fact)
    recorder.start()
    assert until(lambda: recorder.waiting == 0)
    assert recorder.close(SECONDS) == 0
    assert recorder.dropped == {"client.authenticate": 1}
    assert ["pump-2", "pump-3"] in calls[:-1]


@pytest.mark.django_db(transaction=True)
def test_closing_writes_what_waits(transactional_db: None):
    recorder = Recorder(limit=10_000)
    for number in range(2_500):
        recorder.record(denied(number))
    recorder.start()
    assert recorder.close(SECONDS) == 0
    assert Event.objects.count() == 2_500


@pytest.mark.django_db(transaction=True)
def test_closing_during_an_outage_ends_in_time_and_says_what_is_left(transactional_db: None, outage: Outage):
    recorder = Recorder(limit=10)
    outage.begin()
    recorder.start()
    for number in range(5):
        recorder.record(denied(number))
    started = time.monotonic()
    assert recorder.close(1.0) == 5
    assert time.monotonic() - started < SECONDS
    outage.end()
    assert recorder.close(SECONDS) == 0
    assert Event.objects.count() == 5


def test_closing_what_was_never_started_says_what_is_left():
    recorder = Recorder(limit=10)
    recorder.record(denied())
    assert recorder.close() == 1


@pytest.mark.django_db(transaction=True)
def test_no_line_of_its_log_repeats_what_a_fact_says(
    recorder: Recorder, outage: Outage, caplog: pytest.LogCaptureFixture
):
    outage.begin()
    recorder.record(denied(topic="what/was/said"))
    assert until(lambda: recorder.failures >= 1)
    outage.end()
    assert until(lambda: recorder.waiting == 0)
    assert "what/was/said" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_its_thread_leaves_no_connection_open(transactional_db: None):
    recorder = Recorder(limit=10)
    recorder.start()
    recorder.record(denied())
    assert recorder.close(SECONDS) == 0
    assert not recorder._thread.is_alive()
    assert write_facts([]) == 0
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone() == (0,)
