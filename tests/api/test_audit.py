"""The audit log over HTTP: the explorer's search, page by page."""

from datetime import UTC, datetime
from typing import Any

import pytest

from audit.fact import Kind
from audit.models import Session
from tests.api.conftest import Caller
from tests.audit.events import event, store

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def log(db: None) -> None:
    store(
        *(
            event(
                at,
                Kind.AUTHORIZE,
                device=f"pump-{at % 2}",
                address="192.0.2.7",
                topic=f"a/{at}",
                allowed=False,
            )
            for at in range(7)
        )
    )


def topics(answer: Any) -> list[str]:
    return [each["topic"] for each in answer.json()["results"]]


def test_events_come_newest_first_and_page_by_page(call: Caller):
    first = call("get", "audit/events/?page_size=3")
    assert topics(first) == ["a/6", "a/5", "a/4"]
    second = call("get", f"audit/events/?page_size=3&cursor={first.json()['older']}")
    assert topics(second) == ["a/3", "a/2", "a/1"]
    back = call("get", f"audit/events/?page_size=3&cursor={second.json()['newer']}")
    assert topics(back) == topics(first)


def test_a_search_is_the_explorers(call: Caller):
    assert topics(call("get", "audit/events/?device=pump-1&address=192.0.2.0/24")) == ["a/5", "a/3", "a/1"]
    kinds = call("get", "audit/events/?kind=client.connected&kind=client.disconnected")
    assert topics(kinds) == []


def test_an_event_by_its_id(call: Caller):
    shown = call("get", "audit/events/?page_size=1").json()["results"][0]
    assert call("get", f"audit/events/{shown['id']}/").json() == shown


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("since=yesterday", "since"),
        ("cursor=x", "cursor"),
        ("page_size=0", "page_size"),
        ("address=10.0.0.7/8", "address"),
    ],
)
def test_what_makes_no_search_is_told_by_its_field(query: str, field: str, call: Caller):
    answer = call("get", f"audit/events/?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_sessions(call: Caller):
    for number in range(3):
        Session.objects.create(
            client_id=f"pump-{number}",
            connected_at=datetime(2026, 1, 1 + number, tzinfo=UTC),
            disconnected_at=None if number else datetime(2026, 1, 2, tzinfo=UTC),
        )
    listed = call("get", "audit/sessions/?online=true&page_size=1").json()
    assert [each["client_id"] for each in listed["results"]] == ["pump-2"]
    more = call("get", f"audit/sessions/?online=true&page_size=1&cursor={listed['older']}").json()
    assert [(each["client_id"], each["online"]) for each in more["results"]] == [("pump-1", True)]
    [gone] = call("get", "audit/sessions/?client_id=pump-0").json()["results"]
    assert call("get", f"audit/sessions/{gone['id']}/").json()["online"] is False
