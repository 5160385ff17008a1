"""Which partitions there should be: no gap, no overlap, whatever clock, zone and retention do."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.partitions import (
    AHEAD,
    MOST_BRIDGED,
    Length,
    Partition,
    Span,
    expired,
    floor,
    following,
    length_for,
    missing,
    outgrown,
    span_for,
)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def span(start: str, end: str) -> Span:
    return Span(at(start), at(end))


@pytest.mark.parametrize(
    ("days", "length"),
    [
        (1, Length.DAY),
        (14, Length.DAY),
        (15, Length.WEEK),
        (180, Length.WEEK),
        (181, Length.MONTH),
        (36_500, Length.MONTH),
        pytest.param(0, Length.MONTH, id="for ever"),
    ],
)
def test_the_length_follows_from_the_retention(days: int, length: Length) -> None:
    assert length_for(days) is length


@pytest.mark.parametrize(
    ("moment", "length", "start", "end"),
    [
        pytest.param(at("2026-11-20T13:10"), Length.DAY, "2026-11-20", "2026-11-21", id="a day"),
        pytest.param(at("2026-11-20"), Length.DAY, "2026-11-20", "2026-11-21", id="midnight begins a day"),
        pytest.param(at("2028-02-29T12:00"), Length.DAY, "2028-02-29", "2028-03-01", id="leap day"),
        pytest.param(at("2026-11-20"), Length.WEEK, "2026-11-16", "2026-11-23", id="a week is Monday’s"),
        pytest.param(at("2026-12-31"), Length.WEEK, "2026-12-28", "2027-01-04", id="over the new year"),
        pytest.param(at("2028-02-29"), Length.WEEK, "2028-02-28", "2028-03-06", id="over a leap day"),
        pytest.param(at("2026-01-31T23:59:59.999999"), Length.MONTH, "2026-01-01", "2026-02-01", id="31"),
        pytest.param(at("2026-02-28T23:59"), Length.MONTH, "2026-02-01", "2026-03-01", id="28"),
        pytest.param(at("2028-02-29"), Length.MONTH, "2028-02-01", "2028-03-01", id="29"),
        pytest.param(at("2026-12-01"), Length.MONTH, "2026-12-01", "2027-01-01", id="December"),
        pytest.param(
            at("2026-03-29T02:30", "Europe/Berlin"),
            Length.DAY,
            "2026-03-29",
            "2026-03-30",
            id="spring forward",
        ),
        pytest.param(
            at("2026-10-25T02:30", "Europe/Berlin").replace(fold=1),
            Length.DAY,
            "2026-10-25",
            "2026-10-26",
            id="fall back",
        ),
        pytest.param(
            at("2026-11-01T00:30", "Pacific/Kiritimati"),
            Length.MONTH,
            "2026-10-01",
            "2026-11-01",
            id="+14:00",
        ),
        pytest.param(
            at("2026-10-31T23:30", "Pacific/Niue"), Length.MONTH, "2026-11-01", "2026-12-01", id="-11:00"
        ),
        pytest.param(
            at("2026-11-16T05:00", "Asia/Kathmandu"), Length.WEEK, "2026-11-09", "2026-11-16", id="+05:45"
        ),
    ],
)
def test_periods_begin_and_end_in_utc(moment: datetime, length: Length, start: str, end: str) -> None:
    assert (floor(moment, length), following(moment, length)) == (at(start), at(end))
    assert span_for(moment, [], length) == span(start, end)


def test_a_new_partition_begins_where_another_ends_and_ends_where_another_begins() -> None:
    days = [span("2026-11-16", "2026-11-18"), span("2026-11-20", "2026-11-21")]
    assert span_for(at("2026-11-19"), days, Length.WEEK) == span("2026-11-18", "2026-11-20")
    assert span_for(at("2026-11-22"), days, Length.MONTH) == span("2026-11-21", "2026-12-01")
    assert span_for(at("2026-11-01"), days, Length.MONTH) == span("2026-11-01", "2026-11-16")
    with pytest.raises(ValueError, match="covered already"):
        span_for(at("2026-11-20"), days, Length.DAY)


def test_what_is_missing_at_first() -> None:
    created = missing([], at("2026-11-20T13:10"), Length.WEEK)
    assert [one.start.day for one in created] == [16, 23, 30, 7, 14]
    assert created[-1].end == at("2026-12-21")


def test_a_changed_retention_changes_the_lengths_from_then_on() -> None:
    months = missing([], at("2026-11-20"), Length.MONTH)
    assert months == [span("2026-11-01", "2026-12-01"), span("2026-12-01", "2027-01-01")]
    later = missing(months, at("2026-12-20"), Length.WEEK)
    assert later[0] == span("2027-01-01", "2027-01-04")
    assert later[1] == span("2027-01-04", "2027-01-11")


def test_maintenance_may_rest_for_weeks() -> None:
    """Up to AHEAD nothing is missing; after it, the gap is filled with what the rest would have created."""
    created = missing([], at("2026-01-05"), Length.WEEK)
    assert all(any(at("2026-01-05") + AHEAD * n / 9 in one for one in created) for n in range(10))
    later = missing(created, at("2026-03-18"), Length.WEEK)
    whole = created + later
    assert all(left.end == right.start for left, right in pairwise(whole))
    assert all(one.end - one.start == timedelta(days=7) for one in whole)


def test_a_clock_far_ahead_leaves_an_island_that_does_no_harm() -> None:
    before = missing([], at("2026-11-20"), Length.WEEK)
    island = missing(before, at("2036-11-20"), Length.WEEK)
    assert island[0].start == floor(at("2036-11-20"), Length.WEEK)
    assert len(island) <= 6
    mended = missing(before + island, at("2026-12-18"), Length.WEEK)
    assert mended[0].start == before[-1].end
    assert at("2026-12-18") + AHEAD in mended[-1]


def test_a_clock_that_goes_back_finds_partitions_too() -> None:
    before = missing([], at("2026-11-20"), Length.WEEK)
    created = missing(before, at("2026-11-01"), Length.WEEK)
    assert created[0] == span("2026-10-26", "2026-11-02")
    assert created[-1].end == before[0].start


moments = st.datetimes(
    datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, ZoneInfo("Asia/Kathmandu")])
)
steps = st.timedeltas(timedelta(hours=-40), timedelta(days=120))
lengths = st.sampled_from([length_for(days) for days in (1, 30, 365)])


def well_ordered(existing: list[Span]) -> bool:
    return all(left.end <= right.start for left, right in pairwise(sorted(existing)))


@given(st.lists(st.tuples(moments, lengths), min_size=1, max_size=8))
def test_under_any_clock_now_and_the_time_ahead_are_covered_once(
    runs: list[tuple[datetime, Length]],
) -> None:
    existing: list[Span] = []
    for now, length in runs:
        existing += missing(existing, now, length)
        assert well_ordered(existing)
        for n in range(29):
            moment = now + AHEAD * n / 28
            assert sum(moment in one for one in existing) == 1
        assert missing(existing, now, length) == []


@given(moments, st.lists(st.tuples(steps, lengths), min_size=1, max_size=12))
def test_while_time_goes_on_there_is_no_gap(now: datetime, runs: list[tuple[timedelta, Length]]) -> None:
    """However long maintenance rested, up to what tells of a leap, and whatever was set in between."""
    existing: list[Span] = []
    for step, length in runs:
        rest = max(timedelta(0), min(step, AHEAD + MOST_BRIDGED * timedelta(days=1) - timedelta(days=2)))
        now += rest
        existing += missing(existing, now, length)
        existing.sort()
        assert all(left.end == right.start for left, right in pairwise(existing))


@given(st.lists(st.tuples(moments, lengths), max_size=4), moments, lengths)
def test_any_row_outside_finds_a_place(
    runs: list[tuple[datetime, Length]], moment: datetime, length: Length
) -> None:
    existing: list[Span] = []
    for now, of_run in runs:
        existing += missing(existing, now, of_run)
    if not any(moment in one for one in existing):
        created = span_for(moment, existing, length)
        assert moment in created
        assert well_ordered([*existing, created])


WEEKS = [
    Partition("w1", span("2026-11-02", "2026-11-09")),
    Partition("w2", span("2026-11-09", "2026-11-16")),
    Partition("w3", span("2026-11-16", "2026-11-23")),
]


@pytest.mark.parametrize(
    ("horizon", "dropped"),
    [
        pytest.param(None, "", id="for ever"),
        pytest.param("2026-11-01", "", id="nothing is so old"),
        pytest.param("2026-11-08T23:59:59.999999", "", id="its last moment has not expired"),
        pytest.param("2026-11-09", "w1", id="all of it has"),
        pytest.param("2026-11-20", "w1 w2", id="never one that holds younger rows"),
        pytest.param("2030-01-01", "w1 w2 w3", id="all"),
    ],
)
def test_a_partition_expires_as_a_whole(horizon: str | None, dropped: str) -> None:
    found = expired(reversed(WEEKS), at(horizon) if horizon else None)
    assert " ".join(one.table for one in found) == dropped


@pytest.mark.parametrize(
    ("horizon", "length", "deleted_from"),
    [
        pytest.param("2026-11-12", Length.WEEK, "", id="a week of a retention in weeks waits to be dropped"),
        pytest.param("2026-11-09T12:00", Length.DAY, "", id="less than a day too long"),
        pytest.param("2026-11-12", Length.DAY, "w2", id="a week is too long for a retention in days"),
        pytest.param("2026-11-12", Length.MONTH, "", id="a week is not too long for one in months"),
    ],
)
def test_rows_outlive_their_retention_by_one_length_at_most(
    horizon: str, length: Length, deleted_from: str
) -> None:
    assert " ".join(one.table for one in outgrown(WEEKS, at(horizon), length)) == deleted_from
    assert outgrown(WEEKS, None, length) == []


def test_a_span_has_a_length_and_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="end before it begins"):
        span("2026-11-16", "2026-11-16")
    assert str(span("2026-11-16", "2026-11-16T12:00:05")) == "2026-11-16 to 2026-11-16 12:00:05"
