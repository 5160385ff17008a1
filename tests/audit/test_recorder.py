"""The recorder: takes facts without ever waiting, and loses none that it can keep."""

import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from django.db import OperationalError, ProgrammingError, connection
from msgspec.structs import replace

from audit.codec import encode
from audit.dead_letters import NEWER, DeadLetters
from audit.fact import Fact, Kind
from audit.models import Event, Session, SpoolPosition
from audit.recorder import BATCH_FACTS, LITTLE, SHARE, Recorder
from audit.spool import HEADER, adopt, spools
from audit.spool_reader import Move
from audit.writer import Database, write_facts
from tests.audit.store import Told
from tests.audit.test_presence import down, up
from tests.outage import Outage

THREADS = 8
SECONDS = 60.0
TOO_LARGE = 2**70
"""A rule's id that no database takes."""
PLENTY = 64 * 1024 * 1024


def denied(number: int = 0, **more: str) -> Fact:
    return Fact(Kind.AUTHORIZE, client_id=f"pump-{number}", **more)  # type: ignore[arg-type]


def poison(kind: Kind = Kind.AUTHENTICATE) -> Fact:
    return Fact(kind, client_id="pump-0", rule_id=TOO_LARGE)


def bytes_of(facts: Sequence[Fact]) -> int:
    """What a spool needs for them."""
    return sum(HEADER.size + len(encode(fact)) for fact in facts)


def record_many(recorder: Recorder, number: int) -> None:
    for each in range(number):
        recorder.record(denied(each))


def record_from_many_threads(recorder: Recorder, number: int) -> None:
    """So many each, changing threads as often as can be."""
    threads = [threading.Thread(target=record_many, args=(recorder, number)) for _ in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)


def dead_letters(root: Path) -> list[Fact | None]:
    return [letter.fact for letter in DeadLetters(root)]


def until(happens: Callable[[], bool]) -> bool:
    """True as soon as it does, False when it does not in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if happens():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def recorder(transactional_db: None, tmp_path: Path) -> Iterator[Recorder]:
    """A running recorder, closed by the test or after it."""
    recorder = Recorder(tmp_path, PLENTY)
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


def test_record_waits_for_nobody(stuck: Stuck, tmp_path: Path):
    """The thread that writes hangs; those that record do not notice, also when the spool is full."""
    recorder = Recorder(tmp_path, 1_000_000, store=Told(stuck))
    recorder.start()
    recorder.record(denied())
    assert stuck.asked.wait(SECONDS)
    recording = threading.Thread(target=record_many, args=(recorder, 20_000))
    recording.start()
    recording.join(SECONDS)
    assert not recording.is_alive()
    assert not stuck.go_on.is_set()
    assert recorder.dropped["client.authorize"] > 0
    stuck.go_on.set()
    assert recorder.close(SECONDS) == 0
    assert len(stuck.written) == recorder.taken


def test_a_full_spool_drops_and_counts_by_kind(stuck: Stuck, tmp_path: Path):
    kept = [denied(number) for number in range(10)]
    recorder = Recorder(tmp_path, bytes_of(kept), store=Told(stuck))
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


def test_none_of_many_threads_facts_is_lost_or_miscounted(stuck: Stuck, tmp_path: Path):
    """Hooks are answered on the event loop and in the bulkheads at once."""
    limit = bytes_of([denied(10)]) * 3_000
    recorder = Recorder(tmp_path, limit, store=Told(stuck))
    record_from_many_threads(recorder, 1_000)
    assert recorder.waiting + recorder.dropped.total() == 8_000
    assert 2_500 < recorder.waiting < 3_500
    assert recorder.spool_bytes <= limit + THREADS * bytes_of([denied(1000)])
    stuck.go_on.set()
    recorder.start()
    assert recorder.close(SECONDS) == 0
    assert len({fact.id for fact in stuck.written}) == recorder.taken


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
def test_an_outage_longer_than_the_spool_drops_the_newest(
    transactional_db: None, outage: Outage, tmp_path: Path
):
    facts = [denied(number) for number in range(30)]
    recorder = Recorder(tmp_path, bytes_of(facts[:20]))
    recorder.start()
    outage.begin()
    for fact in facts:
        recorder.record(fact)
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
    recorder: Recorder, place: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    facts = [denied(number) for number in range(BATCH_FACTS)]
    facts[place] = poison()
    for fact in facts:
        recorder.record(fact)
    assert until(lambda: recorder.waiting == 0)
    assert Event.objects.count() == BATCH_FACTS - 1
    assert recorder.written == BATCH_FACTS - 1
    assert recorder.set_aside == 1
    assert not recorder.dropped
    assert dead_letters(tmp_path) == [facts[place]]
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.event == str(facts[place].id)  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_many_poisonous_facts_are_each_set_aside(recorder: Recorder, tmp_path: Path):
    for number in range(40):
        recorder.record(denied(number))
        recorder.record(poison())
    assert until(lambda: recorder.waiting == 0)
    assert Event.objects.count() == 40
    assert recorder.set_aside == 40
    assert len(dead_letters(tmp_path)) == 40
    assert (tmp_path / NEWER).stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db(transaction=True)
def test_what_can_be_neither_written_nor_set_aside_is_dropped_and_counted(recorder: Recorder, tmp_path: Path):
    (tmp_path / NEWER).mkdir()
    recorder.record(poison())
    recorder.record(denied())
    assert until(lambda: recorder.waiting == 0)
    assert recorder.dropped == {"client.authenticate": 1}
    assert recorder.set_aside == 0
    assert Event.objects.count() == 1


def test_a_poisonous_fact_is_counted_once_even_if_the_database_goes_away_meanwhile(tmp_path: Path):
    calls: list[list[str]] = []

    def write(batch: Sequence[Fact]) -> int:
        calls.append([fact.client_id for fact in batch])
        if any(fact.rule_id for fact in batch):
            raise OverflowError
        if calls.count(["pump-2", "pump-3"]) == 1 and calls[-1] == ["pump-2", "pump-3"]:
            raise OperationalError("away")
        return len(batch)

    recorder = Recorder(tmp_path, PLENTY, store=Told(write))
    for fact in (denied(1), poison(), denied(2), denied(3)):
        recorder.record(fact)
    recorder.start()
    assert until(lambda: recorder.waiting == 0)
    assert recorder.close(SECONDS) == 0
    assert recorder.set_aside == 1
    assert len(dead_letters(tmp_path)) == 1
    assert ["pump-2", "pump-3"] in calls[:-1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lost", ["before the commit", "after the commit"])
def test_a_batch_whose_answer_is_lost_is_stored_once(transactional_db: None, tmp_path: Path, lost: str):
    """A connection that breaks during COMMIT tells nobody whether it happened."""

    class Breaking(Database):
        calls = 0

        def write(self, facts: Sequence[Fact], move: Move | None) -> int:
            self.calls += 1
            if self.calls == 2 and lost == "before the commit":
                raise OperationalError("away")
            count = super().write(facts, move)
            if self.calls == 2:
                raise OperationalError("away")
            return count

    store = Breaking()
    recorder = Recorder(tmp_path, PLENTY, store=store)
    recorder.start()
    recorder.record(up(0, 1))
    assert until(lambda: recorder.waiting == 0)
    recorder.record(denied(1))
    recorder.record(down(1, 1))
    assert until(lambda: recorder.waiting == 0)
    recorder.record(denied(2))
    assert until(lambda: recorder.waiting == 0)
    [spool] = spools(tmp_path)
    [stored] = SpoolPosition.objects.all()
    [segment] = spool.glob("*.seg")
    assert (stored.spool, stored.segment, stored.offset) == (spool.name, 0, segment.stat().st_size)
    assert recorder.close(SECONDS) == 0
    assert recorder.written == Event.objects.count() == 4
    assert not SpoolPosition.objects.exists()
    assert not recorder.dropped
    assert recorder.set_aside == 0


@pytest.mark.django_db(transaction=True)
def test_what_a_killed_process_had_stored_is_not_read_again(transactional_db: None, tmp_path: Path):
    gone = Recorder(tmp_path, PLENTY, store=Database())
    facts = [denied(number) for number in range(10)]
    for fact in facts:
        gone.record(fact)
    gone._move(gone._reader)
    for fact in facts:
        gone.record(replace(fact, id=UUID(int=0), client_id="after"))
    # As SIGKILL leaves it: the spool is there, its lock is free.
    gone._spool.close(empty=False)
    read: list[Fact] = []

    class Watched(Database):
        def write(self, facts: Sequence[Fact], move: Move | None) -> int:
            read.extend(facts)
            return super().write(facts, move)

    following = Recorder(tmp_path, PLENTY, store=Watched())
    following.start()
    assert until(lambda: following.adopted == 10 and len(spools(tmp_path)) == 1)
    assert following.close(SECONDS) == 0
    assert {fact.client_id for fact in read} == {"after"}
    assert Event.objects.count() == 20
    assert not SpoolPosition.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_position_passes_what_is_set_aside_or_torn(recorder: Recorder, tmp_path: Path):
    recorder.record(denied())
    recorder.record(poison())
    assert until(lambda: recorder.waiting == 0)
    recorder._spool.append(b"no fact")
    assert until(lambda: recorder.unreadable == 1)
    [segment] = tmp_path.glob("*/*.seg")
    assert until(lambda: SpoolPosition.objects.get().offset == segment.stat().st_size)


def test_a_database_that_is_not_migrated_condemns_no_fact(tmp_path: Path):
    calls: list[int] = []

    def write(batch: Sequence[Fact]) -> int:
        calls.append(len(batch))
        if len(calls) < 3:
            raise ProgrammingError("a column is missing")
        return len(batch)

    recorder = Recorder(tmp_path, PLENTY, store=Told(write))
    recorder.record(denied(1))
    recorder.record(denied(2))
    recorder.start()
    assert until(lambda: recorder.waiting == 0)
    assert recorder.close(SECONDS) == 0
    assert calls == [2, 2, 2]
    assert recorder.set_aside == 0


@pytest.mark.django_db(transaction=True)
def test_closing_writes_what_waits(transactional_db: None, tmp_path: Path):
    recorder = Recorder(tmp_path, PLENTY)
    for number in range(2_500):
        recorder.record(denied(number))
    recorder.start()
    assert recorder.close(SECONDS) == 0
    assert Event.objects.count() == 2_500
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_closing_during_an_outage_ends_in_time_and_the_next_one_writes_what_is_left(
    transactional_db: None, outage: Outage, tmp_path: Path
):
    recorder = Recorder(tmp_path, PLENTY)
    outage.begin()
    recorder.start()
    for number in range(5):
        recorder.record(denied(number))
    started = time.monotonic()
    assert recorder.close(1.0) == 5
    assert time.monotonic() - started < SECONDS
    outage.end()
    following = Recorder(tmp_path, PLENTY)
    following.start()
    assert until(lambda: following.adopted == 5 and len(spools(tmp_path)) == 1)
    assert following.waiting == 0
    assert following.close(SECONDS) == 0
    assert Event.objects.count() == 5
    assert list(tmp_path.iterdir()) == []


def test_closing_what_was_never_started_keeps_what_waits(tmp_path: Path, stuck: Stuck):
    recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
    fact = denied()
    recorder.record(fact)
    assert recorder.close() == 1
    stuck.go_on.set()
    following = Recorder(tmp_path, PLENTY, store=Told(stuck))
    following.start()
    assert until(lambda: following.adopted == 1)
    assert following.close(SECONDS) == 0
    assert stuck.written == [fact]


def test_closing_while_the_database_hangs_ends_in_time_and_keeps_the_spool(stuck: Stuck, tmp_path: Path):
    recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
    recorder.start()
    recorder.record(denied())
    assert stuck.asked.wait(SECONDS)
    assert recorder.close(0.1) == 1
    [directory] = spools(tmp_path)
    assert adopt(directory) is None, "its writer may still finish what it does"
    stuck.go_on.set()


def test_after_closing_facts_are_dropped_and_counted(stuck: Stuck, tmp_path: Path):
    recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
    assert recorder.close() == 0
    recorder.record(denied())
    assert recorder.dropped == {"client.authorize": 1}


def test_siblings_share_what_was_left_behind_and_write_each_fact_once(tmp_path: Path):
    """Four spools, two recorders; what each takes is nobody else's."""
    left = []
    for _ in range(4):
        gone = Recorder(tmp_path, PLENTY)
        for number in range(1_500):
            left.append(denied(number))
            gone.record(left[-1])
        gone.close()
    written: list[Fact] = []

    def write(batch: Sequence[Fact]) -> int:
        written.extend(batch)
        return len(batch)

    siblings = [Recorder(tmp_path, PLENTY, store=Told(write)) for _ in range(2)]
    for sibling in siblings:
        sibling.start()
    assert until(lambda: sum(sibling.adopted for sibling in siblings) == 6_000 and len(spools(tmp_path)) == 2)
    for sibling in siblings:
        sibling.close(SECONDS)
    assert sorted(fact.id for fact in written) == sorted(fact.id for fact in left)
    assert list(tmp_path.iterdir()) == []


def test_its_own_facts_do_not_wait_for_all_that_was_left_behind(tmp_path: Path):
    gone = Recorder(tmp_path, PLENTY)
    record_many(gone, 5_000)
    gone.close()
    batches: list[list[Fact]] = []

    def write(batch: Sequence[Fact]) -> int:
        batches.append(list(batch))
        if len(batches) == 1:
            recorder.record(own)
        return len(batch)

    own = Fact(Kind.CONNECTED, client_id="own")
    recorder = Recorder(tmp_path, PLENTY, store=Told(write))
    recorder.start()
    assert until(lambda: recorder.adopted == 5_000)
    recorder.close(SECONDS)
    assert own in batches[1]


@pytest.mark.parametrize(
    ("comes_in", "limit", "patient"),
    [
        pytest.param(True, PLENTY, True, id="facts come in"),
        pytest.param(False, PLENTY, False, id="none comes in"),
        pytest.param(True, 1_500_000, False, id="facts come in and the spool fills up"),
    ],
)
def test_while_facts_come_in_the_writer_takes_small_batches_and_a_small_share_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_in: bool, limit: int, patient: bool
):
    """Hooks are answered first; the spool waits, as long as it has room."""
    sizes: list[int] = []
    spent: list[float] = []
    pauses: list[float] = []

    def write(batch: Sequence[Fact]) -> int:
        began = time.thread_time()
        while time.thread_time() - began < 0.005:
            pass
        spent.append(time.thread_time() - began)
        sizes.append(len(batch))
        if comes_in and len(sizes) < 4:
            busy.record(denied())
        return len(batch)

    busy = Recorder(tmp_path, limit, store=Told(write))
    monkeypatch.setattr(busy, "_nap", pauses.append)
    record_many(busy, 3 * LITTLE)
    busy.start()
    assert until(lambda: sum(sizes) >= 3 * LITTLE)
    assert busy.close(SECONDS) == 0
    assert sizes[0] == 3 * LITTLE, "before the first batch nobody knows"
    if not patient:
        assert pauses[0] == 0
        return
    assert pauses[0] >= spent[0] * (1 / SHARE - 1)
    assert all(size <= LITTLE for size in sizes[1:])


def test_a_spool_that_cannot_be_read_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "000000000000-0b0b0b0b0b0b" / "000000000000.seg").mkdir(parents=True)
    gone = Recorder(tmp_path, PLENTY)
    record_many(gone, 3)
    gone.close()
    recorder = Recorder(tmp_path, PLENTY, store=Told(len))
    recorder.start()
    assert until(lambda: recorder.adopted == 3)
    recorder.close(SECONDS)
    assert [line.message for line in caplog.records if line.levelno == logging.ERROR] == [
        "a spool that was left behind cannot be read and is left alone"
    ]


def test_a_spool_that_holds_other_things_is_looked_at_once_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("audit.recorder.ORPHAN_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "audit")
    left = tmp_path / "000000000000-0b0b0b0b0b0b"
    left.mkdir()
    (left / "notes.txt").write_text("not ours")
    looked: list[Path] = []

    def counted(root: Path) -> list[Path]:
        looked.append(root)
        return spools(root)

    monkeypatch.setattr("audit.recorder.spools", counted)
    recorder = Recorder(tmp_path, PLENTY, store=Told(len))
    recorder.start()
    recorder.record(denied())
    assert until(lambda: recorder.waiting == 0 and len(looked) > 3)
    recorder.close(SECONDS)
    assert [path.name for path in tmp_path.rglob("*")] == [left.name, "notes.txt"]
    assert len(caplog.records) == 1


def test_a_spool_that_was_adopted_just_when_its_process_removed_it_leaves_nothing(tmp_path: Path):
    """All that is there is the lock file, made anew by whoever adopts."""
    (tmp_path / "000000000000-0b0b0b0b0b0b").mkdir()
    recorder = Recorder(tmp_path, PLENTY, store=Told(len))
    recorder._orphan = recorder._next_orphan()
    assert recorder._orphan is not None
    assert recorder.close() == 0
    assert list(tmp_path.iterdir()) == []


def test_drops_of_many_threads_are_all_counted(tmp_path: Path):
    recorder = Recorder(tmp_path, 0, store=Told(len))
    record_from_many_threads(recorder, 500)
    assert recorder.dropped == {"client.authorize": 4_000}
    recorder.close()


def test_a_piece_that_was_torn_is_counted_and_the_rest_is_written(stuck: Stuck, tmp_path: Path):
    gone = Recorder(tmp_path, PLENTY)
    record_many(gone, 3)
    gone.close()
    [segment] = tmp_path.glob("*/*.seg")
    segment.write_bytes(segment.read_bytes()[:-7])
    stuck.go_on.set()
    recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
    recorder.start()
    assert until(lambda: recorder.adopted == 2 and len(spools(tmp_path)) == 1)
    recorder.close(SECONDS)
    assert recorder.unreadable == 1
    assert [fact.client_id for fact in stuck.written] == ["pump-0", "pump-1"]
    assert list(tmp_path.iterdir()) == []


def test_a_long_wait_leaves_segments_that_are_not_in_memory(
    stuck: Stuck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("audit.recorder.TEND_SECONDS", 0.01)
    monkeypatch.setattr("audit.spool.SEGMENT_BYTES", 10_000)
    recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
    recorder.start()
    recorder.record(denied())
    assert stuck.asked.wait(SECONDS)

    def segments() -> int:
        return len(list(tmp_path.glob("*/*.seg")))

    def recorded_over_several_segments() -> bool:
        record_many(recorder, 100)
        return segments() > 5

    assert until(recorded_over_several_segments)
    stuck.go_on.set()
    assert until(lambda: recorder.waiting == 0)
    assert until(lambda: segments() == 1)
    assert recorder.close(SECONDS) == 0
    assert len(stuck.written) == recorder.taken


def test_ids_stay_unique_and_facts_are_written_when_the_clock_steps_back(
    stuck: Stuck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = itertools.cycle([1_800_000_000.0, 1_700_000_000.0, 1_700_000_000.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    stuck.go_on.set()
    # default_factory has taken the real clock already.
    facts = [Fact(Kind.CONNECTED, time=time.time(), client_id=str(number)) for number in range(3_000)]
    for _ in range(2):
        recorder = Recorder(tmp_path, PLENTY, store=Told(stuck))
        half, facts = facts[:1_500], facts[1_500:]
        for fact in half:
            recorder.record(fact)
        recorder.start()
        assert recorder.close(SECONDS) == 0
    assert len({fact.id for fact in stuck.written}) == 3_000


@pytest.mark.django_db(transaction=True)
def test_each_fact_is_counted_once_when_the_clock_steps_back(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By an hour, and twice, in the middle of a flood; the spools’ names step back with it."""
    now, told = 1_800_000_000.0, 0
    monkeypatch.setattr(time, "time", lambda: now)
    for step in (0.0, -3600.0, 1800.0, -3600.0):
        now += step
        recorder = Recorder(tmp_path, PLENTY)
        recorder.start()
        for _ in range(40):
            now += 0.5
            told += 2
            recorder.record(Fact(Kind.AUTHORIZE, time=now, allowed=False, client_id="pump-17"))
            recorder.record(Fact(Kind.CONNECTED, time=now, client_id="pump-17", port=told))
        assert recorder.close(SECONDS) == 0
    assert sum(1 + repeats for repeats in Event.objects.values_list("repeats", flat=True)) == told
    refused = Event.objects.filter(kind="client.authorize")
    assert refused.count() == 4
    for event in refused:
        assert event.last_time is not None
        assert (event.repeats, (event.last_time - event.time).total_seconds()) == (39, 19.5)


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
def test_its_threads_leave_no_connection_open(transactional_db: None, tmp_path: Path):
    recorder = Recorder(tmp_path, PLENTY)
    recorder.start()
    recorder.record(denied())
    assert recorder.close(SECONDS) == 0
    assert not recorder._writer.is_alive()
    assert not recorder._tender.is_alive()
    assert write_facts([]) == 0
    if connection.vendor == "postgresql":
        # The server takes leave a moment later, and looks after the database with processes of its own.
        assert until(lambda: others_connected() == 0)


def others_connected() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])
