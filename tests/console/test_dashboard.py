"""The home of the admin: right numbers, for whom they are, at a bounded cost."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.models import Device
from audit.fact import Fact, Kind
from audit.models import BrokerNode, Event, Session
from audit.rows import event_of
from exhookadmin.console import activity, fleet_size
from tests.staff.people import browser, member

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_remembered(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A busy machine would leave hours out.
    monkeypatch.setattr(activity, "BUDGET_SECONDS", 60.0)
    settings.EXHOOK_METRICS = ""
    cache.clear()
    yield
    cache.clear()


def home(client: Client) -> str:
    answer = client.get("/admin/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def tell(when: datetime, kind: Kind, repeats: int = 0, **fields: Any) -> None:
    row = event_of(Fact(kind, time=when.timestamp(), **fields))
    row.repeats = repeats
    Event.objects.bulk_create([row])


def refuse(when: datetime, username: str, reason: str = "unknown_device", repeats: int = 0) -> None:
    tell(
        when, Kind.AUTHENTICATE, repeats, username=username, client_id=username, allowed=False, reason=reason
    )


def totals(now: datetime) -> dict[str, str]:
    return {series.name: series.chart.total for series in activity.activity(now)}


def test_what_happened_is_counted_by_hour_with_repeats():
    now = timezone.now().replace(minute=30)
    tell(now, Kind.CONNECTED, client_id="a")
    tell(now - timedelta(hours=3), Kind.CONNECTED, client_id="b")
    tell(now - timedelta(hours=30), Kind.CONNECTED, client_id="too old")
    refuse(now - timedelta(hours=1), "x", repeats=4)
    tell(now, Kind.AUTHENTICATE, username="sampled", allowed=True, reason="credential_verified")
    tell(now, Kind.AUTHORIZE, username="x", allowed=False, reason="no_rule_matched")
    assert totals(now) == {"connects": "2", "refusals": "5", "denials": "1"}
    [connects, *_] = activity.activity(now)
    assert [bar.amount.value for bar in connects.chart.bars][-4:] == [1, 0, 0, 1]


def test_an_hour_is_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(activity, "_COUNT", activity._COUNT.replace("LIMIT 10000", "LIMIT 3"))
    monkeypatch.setattr(activity, "MOST_AN_HOUR", 3)
    now = timezone.now().replace(minute=30)
    for number in range(5):
        tell(now - timedelta(seconds=number), Kind.CONNECTED, client_id=str(number))
    assert totals(now)["connects"] == "3+"


def test_hours_that_time_does_not_suffice_for_are_told_as_not_counted(monkeypatch: pytest.MonkeyPatch):
    now = timezone.now()
    monkeypatch.setattr(activity, "BUDGET_SECONDS", -1.0)
    assert totals(now)["connects"] == "0+"
    monkeypatch.setattr(activity, "BUDGET_SECONDS", 60.0)
    assert totals(now)["connects"] == "0"


def test_devices_are_online_offline_or_never_seen():
    now = timezone.now()
    online, offline, _, disabled = (services.create_device(name) for name in ("a", "b", "c", "d"))
    Device.objects.filter(pk__in=[online.pk, offline.pk]).update(last_seen_at=now)
    Device.objects.filter(pk=disabled.pk).update(enabled=False)
    for client_id in ("a", "a2"):
        Session.objects.create(client_id=client_id, device_id=online.pk, connected_at=now)
    Session.objects.create(client_id="b", device_id=offline.pk, connected_at=now, disconnected_at=now)
    Session.objects.create(client_id="?", device_id=None, connected_at=now, unknown_since=now)
    size = fleet_size.fleet_size()
    assert (size.devices, size.online, size.offline, size.never_seen) == (4, 1, 1, 2)
    assert (size.disabled, size.unknown, size.complete) == (1, 1, True)


def test_a_fleet_is_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch, admin_client: Client):
    monkeypatch.setattr(fleet_size, "MOST_COUNTED", 2)
    for name in ("a", "b", "c"):
        services.create_device(name)
    size = fleet_size.fleet_size()
    assert (size.devices, size.complete, size.offline) == (2, False, None)
    page = home(admin_client)
    assert ">2+</a>" in page
    assert "Offline" not in page


def test_the_page_names_who_is_refused_and_why(admin_client: Client):
    now = timezone.now()
    for _ in range(3):
        refuse(now, "<b>pump</b>")
    refuse(now, "fan", "credential_wrong", repeats=7)
    page = home(admin_client)
    assert "<b>pump" not in page
    assert re.search(r"username=fan[^>]*>fan</a> <small>wrong credential</small><span>8</span>", page)
    assert re.search(r"reason=unknown_device[^>]*>unknown device</a><span>3</span>", page)
    assert page.index(">fan</a>") < page.index("&lt;b&gt;pump")


def test_the_brokers_seen_are_listed(admin_client: Client):
    now = timezone.now()
    BrokerNode.objects.create(name="emqx@one", version="5.8.8", protocol="v2", attached_at=now, heard_at=now)
    page = home(admin_client)
    assert "emqx@one" in page
    assert "5.8.8" in page


def test_charts_need_no_style_and_have_a_table(admin_client: Client):
    refuse(timezone.now(), "fan")
    page = home(admin_client)
    chart = re.findall(r'<svg class="exhook-chart .*?</svg>', page, re.DOTALL)
    assert len(chart) == 3
    assert all("style=" not in svg and "<title" in svg and "<desc" in svg for svg in chart)
    assert page.count('<th scope="row">') == 3 * activity.HOURS


def test_everybody_sees_what_they_may_see_elsewhere(django_user_model: Any):
    stranger = django_user_model.objects.create_user("newcomer", password="x", is_staff=True)
    page = home(browser(stranger))
    for title in ("Most refused", "Brokers", "Endpoint", "Never seen"):
        assert title not in page
    page = home(browser(member("viewer")))
    for title in ("Most refused", "Brokers", "Endpoint", "Never seen"):
        assert title in page


def test_it_costs_few_queries(admin_client: Client, django_assert_max_num_queries: Any):
    now = timezone.now()
    for number in range(40):
        refuse(now - timedelta(minutes=20 * number), f"x{number}")
    with django_assert_max_num_queries(20):
        home(admin_client)
