"""Paging by place: every row once, in order, in both directions, and never more work than was allowed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audit.models import Event, Session
from audit.paging import BadCursor, Cursor, Effort, Listing, Page, page, read_cursor, walk
from tests.audit.events import at, event, store

LITTLE = Effort(seconds=0, first=3)
"""One slice of three rows a page."""


def everything() -> Listing[Event]:
    return Listing(Event.objects.all())


def of_device(name: str) -> Listing[Event]:
    return Listing(Event.objects.filter(device=name), Event.objects.all())


def pages(listing: Listing[Event], size: int, effort: Effort, start: str = "") -> Iterator[Page[Event]]:
    """From the newest page, or from the cursor, to the last one in that direction."""
    cursor = read_cursor(start) if start else None
    while True:
        shown = page(listing, cursor, size, effort)
        yield shown
        onward = shown.older if cursor is None or cursor.older else shown.newer
        if not onward:
            return
        cursor = read_cursor(onward)


class TestEveryWalkThroughAList(TestCase):
    @given(
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab")), max_size=14),
        st.integers(1, 5),
        st.booleans(),
        st.integers(1, 6),
    )
    def test_shows_every_row_once_newest_first_and_the_same_on_the_way_back(self, rows, size, scan, first):
        store(*(event(second, device=name) for second, name in rows))
        listing = of_device("a") if scan else everything()
        expected = list(listing.matching.order_by("-time", "-id"))
        effort = Effort(seconds=0, first=first)
        there = list(pages(listing, size, effort))
        assert [row for shown in there for row in shown.rows] == expected
        assert all(len(shown.rows) <= size for shown in there)
        if len(there) > 1:
            back = list(pages(listing, size, effort, there[-1].newer))
            seen = [row for shown in reversed(back) for row in shown.rows] + there[-1].rows
            assert seen == expected

    @given(st.lists(st.integers(0, 3), max_size=10), st.integers(1, 4))
    def test_what_is_stored_in_between_moves_no_row_to_another_page(self, seconds, size):
        store(*(event(second) for second in seconds))
        before = list(Event.objects.order_by("-time", "-id"))
        seen = []
        for number, shown in enumerate(pages(everything(), size, LITTLE)):
            seen += shown.rows
            store(event(60 + number))
        assert seen == before


@pytest.mark.django_db
def test_pages_that_are_not_full_say_how_far_they_looked_and_go_on_from_there():
    store(*(event(second, device="rare" if second == 1 else "other") for second in range(8)))
    first, second, third = pages(of_device("rare"), 10, LITTLE)
    assert (first.rows, first.searched_to) == ([], at(5))
    assert (second.rows, second.searched_to) == ([], at(2))
    assert ([row.time for row in third.rows], third.searched_to, third.older) == ([at(1)], None, "")


@pytest.mark.django_db
def test_a_first_page_knows_nothing_newer_and_the_last_nothing_older():
    store(event(0), event(1))
    assert page(everything(), None, 2) == Page(list(Event.objects.order_by("-time")))
    assert page(everything(), None, 1).newer == ""


@pytest.mark.django_db
def test_a_list_is_followed_from_its_newest_row_on():
    (known,) = store(event(0))
    cursor = everything().place(known, older=False)
    assert page(everything(), cursor).rows == []
    one, two = store(event(0), event(5))
    assert page(everything(), cursor).rows[0] == two
    assert (one in page(everything(), cursor).rows) is (one.id > known.id)


@pytest.mark.django_db
def test_an_empty_page_leads_back_to_the_row_it_was_reached_from():
    (row,) = store(event(0))
    for older in (True, False):
        empty = page(everything(), everything().place(row, older))
        assert empty.rows == []
        assert page(everything(), read_cursor(empty.newer if older else empty.older)).rows == [row]


def looked_back_to(effort: Effort) -> datetime | None:
    stopped = walk(of_device("none"), 1, effort=effort).stopped
    return stopped.time if stopped else None


@pytest.mark.django_db
def test_slices_grow_while_they_are_quick_and_end_with_the_time_and_the_rows_allowed():
    store(*(event(second) for second in range(200)))
    ticks = iter(range(1000))
    slow = Effort(seconds=3, first=2, clock=lambda: float(next(ticks)))
    assert looked_back_to(slow) == at(200 - 2 * 2)
    quick = Effort(seconds=1, rows=100, first=2, largest=16, clock=lambda: 0.0)
    # 2 + 8 + 16 + 16 … until a hundred were looked at
    assert looked_back_to(quick) == at(200 - (2 + 8 + 16 * 6))


@pytest.mark.django_db
def test_a_page_counts_nothing_and_skips_nothing_it_has_not_looked_at():
    store(*(event(second, device="pump") for second in range(60)))
    deep = read_cursor(page(everything(), None, 50).older)
    with CaptureQueriesContext(connection) as captured:
        page(everything(), None, 5)
        page(everything(), deep, 5)
    assert len(captured) == 2
    for query in captured.captured_queries:
        assert "COUNT(" not in query["sql"]
        assert "OFFSET" not in query["sql"]


@pytest.mark.django_db
def test_sessions_are_paged_by_when_they_began():
    Session.objects.bulk_create(
        Session(client_id=f"c{number}", cluster=str(number), connected_at=at(number // 2))
        for number in range(5)
    )
    listing = Listing(Session.objects.all(), time_field="connected_at")
    first = page(listing, None, 3)
    second = page(listing, read_cursor(first.older), 3)
    assert [row.client_id for row in (*first.rows, *second.rows)] == ["c4", "c3", "c2", "c1", "c0"]
    assert page(listing, read_cursor(second.newer), 3).rows == first.rows


def test_a_cursor_is_read_as_it_was_written():
    cursor = Cursor(True, at(0.123456), "0193a0b4c7d07abc8def0123456789ab")
    assert read_cursor(str(cursor)) == cursor
    early = Cursor(False, at(0) - timedelta(days=365 * 100), "17")
    assert read_cursor(str(early)) == early


@pytest.mark.parametrize(
    "text",
    ["x", "2", "ü", "PDE", str(Cursor(True, at(0), "g")), str(Cursor(True, at(0), "'; --")), "=" * 9, "PA=="],
)
def test_what_is_no_cursor_is_refused_with_what_to_do(text):
    with pytest.raises(BadCursor, match=r"cursor: .* leave it out to begin anew"):
        read_cursor(text)


@pytest.mark.django_db
def test_the_cursor_of_another_list_is_refused():
    sessions = Listing(Session.objects.all(), time_field="connected_at")
    with pytest.raises(BadCursor, match="another list"):
        page(everything(), Cursor(True, at(0), "17"))
    with pytest.raises(BadCursor, match="another list"):
        page(sessions, everything().place(event(0), older=True))
