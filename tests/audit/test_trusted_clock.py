"""When a clock is believed that says: all this is old."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.trusted_clock import DOUBT, LEAP, LONGEST_REST, ClockRecord, observe

START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def runs(*days: float) -> list[bool]:
    """Whether the clock was trusted at runs so many days after the first."""
    record, trusted = ClockRecord(START, START), []
    for moment in days:
        record = observe(record, START + DAY * moment)
        trusted.append(record.trusted)
    return trusted


def test_a_clock_that_goes_is_trusted() -> None:
    assert all(runs(*(hour / 24 for hour in range(24 * 40))))


@pytest.mark.parametrize(
    ("days", "trusted"),
    [
        pytest.param((3,), [True], id="a long weekend"),
        pytest.param((4, 5, 10.9, 11), [False, False, False, True], id="a rest, doubted for a week"),
        pytest.param((3650, 0.1, 0.2), [False, True, True], id="a leap that is mended"),
        pytest.param((3650, 3651, 3656.9, 3657), [False, False, False, True], id="a leap that stays"),
        pytest.param((3650, 7300, 7301, 7307), [False, False, False, True], id="a second leap starts anew"),
        pytest.param((10, 17, 24, 31), [False, True, False, True], id="who runs it weekly"),
        pytest.param((31, 62, 93), [False, True, False], id="who runs it monthly"),
        pytest.param((-2, 0, 1), [True, True, True], id="a little back"),
        pytest.param(
            (-20_000, 0, 6.9, 7), [True, False, False, True], id="no clock battery: 1970, then right"
        ),
        pytest.param((3650, 3657, 5, 5.1), [False, True, True, True], id="trusted, and mended after all"),
        pytest.param((3650, 3657, 5, 3650), [False, True, True, False], id="mended, and wrong again"),
    ],
)
def test_a_leap_is_doubted(days: tuple[float, ...], trusted: list[bool]) -> None:
    assert runs(*days) == trusted


@given(st.lists(st.timedeltas(timedelta(days=-4000), timedelta(days=4000)), max_size=20), st.booleans())
def test_no_leap_is_believed_at_once_and_every_doubt_ends(leaps: list[timedelta], hourly: bool) -> None:
    record = ClockRecord(START, START)
    for leap in leaps:
        now = record.seen_at + leap
        before, record = record, observe(record, now)
        assert record.seen_at == now
        if record.trusted and before.trusted:
            assert record.trusted_at <= before.trusted_at + LEAP
    trusted = []
    # By the hour; and for who runs it once a month, where every second run is trusted.
    rest, times = (HOUR, DOUBT // HOUR + 1) if hourly else (LONGEST_REST, 2)
    for _ in range(times):
        record = observe(record, record.seen_at + rest)
        trusted.append(record.trusted)
    assert trusted[-1] if hourly else any(trusted)
