"""Several tables on one axis of time, in pages found by place."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.fact import Kind
from audit.models import Event
from audit.paging import BadCursor, Effort, Listing, place_of
from exhookadmin.console.timeline import Stretch, merge, timeline
from exhookadmin.staff.models import RecordedChange

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    time: datetime
    name: str = ""


def at(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def lane(*seconds: int, stopped: int | None = None) -> Stretch:
    rows = [Row(at(second)) for second in sorted(seconds, reverse=True)]
    return Stretch(rows, None if stopped is None else place_of(at(stopped), 1, older=True))


def shown(lanes: list[Stretch], size: int = 10) -> list[tuple[int, int]]:
    moments, _ = merge(lanes, size)
    return [(int((moment.time - NOON).total_seconds()), moment.lane) for moment in moments]


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        pytest.param([], [], id="no lane"),
        pytest.param([lane(), lane()], [], id="nothing"),
        pytest.param([lane(1, 3), lane(2, 4)], [(4, 1), (3, 0), (2, 1), (1, 0)], id="in turn"),
        pytest.param([lane(2), lane(2)], [(2, 0), (2, 1)], id="at the same instant, the first lane first"),
        pytest.param(
            [lane(1, 5), lane(6, stopped=4)], [(6, 1), (5, 0)], id="what may have something before it waits"
        ),
        pytest.param([lane(6, stopped=4), lane(4)], [(6, 0)], id="at the same instant too"),
        pytest.param([lane(4), lane(6, stopped=4)], [(6, 1), (4, 0)], id="unless its lane comes first"),
        pytest.param([lane(4, stopped=3), lane(6, stopped=5)], [(6, 1)], id="the nearer place counts"),
    ],
)
def test_merging(lanes: list[Stretch], expected: list[tuple[int, int]]) -> None:
    assert shown(lanes) == expected


def test_a_page_is_no_longer_than_asked_for() -> None:
    assert shown([lane(1, 3, 5), lane(2, 4, 6)], size=2) == [(6, 1), (5, 0)]


@given(st.lists(st.lists(st.integers(0, 20)), max_size=4), st.integers(0, 30))
def test_a_merge_is_the_newest_of_everything_in_order(lanes: list[list[int]], size: int) -> None:
    together = sorted((second for seconds in lanes for second in seconds), reverse=True)
    assert [second for second, _ in shown([lane(*seconds) for seconds in lanes], size)] == together[:size]


# --- in pages


def store(events: list[int], changes: list[int]) -> list[Listing[RecordedChange] | Listing[Event]]:
    for number, second in enumerate(events):
        Event.objects.create(
            id=UUID(int=number + 1), time=at(second), kind=Kind.CONNECTED, device="pump", device_id=7
        )
    for second in changes:
        RecordedChange.objects.create(time=at(second), part_of_kind="accounts.device", part_of_id=7)
    return [Listing(RecordedChange.objects.all()), Listing(Event.objects.all(), Event.objects.all())]


EFFORTS = {
    "whole": Effort(),
    # Looks at two rows of the events and gives up: every page ends before it is full.
    "impatient": Effort(rows=2, first=2),
}


@pytest.mark.django_db
@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("effort", EFFORTS.values(), ids=EFFORTS.keys())
def test_pages_show_each_row_once_in_order(size: int, effort: Effort) -> None:
    lanes = store(events=[1, 2, 2, 5, 7, 8, 9], changes=[2, 2, 3, 5, 9, 9, 11])
    seen, before = [], ""
    for _ in range(40):
        page = timeline(lanes, before, size, effort)
        assert len(page.moments) <= size
        seen += [(moment.time, moment.lane, moment.row.pk) for moment in page.moments]
        before = page.older
        if not before:
            break
    assert before == ""
    assert len(seen) == len(set(seen)) == 14
    assert [time for time, _, _ in seen] == sorted((time for time, _, _ in seen), reverse=True)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["x", "~", "2~PDE=", "-1~x", "0~nonsense", "٠~x"])
def test_a_place_of_another_list_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        timeline(store([], []), text)
