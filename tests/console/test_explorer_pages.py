"""The audit explorer: its address is the search, its links change it, and it costs few queries."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts import services
from audit.fact import Kind
from exhookadmin.console.explorer_pages import MOST_FOLLOWED
from exhookadmin.console.models import SavedSearch
from tests.audit.events import event, store

pytestmark = pytest.mark.django_db

EXPLORER = "/admin/explorer/"
PUMP: dict[str, Any] = {"device": "pump-17", "client_id": "pump-17", "node": "emqx@one"}


@pytest.fixture(autouse=True)
def log(db: None) -> None:
    device = services.create_device("pump-17")
    store(
        *(
            event(
                at, Kind.AUTHORIZE, **PUMP, device_id=device.pk, address="192.0.2.7", action="publish",
                topic=f"a/{at}", allowed=False, reason="no_rule_matched",
            )
            for at in range(60)
        ),
        event(100, Kind.CONNECTED, client_id="<b>fan</b>", device="fan", address="198.51.100.1"),
    )  # fmt: skip


def topics(page: str) -> list[str]:
    return re.findall(r"publish <code[^>]*>([^<]+)</code>", page)


def get(client: Client, **parameters: Any) -> str:
    answer = client.get(f"{EXPLORER}?{urlencode(parameters, doseq=True)}")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_newest_come_first_and_older_ones_by_a_link(admin_client: Client):
    first = get(admin_client)
    assert topics(first)[:2] == ["a/59", "a/58"]
    assert "<b>fan" not in first
    [older] = re.findall(r'href="([^"]*cursor=[^"]*)">Older', first)
    second = admin_client.get(older.replace("&amp;", "&")).content.decode()
    assert topics(second)[-1] == "a/0"
    assert set(topics(first)) | set(topics(second)) == {f"a/{at}" for at in range(60)}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"kind": "client.connected"}, 1),
        ({"address": "192.0.2.0/24", "text": "a/5"}, 11),
        ({"topic": "a/7"}, 1),
        ({"device": "pump-17", "reason": "no_rule_matched", "allowed": "no"}, 60),
        ({"since": "15m"}, 0),
        ({"since": "", "until": "", "text": ""}, 61),
    ],
)
def test_conditions_combine(asked: dict[str, str], found: int, admin_client: Client):
    page = get(admin_client, **asked)
    assert re.search(rf">{found} event", page)


def test_what_is_counted_leads_to_a_narrower_search(admin_client: Client):
    page = get(admin_client, device="pump-17")
    [narrower] = re.findall(r'href="([^"]*)"><span>no rule matched</span>', page, re.IGNORECASE) or [""]
    assert "device=pump-17" in narrower
    assert "reason=no_rule_matched" in narrower
    [without] = re.findall(r'href="([^"]*)" aria-label="Without device: pump-17"', page)
    assert "pump-17" not in without


@pytest.mark.parametrize("query", ["colour=red", "since=yesterday", "address=10.0.0.7/8", "cursor=x"])
def test_what_is_no_search_is_told(query: str, admin_client: Client):
    answer = admin_client.get(f"{EXPLORER}?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.content.decode()


def newer(admin_client: Client, cursor: str) -> Any:
    return admin_client.get(f"{EXPLORER}newer/?{urlencode({'kind': 'client.connected', 'cursor': cursor})}")


def shown(answer: Any) -> set[str]:
    return set(re.findall(r"client id (\S+)</small>", answer.content.decode()))


def followed(admin_client: Client) -> str:
    [cursor] = re.findall(r'data-cursor="([^"]+)"', get(admin_client, kind="client.connected"))
    return cursor


def test_what_came_since_is_what_a_follower_gets(admin_client: Client):
    cursor = followed(admin_client)
    assert "new" not in shown(newer(admin_client, cursor))
    store(event(200, Kind.CONNECTED, client_id="new"), event(201, Kind.DISCONNECTED, client_id="other"))
    came = newer(admin_client, cursor)
    assert "new" in shown(came)
    assert "other" not in shown(came)
    store(event(201, Kind.CONNECTED, client_id="newer"))
    assert "newer" in shown(newer(admin_client, came["X-Newer"]))


def test_what_another_worker_stores_late_reaches_a_follower_too(admin_client: Client):
    store(event(200, Kind.CONNECTED, client_id="new"))
    cursor = followed(admin_client)
    store(event(199, Kind.CONNECTED, client_id="late"))
    assert shown(newer(admin_client, cursor)) == {"new", "late"}


def test_a_follower_is_told_of_more_than_is_shown(admin_client: Client):
    cursor = followed(admin_client)
    store(*(event(200 + number, Kind.CONNECTED, client_id="new") for number in range(MOST_FOLLOWED)))
    assert "X-Missed" not in newer(admin_client, followed(admin_client))
    assert "X-Missed" in newer(admin_client, cursor)


def test_the_search_can_be_exported(admin_client: Client):
    answer = admin_client.get(f"{EXPLORER}export/jsonl/?device=pump-17")
    lines = b"".join(answer.streaming_content).splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 60
    assert answer["Content-Disposition"].endswith('.jsonl"')
    assert admin_client.get(f"{EXPLORER}export/csv/?since=x").status_code == 400
    assert admin_client.get(f"{EXPLORER}export/xls/").status_code == 404


def test_a_search_is_saved_shared_and_deleted(admin_client: Client, admin_user: User):
    admin_client.post(f"{EXPLORER}save/", {"name": "pump", "query": "device=pump-17", "shared": "on"})
    assert "device=pump-17" in re.findall(r'href="([^"]*)">pump</a>', get(admin_client))[0]
    other = User.objects.create_superuser("other", password="x")
    reader = Client()
    reader.force_login(other)
    assert "pump</a>" in get(reader)
    reader.post(f"{EXPLORER}forget/{SavedSearch.objects.get().pk}/")
    assert SavedSearch.objects.exists()
    admin_client.post(f"{EXPLORER}save/", {"name": "none", "query": "colour=red"})
    assert SavedSearch.objects.count() == 1
    admin_client.post(f"{EXPLORER}forget/{SavedSearch.objects.get().pk}/")
    assert not SavedSearch.objects.exists()


def test_it_costs_few_queries(admin_client: Client, django_assert_max_num_queries: Any):
    with django_assert_max_num_queries(20):
        get(admin_client, text="a", device="pump-17")


@pytest.mark.parametrize("path", ["", "newer/", "export/csv/"])
def test_who_may_not_see_the_log_does_not(path: str, client: Client):
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(f"{EXPLORER}{path}").status_code == 403
