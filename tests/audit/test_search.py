"""What a search finds, how it is read and written, and that an index answers it."""

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from audit.fact import Kind
from audit.models import KINDS, Event
from audit.paging import Effort, page, walk
from audit.search import INDEXED, Search, SearchProblem, parse_search
from audit.search_parameters import PARAMETERS
from tests.audit.events import DAY, at, event, store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def search(**parameters: Any) -> Search:
    return parse_search(parameters, NOW)


# --- What it finds ---


@pytest.fixture
def log(db: None) -> dict[str, Event]:
    pump: dict[str, Any] = {
        "device": "pump",
        "client_id": "id-pump",
        "username": "pump",
        "node": "emqx@one",
        "cluster": "c",
    }
    events = {
        "up": event(0, Kind.CONNECTED, **pump, address="192.0.2.7"),
        "wrong": event(
            3600, Kind.AUTHENTICATE, device="valve", client_id="id-valve", username="ventil-größe",
            cn="valve.example", address="2001:db8::1", reason="credential_wrong", allowed=False,
            node="emqx@two",
        ),
        "denied": event(
            7200, **pump, address="::ffff:192.0.2.130", reason="rule_denies", allowed=False, action="publish",
            topic="dev/pump/Firmware",
        ),
        "wide": event(7200.5, **pump, address="10.1.2.3", reason="no_rule_matched", allowed=False,
                      action="subscribe", topic="dev/#"),
        "asked": event(7201, **pump, address="10.1.255.3", reason="rule_allows", allowed=True,
                       action="publish", topic="dev/pump/state"),
        "down": event(86400, Kind.DISCONNECTED, **pump, detail="keepalive timeout 100%", address="192.0.2.7"),
        "loaded": event(90000, Kind.PROVIDER_LOADED, node="emqx@two", detail="EMQX 5.8.8"),
    }  # fmt: skip
    store(*events.values())
    return events


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({}, "loaded down asked wide denied wrong up", id="everything, newest first"),
        pytest.param({"since": "2026-11-02"}, "loaded down", id="since a day"),
        pytest.param({"until": "2026-11-01"}, "asked wide denied wrong up", id="until a day: to its end"),
        pytest.param({"since": "2026-11-01T02:00Z", "until": "2026-11-01T02:00:01Z"}, "wide denied",
                     id="from a moment, included, to a moment, excluded"),
        pytest.param({"kind": "client.authenticate"}, "wrong", id="kind"),
        pytest.param({"kind": ["client.connected", "client.disconnected"]}, "down up", id="kinds"),
        pytest.param({"reason": "rule_denies"}, "denied", id="reason"),
        pytest.param({"reason": ["rule_denies", "credential_wrong"]}, "denied wrong", id="reasons"),
        pytest.param({"allowed": "no"}, "wide denied wrong", id="refused"),
        pytest.param({"allowed": "yes"}, "asked", id="allowed"),
        pytest.param({"device": "pump"}, "down asked wide denied up", id="device"),
        pytest.param({"device": "PUMP"}, "", id="device: its case counts"),
        pytest.param({"device": "pum"}, "", id="device: its whole name"),
        pytest.param({"client_id": "id-valve"}, "wrong", id="client id"),
        pytest.param({"username": "ventil-größe"}, "wrong", id="username"),
        pytest.param({"node": "emqx@two"}, "loaded wrong", id="node"),
        pytest.param({"cluster": "c"}, "down asked wide denied up", id="cluster"),
        pytest.param({"cn": "valve.example"}, "wrong", id="common name"),
        pytest.param({"action": "subscribe"}, "wide", id="action"),
        pytest.param({"address": "192.0.2.7"}, "down up", id="address"),
        pytest.param({"address": "2001:0DB8:0::1"}, "wrong", id="address, spelled differently"),
        pytest.param({"address": "::ffff:192.0.2.130"}, "denied", id="address, mapped into IPv6"),
        pytest.param({"address": "192.0.2.0/24"}, "down denied up", id="network"),
        pytest.param({"address": "192.0.2.128/25"}, "denied", id="network, not at an octet"),
        pytest.param({"address": "10.1.0.0/17"}, "wide", id="network, not at an octet, larger"),
        pytest.param({"address": "::ffff:10.1.0.0/112"}, "asked wide", id="network, mapped into IPv6"),
        pytest.param({"address": "2001:db8::/32"}, "wrong", id="IPv6 network"),
        pytest.param({"address": "0.0.0.0/0"}, "down asked wide denied up", id="all of IPv4"),
        pytest.param({"address": "::/0"}, "wrong", id="all of IPv6, and nothing of IPv4"),
        pytest.param({"topic": "dev/pump/Firmware"}, "denied", id="topic"),
        pytest.param({"topic": "dev/pump/firmware"}, "", id="topic: its case counts"),
        pytest.param({"topic": "dev/+/state"}, "asked", id="topics by a filter"),
        pytest.param({"topic": "dev/#"}, "asked wide denied", id="requested filters by a filter too"),
        pytest.param({"text": "firmWARE"}, "denied", id="word, whatever its case"),
        pytest.param({"text": "Ventil-GRÖ"}, "wrong", id="word, whatever its case, in any alphabet"),
        pytest.param({"text": "100%"}, "down", id="LIKE’s wildcards are characters"),
        pytest.param({"text": "d_wn"}, "", id="the other one too"),
        pytest.param({"text": "timeout pump"}, "down", id="words, each somewhere"),
        pytest.param({"text": '"keepalive timeout"'}, "down", id="phrase"),
        pytest.param({"text": '"timeout keepalive"'}, "", id="phrase: its order counts"),
        pytest.param({"text": "8.8"}, "loaded", id="word in the detail"),
        pytest.param({"device": "pump", "kind": "client.connected", "address": "192.0.2.0/24"}, "up",
                     id="all of it"),
        pytest.param({"device": "'; DROP TABLE audit_event; --"}, "", id="not SQL"),
    ],
)  # fmt: skip
def test_searches(log: dict[str, Event], parameters: dict[str, Any], expected: str) -> None:
    names = {row.pk: name for name, row in log.items()}
    found = page(search(**parameters).listing())
    assert [names[row.pk] for row in found.rows] == expected.split()
    assert found.searched_to is None


@pytest.mark.django_db
def test_a_search_that_no_index_answers_is_looked_through_in_slices_that_the_rest_bounds() -> None:
    store(*(event(second, device="pump" if second % 2 else "valve", detail="x") for second in range(20)))
    little = Effort(seconds=0, first=3)
    found = walk(search(device="pump", text="none").listing(), 5, effort=little)
    assert found.stopped is not None
    assert found.stopped.time == at(15), "three rows of the pump were looked at, not three of all"
    found = walk(
        search(until="2026-11-01T00:00:05Z", text="none").listing(), 5, effort=Effort(seconds=0, first=6)
    )
    assert found.stopped is None, "five rows are all there are in that time"


# --- That an index answers it ---


def plan(rows: Any) -> str:
    """What the database says that it would do for a page; PostgreSQL, that it could, on an empty table."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
    return str(rows.order_by("-time", "-pk")[:51].explain())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("parameters", "index"),
    [
        pytest.param({}, "event_newest", id="everything"),
        pytest.param({"since": "2026-11-01"}, "event_newest", id="a period"),
        pytest.param({"device": "pump"}, "event_of_device", id="device"),
        pytest.param({"client_id": "c"}, "event_of_client", id="client id"),
        pytest.param({"username": "u"}, "event_of_username", id="username"),
        pytest.param({"address": "192.0.2.7"}, "event_of_address", id="address"),
        pytest.param({"kind": "client.connected"}, "event_of_kind", id="kind"),
    ],
)
def test_an_index_has_the_rows_in_the_order_of_the_pages(parameters: dict[str, Any], index: str) -> None:
    listing = search(**parameters).listing()
    assert listing.scanned is None
    said = plan(listing.matching)
    if connection.vendor == "sqlite":
        assert f"INDEX {index}" in said
        assert "TEMP B-TREE" not in said
    else:
        # In a partition, indexes have other names; a Merge Append only has a “Sort Key”.
        assert re.search(r"Index (Only )?Scan", said)
        assert not re.search(r"Sort  \(|Seq Scan", said)


# --- Reading and writing ---


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T14:30", datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        ("2026-11-20 14:30:05", datetime(2026, 11, 20, 14, 30, 5, tzinfo=UTC)),
        ("2026-11-20T14:30:05.25Z", datetime(2026, 11, 20, 14, 30, 5, 250_000, tzinfo=UTC)),
        ("2026-11-20T14:30+02:00", datetime(2026, 11, 20, 12, 30, tzinfo=UTC)),
        ("2026-11-20T14:30 02:00", datetime(2026, 11, 20, 12, 30, tzinfo=UTC)),
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("-6h", NOW - timedelta(hours=6)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert search(since=text).since == search(until=text).until == moment


@override_settings(TIME_ZONE="Europe/Berlin")
def test_times_without_a_zone_are_the_site_s() -> None:
    assert search(since="2026-07-01").since == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert search(until="2026-07-01").until == datetime(2026, 7, 1, 22, tzinfo=UTC)
    assert search(since="2026-07-01T10:00").since == datetime(2026, 7, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("parameters", "name", "says"),
    [
        ({"since": "yesterday"}, "since", "“yesterday” is no time; write a day such as 2026-11-20"),
        ({"since": "2026-02-31"}, "since", "is no time"),
        ({"since": "0001-01-01T00:00+14:00"}, "since", "is no time"),
        ({"until": "999999w"}, "until", "is no time"),
        ({"until": "9999-12-31"}, "until", "is no time"),
        ({"since": "2026-11-02", "until": "2026-11-01T10:00"}, "until", "not after “since”"),
        ({"kind": "client.conected"}, "kind", "choose from client.authenticate"),
        ({"reason": "Wrong!"}, "reason", "such as credential_wrong"),
        ({"allowed": "maybe"}, "allowed", "write yes for allowed, no for refused"),
        ({"action": "read"}, "action", "write publish or subscribe"),
        ({"address": "192.0.2."}, "address", "write one such as 192.0.2.7, 192.0.2.0/24"),
        ({"address": "10.0.0.7/8"}, "address", "it has host bits set: write 10.0.0.0/8"),
        ({"address": "fe80::1%eth0/64"}, "address", "neither an address nor a network"),
        ({"topic": "dev/#/x"}, "topic", "comes last"),
        ({"topic": "a" * 5000}, "topic", "shorten it"),
        ({"device": "a" * 513}, "device", "it has 513 characters"),
        ({"device": "a\x00b"}, "device", "NUL"),
        ({"device": ["a", "b"]}, "device", "it is given 2 times; give it once"),
        ({"reason": [f"r{n}" for n in range(51)]}, "reason", "give it 50 times at most"),
        ({"text": "a b c d e f g h i"}, "text", "more than 8 words"),
        ({"devise": "x"}, "devise", "there is no such search field; choose from since, until, kind"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_parameter_and_the_fix(parameters: dict[str, Any], name: str, says: str) -> None:
    with pytest.raises(SearchProblem) as raised:
        search(**parameters)
    assert list(raised.value.problems) == [name]
    assert says in raised.value.problems[name]
    assert str(raised.value).startswith(f"{name}: ")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(SearchProblem) as raised:
        search(since="x", address="y", device="pump", other="z")
    assert set(raised.value.problems) == {"since", "address", "other"}


def test_what_is_blank_asks_nothing() -> None:
    assert search(device="  ", since="", kind=["", " "], text=None) == Search()
    assert search(device=" pump ").device == "pump"
    assert Search().parameters() == []


def test_a_url_is_read_as_it_comes() -> None:
    query = QueryDict("kind=client.connected&kind=client.disconnected&device=pump&since=&topic=dev/%2B/x")
    found = parse_search(dict(query.lists()), NOW)
    assert found == Search(kinds=("client.connected", "client.disconnected"), device="pump", topic="dev/+/x")
    assert (
        parse_search([("kind", "client.connected"), ("kind", "client.disconnected")], NOW).kinds
        == found.kinds
    )
    assert found.mapping() == {
        "kind": ["client.connected", "client.disconnected"], "device": "pump", "topic": "dev/+/x",
    }  # fmt: skip


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20
)  # texts without blanks at their ends
moments = st.datetimes(
    datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])
)
networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 95))
).map(lambda drawn: ip_network(drawn, strict=False))
ANY = {
    "since": moments, "kinds": st.lists(st.sampled_from([kind for kind, _ in KINDS]), unique=True).map(tuple),
    "reasons": st.lists(st.sampled_from(["a_b", "c"]), unique=True).map(tuple), "allowed": st.booleans(),
    "device": names, "client_id": names, "username": names, "address": networks, "node": names,
    "cluster": names, "cn": names, "action": st.sampled_from(["publish", "subscribe"]),
    "topic": st.sampled_from(["a", "dev/+/x", "#", "größe/ b"]),
    "text": st.lists(names, max_size=3).map(" ".join),
}  # fmt: skip


@given(
    st.fixed_dictionaries({}, optional=ANY),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=9)),
)
def test_a_search_is_read_as_it_was_written(parts: dict[str, Any], length: timedelta | None) -> None:
    if length and "since" in parts:
        parts["until"] = parts["since"] + length
    meant = Search(**parts)
    assert parse_search(meant.parameters(), NOW) == meant
    assert parse_search(meant.mapping(), NOW) == meant
    assert parse_search(dict(QueryDict(meant.query_string()).lists()), NOW) == meant


def test_everything_that_can_be_searched_has_a_parameter_and_a_word_of_help() -> None:
    assert [parameter.attribute for parameter in PARAMETERS] == [field.name for field in fields(Search)]
    assert all(parameter.help.endswith(".") for parameter in PARAMETERS)
    assert set(INDEXED) <= {field.name for field in Event._meta.get_fields()}


def test_the_day_of_the_tests_is_what_they_say() -> None:
    assert at(0) == DAY
