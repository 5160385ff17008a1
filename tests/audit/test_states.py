"""Online, offline, unknown or never seen: since when, and why."""

from datetime import UTC, datetime
from typing import Any

import pytest

from audit.fact import Fact
from audit.models import Session
from audit.presence import ENDPOINT_AWAY, GAP_SECONDS
from audit.states import (
    Standing,
    presence_of_client,
    presence_of_device,
    presence_of_devices,
)
from audit.writer import write_facts
from tests.audit.test_presence import START, back, down, up

pytestmark = pytest.mark.django_db


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def of(device: int, fact: Fact, client_id: str = "") -> Fact:
    return Fact(
        fact.kind,
        time=fact.time,
        device_id=device,
        client_id=client_id or f"device-{device}",
        node=fact.node,
        cluster=fact.cluster,
        address=fact.address,
        port=fact.port,
        detail=fact.detail,
    )


CASES: dict[str, tuple[list[Fact], datetime | None, tuple[str, datetime | None, str]]] = {
    "nothing was ever heard of it": ([], None, ("never seen", None, "")),
    "seen, but its sessions were deleted by age": ([], at(5), ("offline", at(5), "")),
    "connected": ([of(7, up(0, 1))], None, ("online", at(0), "")),
    "gone": ([of(7, up(0, 1)), of(7, down(9, 1, "tcp_closed"))], at(3), ("offline", at(9), "tcp_closed")),
    "gone and back": (
        [of(7, up(0, 1)), of(7, down(9, 1)), of(7, up(20, 2))],
        None,
        ("online", at(20), ""),
    ),
    "its end may have been missed": (
        [of(7, up(0, 1)), back(100, heard=50)],
        at(49),
        ("unknown", at(50), ENDPOINT_AWAY),
    ),
    "but it was seen since": (
        [of(7, up(0, 1)), back(100, heard=50)],
        at(51 + GAP_SECONDS),
        ("online", at(0), ""),
    ),
    "of two clients one is online": (
        [of(7, up(0, 1)), of(7, up(1, 2), "other"), of(7, down(9, 2), "other")],
        None,
        ("online", at(0), ""),
    ),
    "of two clients one is known to be online": (
        [of(7, up(90, 1, node="emqx@n2")), of(7, up(1, 2), "other"), back(100, heard=50)],
        None,
        ("online", at(90), ""),
    ),
    "of two clients both are gone": (
        [of(7, up(0, 1)), of(7, up(1, 2), "other"), of(7, down(5, 1)), of(7, down(9, 2), "other")],
        None,
        ("offline", at(9), "normal"),
    ),
}


@pytest.mark.parametrize(("facts", "last_seen", "expected"), CASES.values(), ids=CASES.keys())
def test_a_device(facts: list[Fact], last_seen: datetime | None, expected: tuple[Any, ...]):
    write_facts(facts)
    state = presence_of_device(7, last_seen)
    assert (str(state.standing), state.since, state.why) == expected
    assert (state.session is None) is (facts == [])


def test_many_devices_take_two_queries(django_assert_num_queries: Any):
    write_facts([of(number, up(0, number)) for number in range(1, 60, 2)])
    with django_assert_num_queries(2):
        states = presence_of_devices(dict.fromkeys(range(60)))
    assert [states[number].standing for number in range(60)] == [
        Standing.NEVER_SEEN,
        Standing.ONLINE,
    ] * 30


def test_no_device_takes_no_query(django_assert_num_queries: Any):
    with django_assert_num_queries(0):
        assert presence_of_devices({}) == {}


def test_a_client():
    assert presence_of_client("pump-17").standing is Standing.NEVER_SEEN
    write_facts([up(0, 1), up(5, 2, cluster="other"), down(9, 2, cluster="other")])
    assert presence_of_client("pump-17", "emqxcl").standing is Standing.ONLINE
    assert presence_of_client("pump-17", "other").standing is Standing.OFFLINE
    assert presence_of_client("pump-17").standing is Standing.OFFLINE
    assert presence_of_client("pump-17", "").standing is Standing.NEVER_SEEN
    assert presence_of_client("pump-17", "emqxcl").session == Session.objects.get(cluster="emqxcl")
