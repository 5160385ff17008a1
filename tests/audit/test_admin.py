"""The audit log and the sessions in the admin: to be read by staff, written by nobody."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.models import Device
from audit import changelist
from audit.fact import Fact, Kind
from audit.models import BrokerNode, Event, Session
from audit.paging import Effort, page
from audit.writer import write_facts
from exhookadmin.words import REASONS
from tests.query_count import queries_of

pytestmark = pytest.mark.django_db

EVENTS = reverse("admin:audit_event_changelist")
SESSIONS = reverse("admin:audit_session_changelist")
NODES = reverse("admin:audit_brokernode_changelist")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def fact(kind: Kind, when: str, name: str = "pump", **fields: object) -> Fact:
    own: dict[str, object] = {
        "device": name,
        "client_id": f"id-{name}",
        "username": name,
        "address": "192.0.2.7",
        "node": "emqx@one",
        "cluster": "c",
        **fields,
    }
    return Fact(kind, time=at(when), **own)  # type: ignore[arg-type]


@pytest.fixture
def log() -> dict[str, Event]:
    facts = {
        "loaded": Fact(
            Kind.PROVIDER_LOADED, time=at("2025-12-31 23:59:59"), node="emqx@two", detail="EMQX 5.8.8"
        ),
        "up": fact(Kind.CONNECTED, "2026-10-30 08:00:00"),
        "wrong": fact(
            Kind.AUTHENTICATE, "2026-11-01 10:00:00", "valve", reason="credential_wrong", allowed=False,
            address="2001:db8::1",
        ),
        "denied": fact(
            Kind.AUTHORIZE, "2026-11-01 11:30:00", reason="rule_denies", allowed=False, action="publish",
            topic="dev/pump/firmware", rule="deny publish dev/+/firmware (policy own topics)", rule_id=7,
        ),
        "down": fact(Kind.DISCONNECTED, "2026-11-02 00:00:00", detail="keepalive_timeout"),
    }  # fmt: skip
    write_facts(list(facts.values()))
    return {name: Event.objects.get(pk=fact.id) for name, fact in facts.items()}


def listed(client: Client, url: str, known: dict[str, Event]) -> list[str]:
    response = client.get(url)
    assert response.status_code == 200
    names = {event.pk: name for name, event in known.items()}
    return [names[event.pk] for event in response.context["cl"].result_list]


NEWEST_FIRST = ["down", "denied", "wrong", "up", "loaded"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", NEWEST_FIRST, id="everything, newest first"),
        pytest.param("kind__exact=client.authorize", ["denied"], id="kind"),
        pytest.param("reason=credential_wrong", ["wrong"], id="reason"),
        pytest.param("device=pump", ["down", "denied", "up"], id="device"),
        pytest.param("device=pum", [], id="device: the whole name"),
        pytest.param("client_id=id-valve", ["wrong"], id="client id"),
        pytest.param("node=emqx@two", ["loaded"], id="node"),
        pytest.param("address=192.0.2.7", ["down", "denied", "up"], id="address"),
        pytest.param("address=192.0.", ["down", "denied", "up"], id="beginning of an address"),
        pytest.param("address=2001:0DB8:0::1", ["wrong"], id="address, spelled differently"),
        pytest.param("address=not an address", [], id="no address"),
        pytest.param("address=a%00b", [], id="NUL in the address"),
        pytest.param("device=a%00b", [], id="NUL in a name"),
        pytest.param("q=FIRMWARE", ["denied"], id="search: topic"),
        pytest.param("q=valv", ["wrong"], id="search: device"),
        pytest.param("time_from_0=2026-11-01", ["down", "denied", "wrong"], id="from a day"),
        pytest.param("time_to_0=2026-11-01", ["denied", "wrong", "up", "loaded"], id="to the end of a day"),
        pytest.param(
            "time_from_0=2026-11-01&time_from_1=10:30&time_to_0=2026-11-01&time_to_1=12:00",
            ["denied"],
            id="from time to time",
        ),
        pytest.param("time_from_0=yesterday&time_to_0=2026-02-31", NEWEST_FIRST, id="no dates"),
        pytest.param("time__year=2026", NEWEST_FIRST[:4], id="year"),
        pytest.param("time__year=2026&time__month=11", ["down", "denied", "wrong"], id="month"),
        pytest.param("time__year=2026&time__month=11&time__day=1", ["denied", "wrong"], id="day"),
        pytest.param("device=pump&kind__exact=client.connected", ["up"], id="two filters"),
        pytest.param("p=2", NEWEST_FIRST, id="a page’s number, as in an old bookmark"),
    ],
)
def test_filters_of_events(
    admin_client: Client, log: dict[str, Event], query: str, expected: list[str]
) -> None:
    assert listed(admin_client, f"{EVENTS}?{query}", log) == expected


@pytest.mark.parametrize(
    "query",
    ["time__year=9999", "time__year=2026&time__month=13", "time__year=x", "kind__nonsense=1", "p=x", "p=-1"],
)
def test_nonsense_in_the_address_is_no_error(admin_client: Client, log: dict[str, Event], query: str) -> None:
    assert admin_client.get(f"{EVENTS}?{query}", follow=True).status_code == 200


def shown_time(told: str) -> str:
    """As the page says it before the script puts it into the viewer’s zone."""
    stamp = f"{told.replace(' ', 'T')}.000000Z"
    return f'<time data-local datetime="{stamp}" title="{told}.000000 UTC">{told} UTC</time>'


@pytest.mark.parametrize("url", [EVENTS, SESSIONS], ids=["events", "sessions"])
def test_times_are_said_in_utc_for_the_viewer_s_zone_and_the_filter_names_its_own(
    admin_client: Client, log: dict[str, Event], settings: Any, url: str
) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    html = admin_client.get(url).content.decode()
    assert shown_time("2026-10-30 08:00:00") in html
    assert "2026-10-30 13:30" not in html
    assert "(Asia/Kolkata)" in html


def dates_of(html: str) -> list[tuple[str, str]]:
    links: Sequence[tuple[str, str]] = re.findall(r'<a href="(\?[^"]*)"[^>]*>\s*([^<]+?)\s*</a>', html)
    return [(link, title) for link, title in links if "time__" in link]


def test_dates_lead_into_the_log_and_keep_the_filters(admin_client: Client, log: dict[str, Event]) -> None:
    top = dates_of(admin_client.get(f"{EVENTS}?device=pump").content.decode())
    assert [title for _, title in top] == ["2026", "2025"]
    year = admin_client.get(EVENTS + top[0][0].replace("&amp;", "&"))
    assert {event.device for event in year.context["cl"].result_list} == {"pump"}
    months = [title for _, title in dates_of(year.content.decode())]
    assert months[0] == "January 2026"
    assert "November 2026" in months
    assert "December 2026" not in months


def test_reasons_are_told_in_words(admin_client: Client, log: dict[str, Event]) -> None:
    html = admin_client.get(EVENTS).content.decode()
    assert "wrong credential" in html
    assert "keepalive_timeout" in html, "the broker’s own words, where there is no reason of ours"
    for words in REASONS.values():
        assert f">{words.title}</option>" in html, "every reason can be chosen"


def page_of(event: Event, part: str = "change") -> str:
    return reverse(f"admin:audit_event_{part}", args=[event.pk])


def test_an_event_tells_all_it_knows_and_nothing_empty(admin_client: Client, log: dict[str, Event]) -> None:
    denied = admin_client.get(page_of(log["denied"])).content.decode()
    for told in (
        "2026-11-01 11:30:00.000+00:00",
        "denied by a rule",
        "The first rule that matched denies it.",
        "dev/pump/firmware",
        "deny publish dev/+/firmware (policy own topics)",
        "192.0.2.7",
        "emqx@one",
    ):
        assert told in denied
    loaded = admin_client.get(page_of(log["loaded"])).content.decode()
    assert "EMQX 5.8.8" in loaded
    assert "Client id" not in loaded
    assert "History" not in loaded


@pytest.mark.parametrize("url", [EVENTS, SESSIONS], ids=["events", "sessions"])
def test_a_device_is_a_link_while_it_exists(admin_client: Client, url: str) -> None:
    device = services.create_device("pump")
    write_facts([fact(Kind.CONNECTED, "2026-11-01 10:00:00", device_id=device.pk)])
    link = f'href="{reverse("admin:accounts_device_change", args=[device.pk])}"'
    assert link in admin_client.get(url).content.decode()
    services.delete_devices(Device.objects.all())
    html = admin_client.get(url).content.decode()
    assert "accounts/device/" not in html.split('id="result_list"')[1]
    assert "pump" in html, "the log outlives the device"


def test_a_device_leads_to_its_events(admin_client: Client, log: dict[str, Event]) -> None:
    device = services.create_device("valve")
    url = reverse("admin:accounts_device_change", args=[device.pk])
    way = url.replace("/change/", "/events/")
    assert way in admin_client.get(url).content.decode()
    explorer = admin_client.get(admin_client.get(way)["Location"])
    assert [row.event for row in explorer.context["rows"]] == [log["wrong"]]


def make(count: int) -> None:
    number = Event.objects.count()
    device = services.create_device(f"device {number}")
    write_facts(
        [
            fact(Kind.CONNECTED, "2026-11-01 10:00:00", f"pump-{number + n}", device_id=device.pk)
            for n in range(count)
        ]
    )


@pytest.mark.parametrize("url", [EVENTS, SESSIONS], ids=["events", "sessions"])
@pytest.mark.parametrize("query", ["", "?q=pump", "?device=pump-1"], ids=["plain", "search", "filter"])
def test_lists_cost_the_same_however_long_they_are_and_count_nothing(
    admin_client: Client, url: str, query: str
) -> None:
    make(2)
    few = queries_of(admin_client, url + query)
    make(40)
    many = queries_of(admin_client, url + query)
    # Three of them are the login's: its session twice, and its second factor.
    assert len(many) == len(few) <= 10
    for sql in many:
        assert "COUNT(" not in sql
        assert "DISTINCT" not in sql


def ways(html: str) -> dict[str, str]:
    """Where the list leads to: “Older”, and the like."""
    found = re.findall(r'<a href="([^"]*)"[^>]*>(Newest|Newer|Older|Search further back)</a>', html)
    return {title: link.replace("&amp;", "&") for link, title in found}


@pytest.mark.parametrize("url", [EVENTS, SESSIONS], ids=["events", "sessions"])
def test_pages_follow_each_other_by_place(admin_client: Client, url: str) -> None:
    make(120)
    first = admin_client.get(f"{url}?node=emqx@one")
    assert ways(first.content.decode()).keys() == {"Older"}
    assert "9999999999" not in first.content.decode()
    pages = [first]
    write_facts([fact(Kind.CONNECTED, "2026-11-02 10:00:00", "new")])  # moves nothing
    while older := ways(pages[-1].content.decode()).get("Older"):
        pages.append(admin_client.get(url + older))
    shown = [[row.pk for row in page.context["cl"].result_list] for page in pages]
    assert [len(rows) for rows in shown] == [50, 50, 20]
    assert len({key for rows in shown for key in rows}) == 120
    last = ways(pages[-1].content.decode())
    assert last.keys() == {"Newest", "Newer"}
    back = admin_client.get(url + last["Newer"])
    assert [row.pk for row in back.context["cl"].result_list] == shown[1]
    newest = admin_client.get(url + last["Newest"])
    assert [row.pk for row in newest.context["cl"].result_list][1:] == shown[0][:49]
    top = admin_client.get(url + ways(back.content.decode())["Newer"])
    assert "Newer" in ways(top.content.decode()), "a page that is not the newest leads on"
    assert "Newer" not in ways(newest.content.decode())


@pytest.mark.parametrize("query", ["q=pump-3", "reason=rule_denies", "address=10."])
def test_a_search_that_takes_long_says_how_far_it_came_and_goes_on(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    make(40)
    old = fact(
        Kind.AUTHORIZE,
        "2026-10-01 10:00:00",
        "pump-3",
        reason="rule_denies",
        allowed=False,
        address="10.1.2.3",
    )
    write_facts([old])
    Event.objects.filter(client_id="id-pump-3").exclude(pk=old.id).delete()
    Event.objects.filter(client_id__startswith="id-pump-3").exclude(pk=old.id).delete()
    monkeypatch.setattr(changelist, "page", partial(page, effort=Effort(seconds=0, first=20)))
    first = admin_client.get(f"{EVENTS}?{query}")
    assert list(first.context["cl"].result_list) == []
    html = first.content.decode()
    assert f"Searched back to {shown_time('2026-11-01 10:00:00')}" in html
    assert "Nothing matches" not in html
    seen: list[Event] = []
    while onward := ways(html).get("Older"):
        response = admin_client.get(EVENTS + onward)
        seen += response.context["cl"].result_list
        html = response.content.decode()
    assert [event.pk for event in seen] == [old.id]


@pytest.mark.parametrize(
    ("query", "index"),
    [("device=pump-1", True), ("time__year=2026&node=n", False), ("device=p&node=n", False)],
)
def test_what_an_index_answers_is_not_looked_through(admin_client: Client, query: str, index: bool) -> None:
    make(3)
    queries = [sql for sql in queries_of(admin_client, f"{EVENTS}?{query}") if "OFFSET" in sql]
    assert (queries == []) is index
    for sql in queries:
        assert ('"device" = ' in sql) is ("device" in query), "as little is looked through as possible"
        assert ('"time" >= ' in sql) is ("year" in query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["id-valve", "id-pump"], id="everything, newest first"),
        pytest.param("presence=online", ["id-valve"], id="online"),
        pytest.param("presence=offline", ["id-pump"], id="offline"),
        pytest.param("presence=unknown", [], id="unknown: none"),
        pytest.param("client_id=id-pump", ["id-pump"], id="client id"),
        pytest.param("device=valve", ["id-valve"], id="device"),
        pytest.param("node=emqx@one", ["id-pump"], id="node"),
        pytest.param("connected_at_from_0=2026-11-02", ["id-valve"], id="connected since"),
        pytest.param("q=pum", ["id-pump"], id="search"),
    ],
)
def test_filters_of_sessions(admin_client: Client, query: str, expected: list[str]) -> None:
    write_facts(
        [
            fact(Kind.CONNECTED, "2026-11-01 10:00:00"),
            fact(Kind.DISCONNECTED, "2026-11-01 11:00:00", detail="tcp_closed"),
            fact(Kind.CONNECTED, "2026-11-02 10:00:00", "valve", node="emqx@two"),
        ]
    )
    rows = admin_client.get(f"{SESSIONS}?{query}").context["cl"].result_list
    assert [session.client_id for session in rows] == expected


def test_a_session_tells_from_when_to_when_and_why_it_ended(admin_client: Client) -> None:
    write_facts(
        [
            fact(Kind.CONNECTED, "2026-11-01 10:00:00"),
            fact(Kind.DISCONNECTED, "2026-11-01 11:00:00", detail="tcp_closed"),
        ]
    )
    url = reverse("admin:audit_session_change", args=[Session.objects.get().pk])
    html = admin_client.get(url).content.decode()
    for told in (
        "offline",
        shown_time("2026-11-01 10:00:00"),
        shown_time("2026-11-01 11:00:00"),
        "tcp_closed",
    ):
        assert told in html


@pytest.fixture
def doubted() -> Session:
    """A session whose end may have been missed."""
    write_facts([fact(Kind.CONNECTED, "2026-11-01 10:00:00")])
    write_facts([fact(Kind.PROVIDER_UNLOADED, "2026-11-01 11:00:00", client_id="")])
    return Session.objects.get()


def test_a_session_that_may_have_ended_says_since_when_and_because_of_what(
    admin_client: Client, doubted: Session
) -> None:
    url = reverse("admin:audit_session_change", args=[doubted.pk])
    html = admin_client.get(url).content.decode()
    since = shown_time("2026-11-01 11:00:00")
    assert f"Whether it is still connected is unknown since {since}: broker node detached." in html
    for state, rows in {"unknown": [doubted], "online": [], "offline": []}.items():
        listed = admin_client.get(f"{SESSIONS}?presence={state}")
        assert list(listed.context["cl"].result_list) == rows
    write_facts([fact(Kind.CONNECTED, "2026-11-01 12:00:00", node="emqx@two")])
    html = admin_client.get(url).content.decode()
    assert f"It may have ended at any time since {since}: broker node detached." in html


def test_a_session_that_is_not_in_doubt_does_not_speak_of_it(admin_client: Client) -> None:
    write_facts([fact(Kind.CONNECTED, "2026-11-01 10:00:00")])
    url = reverse("admin:audit_session_change", args=[Session.objects.get().pk])
    assert "What is not known" not in admin_client.get(url).content.decode()


def test_nodes_as_they_introduced_themselves(admin_client: Client) -> None:
    write_facts(
        [
            Fact(
                Kind.PROVIDER_LOADED, time=at("2026-11-01 10:00:00"), node="emqx@one", cluster="c",
                node_version="5.8.8", node_protocol="v2", node_started=at("2026-11-01 09:00:00"),
            ),
            Fact(Kind.PROVIDER_LOADED, time=at("2026-11-01 10:00:00"), node="emqx@two", cluster="c"),
            Fact(Kind.PROVIDER_UNLOADED, time=at("2026-11-01 11:00:00"), node="emqx@two", cluster="c"),
        ]
    )  # fmt: skip
    one, two = BrokerNode.objects.order_by("name")
    html = admin_client.get(NODES).content.decode()
    for shown in ("emqx@one", "5.8.8", "v2", "2026-11-01 09:00:00", "attached", "emqx@two", "detached"):
        assert shown in html
    html = admin_client.get(reverse("admin:audit_brokernode_change", args=[two.pk])).content.decode()
    assert "2026-11-01 11:00:00" in html
    assert admin_client.post(reverse("admin:audit_brokernode_delete", args=[one.pk])).status_code == 403


@pytest.mark.parametrize("url", [EVENTS, SESSIONS, NODES], ids=["events", "sessions", "nodes"])
def test_an_empty_log_says_how_to_connect_a_broker(admin_client: Client, url: str) -> None:
    html = admin_client.get(url).content.decode()
    assert "Connect your broker" in html
    assert "Connect your EMQX" in html
    assert ":9000" in html


@pytest.mark.parametrize("model", ["event", "session"])
@pytest.mark.parametrize("part", ["add", "change", "delete"])
def test_nobody_writes_the_log_not_even_a_superuser_by_post(
    admin_client: Client, log: dict[str, Event], model: str, part: str
) -> None:
    row = log["up"] if model == "event" else Session.objects.get()
    url = reverse(f"admin:audit_{model}_{part}", args=[] if part == "add" else [row.pk])
    before = list(Event.objects.values()), list(Session.objects.values())
    assert admin_client.post(url, {"post": "yes", "client_id": "forged"}).status_code == 403
    if part != "change":
        assert admin_client.get(url).status_code == 403
    assert (list(Event.objects.values()), list(Session.objects.values())) == before


@pytest.mark.parametrize("url", [EVENTS, SESSIONS], ids=["events", "sessions"])
def test_no_action_of_a_list_deletes(admin_client: Client, log: dict[str, Event], url: str) -> None:
    chosen = [str(row.pk) for row in (*Event.objects.all(), *Session.objects.all())]
    admin_client.post(url, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert Event.objects.count() == len(log)
    assert Session.objects.count() == 1


def test_the_log_is_for_those_who_may_view_it(log: dict[str, Event]) -> None:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(EVENTS).status_code == 403
    assert client.get(page_of(log["up"])).status_code == 403
