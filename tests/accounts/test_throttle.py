"""Throttling of failed logins: exact token buckets in bounded memory."""

import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.throttle import Limit, Throttle

KEY = ("pump-17", "192.0.2.7")
OTHER = ("pump-17", "192.0.2.8")


def fail(throttle: Throttle, times: int, now: float = 0.0, key: tuple[str, str] = KEY) -> None:
    for _ in range(times):
        throttle.failed(key, now)


@pytest.mark.parametrize("burst", [1, 2, 10])
def test_a_burst_of_failures_is_heard_and_the_next_is_not(burst: int):
    throttle = Throttle(Limit(burst, 60.0), 100)
    for _ in range(burst):
        assert not throttle.blocks(KEY, 0.0)
        throttle.failed(KEY, 0.0)
    assert throttle.blocks(KEY, 0.0)


@pytest.mark.parametrize(
    ("after", "heard"),
    [(0.0, 0), (59.0, 0), (60.0, 1), (119.0, 1), (120.0, 2), (180.0, 3), (100_000.0, 3)],
    ids=lambda value: str(value),
)
def test_one_failure_is_forgiven_at_a_time_and_never_more_than_the_burst(after: float, heard: int):
    throttle = Throttle(Limit(3, 60.0), 100)
    fail(throttle, 3)
    heard_now = 0
    while not throttle.blocks(KEY, after):
        throttle.failed(KEY, after)
        heard_now += 1
    assert heard_now == heard


def test_a_failure_every_so_often_is_never_blocked():
    throttle = Throttle(Limit(1, 60.0), 100)
    for number in range(100):
        assert not throttle.blocks(KEY, number * 60.0)
        throttle.failed(KEY, number * 60.0)


def test_a_success_forgives_everything_at_once():
    throttle = Throttle(Limit(3, 60.0), 100)
    fail(throttle, 3)
    throttle.succeeded(KEY)
    assert not throttle.blocks(KEY, 0.0)
    assert len(throttle) == 0
    fail(throttle, 2)
    assert not throttle.blocks(KEY, 0.0)
    fail(throttle, 1)
    assert throttle.blocks(KEY, 0.0)


def test_a_success_of_somebody_who_never_failed_changes_nothing():
    throttle = Throttle(Limit(1, 60.0), 100)
    fail(throttle, 1)
    throttle.succeeded(OTHER)
    assert throttle.blocks(KEY, 0.0)


def test_keys_do_not_touch_each_other():
    throttle = Throttle(Limit(1, 60.0), 100)
    fail(throttle, 1)
    assert throttle.blocks(KEY, 0.0)
    assert not throttle.blocks(OTHER, 0.0)


def test_a_burst_of_zero_is_no_limit_and_keeps_nothing():
    throttle = Throttle(Limit(0, 60.0), 100)
    fail(throttle, 1000)
    assert not throttle.blocks(KEY, 0.0)
    assert len(throttle) == 0


@pytest.mark.parametrize("back", [0.001, 59.0, 1_000_000.0])
def test_a_clock_that_goes_backwards_forgives_nothing_and_breaks_nothing(back: float):
    throttle = Throttle(Limit(2, 60.0), 100)
    fail(throttle, 2, now=2_000_000.0)
    assert throttle.blocks(KEY, 2_000_000.0 - back)
    throttle.failed(KEY, 2_000_000.0 - back)
    # From then on the clock as it is now counts.
    assert throttle.blocks(KEY, 2_000_000.0 - back + 59.0)
    assert not throttle.blocks(KEY, 2_000_000.0 - back + 60.0)


def test_failures_while_it_is_blocked_do_not_add_up():
    throttle = Throttle(Limit(3, 60.0), 100)
    fail(throttle, 500)
    assert throttle.blocks(KEY, 59.0)
    assert not throttle.blocks(KEY, 60.0)


# --- Bounds ---


def test_the_key_that_failed_longest_ago_makes_room():
    throttle = Throttle(Limit(1, 60.0), 3)
    for at, name in enumerate(["first", "second", "third"]):
        throttle.failed(name, float(at))
    throttle.failed("first", 3.0)
    throttle.failed("fourth", 4.0)
    assert [name for name in ("first", "second", "third", "fourth") if throttle.blocks(name, 4.0)] == [
        "first",
        "third",
        "fourth",
    ]
    assert len(throttle) == 3


def test_a_million_identities_take_the_room_of_the_capacity():
    throttle = Throttle(Limit(10, 60.0), 1_000)
    most = 0
    for number in range(1_000_000):
        throttle.failed(number, number * 0.000_001)
        most = max(most, len(throttle))
    assert most == 1_000


def test_what_is_forgiven_is_dropped_as_others_fail():
    throttle = Throttle(Limit(10, 1.0), 1_000_000)
    for number in range(10_000):
        throttle.failed(number, number * 0.1)
        # Ten fail while one is forgiven.
        assert len(throttle) <= 11


# --- Exactness, against the definition ---


class Bucket:
    """The definition in exact fractions: ``burst`` tokens, a failure takes one, time gives them back."""

    def __init__(self, burst: int, seconds_each: Fraction) -> None:
        self.burst, self.seconds_each = burst, seconds_each
        self.tokens, self.at = Fraction(burst), Fraction(0)

    def blocks(self, now: Fraction) -> bool:
        return self._tokens(now) < 1

    def failed(self, now: Fraction) -> None:
        self.tokens, self.at = max(Fraction(0), self._tokens(now) - 1), now

    def succeeded(self, now: Fraction) -> None:
        self.tokens, self.at = Fraction(self.burst), now

    def _tokens(self, now: Fraction) -> Fraction:
        return min(Fraction(self.burst), self.tokens + (now - self.at) / self.seconds_each)


# In eighths of a second, with a power of two for a token: floats then compute what fractions do.
events = st.lists(
    st.tuples(st.sampled_from(["try", "fail", "succeed"]), st.integers(0, 2), st.integers(0, 40)),
    max_size=80,
)


@given(st.integers(1, 4), st.sampled_from([1, 2, 4]), events)
def test_it_blocks_exactly_when_the_definition_does(
    burst: int, seconds_each: int, happened: list[tuple[str, int, int]]
):
    throttle = Throttle(Limit(burst, float(seconds_each)), 100)
    buckets = [Bucket(burst, Fraction(seconds_each)) for _ in range(3)]
    now = Fraction(0)
    for what, key, eighths in happened:
        now += Fraction(eighths, 8)
        for each, bucket in enumerate(buckets):
            assert throttle.blocks(each, float(now)) == bucket.blocks(now)
        if what == "succeed":
            throttle.succeeded(key)
            buckets[key].succeeded(now)
        elif what == "fail" or not buckets[key].blocks(now):
            throttle.failed(key, float(now))
            buckets[key].failed(now)
    assert len(throttle) <= 3


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60))
def test_it_never_holds_more_than_its_capacity(capacity: int, happened: list[tuple[int, bool]]):
    throttle = Throttle(Limit(2, 60.0), capacity)
    latest: list[int] = []
    for now, (key, failed) in enumerate(happened):
        latest = [other for other in latest if other != key]
        if failed:
            throttle.failed(key, now * 0.001)
            latest = [*latest, key][-capacity:]
        else:
            throttle.succeeded(key)
        assert len(throttle) == len(latest)


def test_threads_that_fail_at_once_are_all_counted():
    throttle = Throttle(Limit(1_000, 60.0), 100)
    start = threading.Barrier(8)

    def failing() -> None:
        start.wait()
        fail(throttle, 125)

    threads = [threading.Thread(target=failing) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert throttle.blocks(KEY, 0.0)
    # Nor was one counted twice: a single refill makes room for a single failure.
    assert not throttle.blocks(KEY, 60.0)
