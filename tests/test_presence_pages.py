"""Whether devices are online, on the pages about devices."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Device
from accounts.services import create_device
from audit.fact import Fact, Kind
from audit.writer import write_facts
from tests.query_count import queries_of

pytestmark = pytest.mark.django_db

LIST = reverse("admin:accounts_device_changelist")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def fact(kind: Kind, device: Device | None, minutes: float, detail: str = "") -> Fact:
    return Fact(
        kind,
        time=NOON.timestamp() + 60 * minutes,
        device_id=device.pk if device else None,
        client_id=device.username if device else "",
        node="emqx@one" if device else "emqx@two",
        detail=detail,
    )


def page_of(client: Client, device: Device) -> str:
    """The text of a device's page, without marks."""
    html = client.get(reverse("admin:accounts_device_change", args=[device.pk])).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


@pytest.fixture
def fleet() -> dict[str, Device]:
    """One device for each thing that can be said."""
    names = ("pump-never", "pump-online", "pump-offline", "pump-unknown")
    fleet = {name: create_device(name) for name in names}
    unknown = fleet["pump-unknown"]
    write_facts(
        [
            fact(Kind.CONNECTED, fleet["pump-online"], 0),
            fact(Kind.CONNECTED, fleet["pump-offline"], 0),
            fact(Kind.DISCONNECTED, fleet["pump-offline"], 1, "keepalive_timeout"),
            Fact(Kind.CONNECTED, time=NOON.timestamp(), device_id=unknown.pk, client_id="x", node="emqx@two"),
            fact(Kind.PROVIDER_UNLOADED, None, 2),
        ]
    )
    return fleet


def test_the_list_says_who_is_online(admin_client: Client, fleet: dict[str, Device]) -> None:
    devices = admin_client.get(LIST).context["cl"].result_list
    assert {device.username: str(device.state_of_presence.standing) for device in devices} == {
        "pump-never": "never seen",
        "pump-online": "online",
        "pump-offline": "offline",
        "pump-unknown": "unknown",
    }


def test_it_costs_the_same_however_many_there_are(admin_client: Client, fleet: dict[str, Device]) -> None:
    queries_of(admin_client, LIST)
    few = queries_of(admin_client, LIST)
    for number in range(20):
        write_facts([fact(Kind.CONNECTED, create_device(f"valve-{number}"), 3)])
    assert len(queries_of(admin_client, LIST)) == len(few)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("pump-never", "never seen"),
        ("pump-online", "online since 2026-11-01 12:00:00 UTC"),
        ("pump-offline", "offline since 2026-11-01 12:01:00 UTC: keepalive_timeout"),
        ("pump-unknown", "unknown since 2026-11-01 12:02:00 UTC: broker node detached"),
    ],
)
def test_a_device_s_page_says_since_when_and_why(
    admin_client: Client, fleet: dict[str, Device], name: str, told: str
) -> None:
    assert told in page_of(admin_client, fleet[name])


def test_a_device_s_page_says_when_it_was_seen_last(admin_client: Client, fleet: dict[str, Device]) -> None:
    device = fleet["pump-never"]
    Device.objects.filter(pk=device.pk).update(last_seen_at=NOON)
    for url in (LIST, reverse("admin:accounts_device_change", args=[device.pk])):
        assert "2026-11-01 12:00:00" in admin_client.get(url).content.decode()
    assert "offline since 2026-11-01 12:00:00 UTC" in page_of(admin_client, device)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("accounts/device", "Devices"),
        ("audit/brokernode", "Broker nodes"),
        ("axes/accesslog", "Logins"),
        ("axes/accessattempt", "Failed logins"),
        ("exhookadmin/apikey", "API keys"),
    ],
)
def test_a_list_s_window_is_named_like_its_entry_in_the_menu(
    admin_client: Client, path: str, title: str
) -> None:
    html = admin_client.get(f"/admin/{path}/").content.decode()
    found = re.search(r"<title>\s*(.*?)\s*</title>", html, re.DOTALL)
    assert found is not None
    assert " ".join(found[1].split()) == f"{title} | ExHook Admin"
