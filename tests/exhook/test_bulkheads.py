"""Bulkheads: who goes first, who is not served any more, and that everybody gets an answer, once."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhookadmin.exhook.bulkheads import SMOOTHING, Bulkhead

SECONDS = 60.0
NEVER = float("inf")
PLUG = "plug"


class Work:
    """What ran and what was shed, in order. A plug that runs holds its thread until it is pulled."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.shed: list[Any] = []
        self.pull = threading.Event()
        self._changed = threading.Condition()

    @property
    def ran(self) -> list[Any]:
        return [item for batch in self.batches for item in batch if item != PLUG]

    def run(self, items: list[Any]) -> None:
        with self._changed:
            self.batches.append(items)
            self._changed.notify_all()
        if PLUG in items:
            assert self.pull.wait(SECONDS)

    def drop(self, item: Any) -> None:
        with self._changed:
            self.shed.append(item)
            self._changed.notify_all()

    def wait(self, until: Callable[["Work"], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: until(self), SECONDS)

    def wait_for(self, answered: int) -> None:
        """Until so many items have run or were shed."""
        self.wait(lambda work: len(work.ran) + len(work.shed) >= answered)


@contextmanager
def bulkhead_of(work: Any, **options: Any) -> Iterator[Bulkhead[Any]]:
    bulkhead: Bulkhead[Any] = Bulkhead(
        "test-bulkhead",
        work.run,
        work.drop,
        **({"threads": 1, "waiting": 1_000, "crowd": 1_000} | options),
    )
    try:
        yield bulkhead
    finally:
        work.pull.set()
        bulkhead.close(SECONDS)


def plugged(bulkhead: Bulkhead[Any], work: Work) -> None:
    """Gives one thread something to do until the plug is pulled."""
    before = len(work.batches)
    bulkhead.submit(PLUG, NEVER)
    work.wait(lambda work: len(work.batches) > before)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.001)


# --- Who goes first ---


@pytest.mark.parametrize(
    ("options", "batches", "shed"),
    [
        ({}, [[1], [2], [3], [4], [5], [6]], []),
        ({"crowd": 6}, [[1], [2], [3], [4], [5], [6]], []),
        ({"crowd": 5}, [[6], [1], [2], [3], [4], [5]], []),
        ({"crowd": 2}, [[6], [5], [4], [3], [1], [2]], []),
        ({"crowd": 0}, [[6], [5], [4], [3], [2], [1]], []),
        ({"batch": 4}, [[1, 2, 3, 4], [5, 6]], []),
        ({"batch": 100}, [[1, 2, 3, 4, 5, 6]], []),
        ({"batch": 3, "crowd": 2}, [[6, 5, 4], [3, 2, 1]], []),
        ({"batch": 3, "crowd": 3}, [[6, 5, 4], [1, 2, 3]], []),
        ({"waiting": 4}, [[3], [4], [5], [6]], [1, 2]),
        ({"waiting": 1}, [[6]], [1, 2, 3, 4, 5]),
        ({"waiting": 4, "crowd": 2}, [[6], [5], [3], [4]], [1, 2]),
    ],
    ids=lambda value: " ".join(f"{key} {value[key]}" for key in value) if isinstance(value, dict) else "",
)
def test_the_oldest_goes_first_in_calm_and_the_newest_in_a_crowd(
    options: dict[str, int], batches: list[list[int]], shed: list[int]
):
    work = Work()
    with bulkhead_of(work, **options) as bulkhead:
        plugged(bulkhead, work)
        for number in range(1, 7):
            bulkhead.submit(number, NEVER)
        # What there is no room for is answered when that is known, not when a thread is free.
        assert work.shed == shed
        assert bulkhead.waiting == 6 - len(shed)
        work.pull.set()
        work.wait_for(6)
        assert work.batches[1:] == batches
        assert (work.shed, bulkhead.shed) == (shed, len(shed))


# --- Deadlines ---


def test_what_is_too_late_is_shed_and_never_begun():
    work = Work()
    with bulkhead_of(work, batch=10) as bulkhead:
        plugged(bulkhead, work)
        now = time.monotonic()
        for name, deadline in [("a", now - 1), ("b", NEVER), ("c", 0.0), ("d", NEVER), ("e", now)]:
            bulkhead.submit(name, deadline)
        work.pull.set()
        work.wait_for(5)
        assert work.batches[1:] == [["b", "d"]]
        assert (work.shed, bulkhead.shed) == (["a", "c", "e"], 3)


class Clock:
    """Monotonic time that passes while work is done, and not otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("exhookadmin.exhook.bulkheads.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


class TimedWork(Work):
    """Each run takes ``seconds`` of the clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def run(self, items: list[Any]) -> None:
        if PLUG not in items:
            self.clock.now += self.seconds
        super().run(items)


def answered(bulkhead: Bulkhead[Any], work: Work, item: Any, deadline: float) -> bool:
    """True when it ran, False when it was shed; the thread is free again."""
    bulkhead.submit(item, deadline)
    until(lambda: item in work.ran or item in work.shed)
    until(lambda: bulkhead.idle)
    return item in work.ran


def test_what_cannot_be_finished_in_time_is_not_begun_until_work_is_quick_again(clock: Clock):
    work = TimedWork(clock, seconds=10.0)
    with bulkhead_of(work) as bulkhead:
        for number in range(40):
            assert answered(bulkhead, work, f"slow {number}", NEVER)
        assert not answered(bulkhead, work, "too soon", clock.now + 9.0)
        assert answered(bulkhead, work, "in good time", clock.now + 11.0)
        work.seconds = 0.0
        ran = [answered(bulkhead, work, f"quick {number}", clock.now + 1.0) for number in range(40)]
        # A wrong estimate gives way: it does not refuse for ever, and then work tells the truth.
        assert ran == sorted(ran)
        assert (ran[0], ran[-1]) == (False, True)


def test_the_backlog_is_what_waits_times_what_it_has_cost(clock: Clock):
    work = TimedWork(clock, seconds=10.0)
    with bulkhead_of(work, batch=2) as bulkhead:
        assert bulkhead.backlog_seconds == 0.0
        assert answered(bulkhead, work, "first", NEVER)
        assert bulkhead.backlog_seconds == 0.0
        plugged(bulkhead, work)
        for number in range(6):
            bulkhead.submit(number, NEVER)
        assert bulkhead.backlog_seconds == pytest.approx(3 * SMOOTHING * 10.0)


def test_more_threads_have_less_of_a_backlog(clock: Clock):
    work = TimedWork(clock, seconds=10.0)
    with bulkhead_of(work, threads=2) as bulkhead:
        bulkhead.submit("first", NEVER)
        until(lambda: work.ran == ["first"] and bulkhead._running == 0)
        plugged(bulkhead, work)
        plugged(bulkhead, work)
        for number in range(6):
            bulkhead.submit(number, NEVER)
        assert bulkhead.backlog_seconds == pytest.approx(3 * SMOOTHING * 10.0)


# --- Threads ---


def test_it_is_idle_while_a_thread_has_nothing_to_do():
    work = Work()
    with bulkhead_of(work, threads=2) as bulkhead:
        assert bulkhead.idle
        plugged(bulkhead, work)
        assert bulkhead.idle
        plugged(bulkhead, work)
        assert not bulkhead.idle
        bulkhead.submit("waits", NEVER)
        work.pull.set()
        until(lambda: bulkhead.idle)


def test_as_many_run_at_once_as_there_are_threads():
    work = Work()
    with bulkhead_of(work, threads=3) as bulkhead:
        for _ in range(3):
            plugged(bulkhead, work)
        bulkhead.submit("fourth", NEVER)
        assert bulkhead.waiting == 1
        assert work.ran == []
        work.pull.set()
        work.wait_for(1)


class FailingWork(Work):
    """Breaks its promise to answer for its own errors."""

    def run(self, items: list[Any]) -> None:
        super().run(items)
        if "bad" in items:
            raise RuntimeError("run")

    def drop(self, item: Any) -> None:
        super().drop(item)
        if item == "bad":
            raise RuntimeError("shed")


def test_an_error_ends_no_thread_and_is_logged(caplog: pytest.LogCaptureFixture):
    work = FailingWork()
    with bulkhead_of(work) as bulkhead:
        for number in range(5):
            bulkhead.submit("bad", NEVER if number % 2 else 0.0)
        bulkhead.submit("good", NEVER)
        work.wait_for(6)
        until(lambda: bulkhead.idle)
    assert work.ran == ["bad", "bad", "good"]
    assert work.shed == ["bad"] * 3
    logged = [record for record in caplog.records if record.message == "work in a bulkhead failed"]
    assert [getattr(record, "bulkhead", None) for record in logged] == ["test-bulkhead"] * 5


def test_an_error_of_the_shed_does_not_reach_who_submits():
    work = FailingWork()
    with bulkhead_of(work, waiting=1) as bulkhead:
        plugged(bulkhead, work)
        bulkhead.submit("bad", NEVER)
        bulkhead.submit("good", NEVER)
        assert work.shed == ["bad"]


class NiceWork(Work):
    """Notes the priority of the thread it is done on."""

    def __init__(self) -> None:
        super().__init__()
        self.priorities: list[int] = []

    def run(self, items: list[Any]) -> None:
        self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        super().run(items)


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")


@linux
@pytest.mark.parametrize("nice", [0, 15])
def test_only_its_own_threads_give_way(nice: int):
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    work = NiceWork()
    with bulkhead_of(work, nice=nice) as bulkhead:
        bulkhead.submit("x", NEVER)
        work.wait_for(1)
    assert work.priorities == [max(mine, nice)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


@linux
def test_a_process_that_gives_way_already_is_not_put_before_others():
    """A thread may not raise its own priority: it would end of the error, and its work with it."""
    work = NiceWork()

    def started_with_nice() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        with bulkhead_of(work, nice=5) as bulkhead:  # New threads inherit.
            bulkhead.submit("x", NEVER)
            work.wait_for(1)

    thread = threading.Thread(target=started_with_nice)
    thread.start()
    thread.join(SECONDS)
    assert (work.ran, work.priorities) == (["x"], [19])


# --- Closing ---


def test_closing_finishes_what_has_begun_and_sheds_what_waits():
    work = Work()
    with bulkhead_of(work) as bulkhead:
        plugged(bulkhead, work)
        for number in range(3):
            bulkhead.submit(number, NEVER)
        closing = threading.Thread(target=bulkhead.close, args=(SECONDS,))
        closing.start()
        work.wait_for(3)
        assert (work.shed, work.ran) == ([0, 1, 2], [])
        assert closing.is_alive()
        work.pull.set()
        closing.join(SECONDS)
        assert not closing.is_alive()
        assert not any(thread.is_alive() for thread in bulkhead._threads)
        assert work.batches == [[PLUG]]


def test_closing_waits_no_longer_than_it_is_told_to():
    work = Work()
    with bulkhead_of(work) as bulkhead:
        plugged(bulkhead, work)
        bulkhead.close(0.0)
        assert any(thread.is_alive() for thread in bulkhead._threads)


def test_what_comes_after_closing_is_shed():
    work = Work()
    with bulkhead_of(work) as bulkhead:
        bulkhead.close(SECONDS)
        bulkhead.submit("late", NEVER)
        assert (work.ran, work.shed, bulkhead.shed) == ([], ["late"], 1)
        bulkhead.close(SECONDS)
        assert work.shed == ["late"]


@given(
    threads=st.integers(1, 4),
    waiting=st.integers(1, 20),
    crowd=st.integers(0, 20),
    batch=st.integers(1, 5),
    late=st.sets(st.integers(0, 199), max_size=50),
    close_after=st.integers(0, 200),
)
def test_every_item_runs_or_is_shed_exactly_once(
    threads: int, waiting: int, crowd: int, batch: int, late: set[int], close_after: int
):
    work = Work()
    with bulkhead_of(work, threads=threads, waiting=waiting, crowd=crowd, batch=batch) as bulkhead:

        def submit(numbers: range) -> None:
            for number in numbers:
                if number == close_after:
                    bulkhead.close(SECONDS)
                bulkhead.submit(number, 0.0 if number in late else NEVER)

        submitters = [threading.Thread(target=submit, args=(range(first, 200, 4),)) for first in range(4)]
        for thread in submitters:
            thread.start()
        for thread in submitters:
            thread.join(SECONDS)
        work.wait_for(200)
        bulkhead.close(SECONDS)
    assert sorted(work.ran + work.shed) == list(range(200))
    assert bulkhead.shed == len(work.shed)
    assert not late & set(work.ran)
    assert all(len(items) <= batch for items in work.batches)
