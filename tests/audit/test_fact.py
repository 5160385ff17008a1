"""A fact: when, who, what; its identity, and what a database can hold of it."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.fact import NAME_CHARACTERS, TEXT_CHARACTERS, Fact, Kind, bounded, new_event_id
from audit.models import KINDS, Event
from exhookadmin.exhook.hooks import Hook

seconds = st.floats(min_value=0, max_value=2**47 / 1000, allow_nan=False)


@given(now=seconds)
def test_an_event_id_is_a_uuid_of_version_7(now: float):
    made = new_event_id(now)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == int(now * 1000)


@given(earlier=seconds, later=seconds)
def test_event_ids_sort_by_time(earlier: float, later: float):
    if int(earlier * 1000) < int(later * 1000):
        assert new_event_id(earlier) < new_event_id(later)


def test_event_ids_of_one_moment_differ():
    assert len({new_event_id(1_800_000_000.0) for _ in range(10_000)}) == 10_000


def test_a_fact_is_of_now_and_has_an_id():
    before = time.time()
    one, two = Fact(Kind.CONNECTED), Fact(Kind.CONNECTED)
    assert before <= one.time <= two.time <= time.time()
    assert one.id != two.id
    assert one.id.version == 7


def test_an_id_that_was_given_is_kept():
    given_id = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert Fact(Kind.CONNECTED, id=given_id).id == given_id


def test_at_is_aware_and_in_utc():
    assert Fact(Kind.CONNECTED, time=0.5).at == datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


def test_a_fact_never_changes():
    with pytest.raises(AttributeError):
        setattr(Fact(Kind.CONNECTED), "client_id", "other")  # noqa: B010


def test_each_kind_has_words_for_people():
    assert [value for value, _ in KINDS] == [kind.value for kind in Kind]
    assert len({words for _, words in KINDS}) == len(KINDS)


def test_every_hook_can_be_a_fact():
    assert {kind.value for kind in Kind} == {hook.value for hook in Hook} | {"endpoint.back"}


@pytest.mark.parametrize(
    ("kind", "allowed", "title"),
    [
        (Kind.AUTHENTICATE, False, "login refused"),
        (Kind.AUTHENTICATE, True, "login allowed"),
        (Kind.AUTHORIZE, False, "access denied"),
        (Kind.AUTHORIZE, True, "access allowed"),
        (Kind.CONNACK, False, "connection refused"),
        (Kind.SESSION_TAKENOVER, None, "session taken over"),
    ],
)
def test_an_event_says_how_it_was_decided(kind: Kind, allowed: bool | None, title: str):
    event = Event(kind=kind.value, allowed=allowed, device="pump-17")
    assert (event.title, str(event)) == (title, f"{title} pump-17")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("pump-17", "pump-17"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("a\x00b", "a\ufffdb"),
        ("\x00" * 11, "\ufffd" * 9 + "…"),
        ("😀" * 11, "😀" * 9 + "…"),
    ],
)
def test_bounded(text: str, kept: str):
    assert bounded(text, 10) == kept


@given(st.text(max_size=3000))
def test_bounded_is_bounded_and_bounds_once(text: str):
    kept = bounded(text)
    assert len(kept) <= NAME_CHARACTERS
    assert "\x00" not in kept
    assert bounded(kept) == kept


LONG = "x" * 70_000


@pytest.mark.parametrize(
    ("field", "characters"),
    [
        ("client_id", NAME_CHARACTERS),
        ("username", NAME_CHARACTERS),
        ("cn", NAME_CHARACTERS),
        ("node", NAME_CHARACTERS),
        ("cluster", NAME_CHARACTERS),
        ("topic", TEXT_CHARACTERS),
        ("rule", TEXT_CHARACTERS),
        ("detail", TEXT_CHARACTERS),
    ],
)
def test_a_waiting_fact_takes_no_more_room_than_its_row(field: str, characters: int):
    """A hundred thousand facts may wait for the database; a stranger chooses what they say."""
    long: dict[str, Any] = {field: LONG}
    assert len(getattr(Fact(Kind.AUTHORIZE, **long), field)) == characters
    with_nul: dict[str, Any] = {field: "a\x00b"}
    assert getattr(Fact(Kind.AUTHORIZE, **with_nul), field) == "a\ufffdb"
