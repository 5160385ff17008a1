"""The page of a device: presence, what keeps it from connecting, its sessions and its timeline."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import formats, timezone

from accounts import services
from accounts.models import Device, DeviceGroup
from acl import services as acl
from audit.fact import Fact, Kind
from audit.writer import write_facts
from exhookadmin.console.device_page import MOMENTS_SHOWN, SESSIONS_SHOWN, obstacles
from tests.accounts.test_admin import staff
from tests.query_count import queries_of

pytestmark = pytest.mark.django_db

TOMORROW = timezone.now() + timedelta(days=1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def pump() -> Device:
    return services.create_device("pump-17")


def page(device: Device, part: str = "change") -> str:
    return reverse(f"admin:accounts_device_{part}", args=[device.pk])


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def facts(device: Device, *kinds: Kind, minute: int = 0, **fields: Any) -> list[Fact]:
    own: dict[str, Any] = {"client_id": device.username, "address": "192.0.2.7", "node": "emqx@one", **fields}
    return [
        Fact(
            kind,
            time=NOON.timestamp() + 60 * (minute + number),
            device=device.username,
            device_id=device.pk,
            **own,
        )
        for number, kind in enumerate(kinds)
    ]


def test_presence_is_on_top_with_node_and_address(admin_client: Client, pump: Device) -> None:
    write_facts(facts(pump, Kind.CONNECTED))
    text = text_of(admin_client.get(page(pump)))
    assert re.search(r"online since 2026-11-01 12:00:00 UTC", text)
    for words in ("192.0.2.7", "emqx@one"):
        assert words in text
    assert text.index("online") < text.index("Identity")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"enabled": False}, ["disabled", "no live credential"], id="disabled"),
        pytest.param(
            {"valid_from": timezone.now() + timedelta(days=9)}, ["not valid yet", "credential"], id="early"
        ),
        pytest.param({"valid_until": timezone.now()}, ["no longer valid", "credential"], id="late"),
        pytest.param({"certificate_cn": "pump"}, [], id="a certificate is enough"),
        pytest.param({"credential_required": False}, [], id="needs no credential"),
    ],
)
def test_what_keeps_a_device_from_connecting(fields: dict[str, Any], words: list[str]) -> None:
    found = obstacles(services.create_device("pump-17", **fields), timezone.now())
    assert len(found) == len(words)
    assert all(word in obstacle for word, obstacle in zip(words, found, strict=True))


def test_nothing_keeps_one_with_a_live_token_from_connecting(pump: Device) -> None:
    token, _ = services.create_token(pump)
    assert obstacles(pump, timezone.now()) == []
    services.switch_credential(token, enabled=False)
    assert len(obstacles(pump, timezone.now())) == 1


def test_live_sessions_come_before_past_ones(admin_client: Client, pump: Device) -> None:
    write_facts(
        [
            *facts(pump, Kind.CONNECTED, client_id="live-one"),
            *facts(pump, Kind.CONNECTED, Kind.DISCONNECTED, minute=10, client_id="past-one", detail="normal"),
        ]
    )
    html = admin_client.get(page(pump)).content.decode()
    sessions = html[html.index('id="sessions-group"') : html.index('id="timeline-group"')]
    assert sessions.index("live-one") < sessions.index("past-one")
    assert "still connected" in sessions
    assert f"{reverse('admin:audit_session_changelist')}?device=pump-17" in sessions


def test_the_timeline_has_connections_decisions_and_changes(admin_client: Client, pump: Device) -> None:
    write_facts(
        [
            *facts(pump, Kind.CONNECTED),
            *facts(
                pump,
                Kind.AUTHORIZE,
                minute=1,
                allowed=False,
                reason="rule_denies",
                action="publish",
                topic="a/b",
            ),
            *facts(pump, Kind.MESSAGE_PUBLISH, minute=2, topic="hidden/by/the/hundred"),
        ]
    )
    services.set_enabled(Device.objects.all(), False)
    text = text_of(admin_client.get(page(pump, "timeline")))
    told = [text.index(words) for words in ("enabled: on", "added the device", "a/b", "connected")]
    assert told == sorted(told), "newest first"
    assert "hidden/by/the/hundred" not in text


def test_what_another_device_of_that_name_did_is_not_told(admin_client: Client, pump: Device) -> None:
    write_facts(facts(pump, Kind.CONNECTED, client_id="of-the-former-one"))
    services.delete_devices(Device.objects.all())
    services.create_device("other")  # SQLite would give the number of the last one again
    anew = services.create_device("pump-17")
    assert "of-the-former-one" not in text_of(admin_client.get(page(anew, "timeline")))


def test_the_way_to_older_moments_ends_at_the_first(admin_client: Client, pump: Device) -> None:
    write_facts([fact for minute in range(120) for fact in facts(pump, Kind.CONNECTED, minute=minute)])
    html = admin_client.get(page(pump)).content.decode()
    assert html.count('class="exhook-moment"') == MOMENTS_SHOWN
    pages = 0
    while link := re.search(r'href="([^"]+before=[^"]+)"', html):
        html = admin_client.get(link[1]).content.decode()
        pages += 1
        assert pages < 6
    assert pages == 3
    assert "2026-11-01 12:00:00 UTC" in html


def test_a_place_that_is_none_shows_the_newest(admin_client: Client, pump: Device) -> None:
    assert "added the device" in text_of(admin_client.get(page(pump, "timeline") + "?before=nonsense"))


def test_without_the_right_to_events_there_are_changes_only(pump: Device) -> None:
    write_facts(facts(pump, Kind.CONNECTED, client_id="not-for-everybody"))
    client = staff("view_device")
    for part in ("change", "timeline"):
        text = text_of(client.get(page(pump, part)))
        assert "added the device" in text
        assert "Search its events" not in text
    assert "not-for-everybody" not in text_of(client.get(page(pump, "timeline")))


def test_without_the_right_to_devices_there_is_nothing(pump: Device) -> None:
    assert staff("view_event").get(page(pump, "timeline")).status_code == 403


def test_a_device_that_is_gone_has_no_timeline(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:accounts_device_timeline", args=[4711])).status_code == 404


def test_a_page_with_much_on_it_costs_few_queries(admin_client: Client, pump: Device) -> None:
    pump.groups.set([services.save_group(DeviceGroup(name=f"group {number}")) for number in range(5)])
    for number in range(10):
        services.create_token(pump, expires_at=timezone.now() + timedelta(days=number + 1))
        acl.create_rule(pump, "allow", "all", f"dev/{number}/#")
        acl.create_policy(f"policy {number}", groups=pump.groups.all())
    write_facts(
        [
            fact
            for number in range(SESSIONS_SHOWN + 5)
            for fact in facts(pump, Kind.CONNECTED, Kind.DISCONNECTED, minute=2 * number, detail="normal")
        ]
    )
    queries_of(admin_client, page(pump))
    assert len(queries_of(admin_client, page(pump))) <= 50
    assert len(queries_of(admin_client, page(pump, "timeline"))) <= 15


def test_it_was_not_seen_last_before_it_connected(admin_client: Client, pump: Device) -> None:
    """Sightings are stored once a minute; the session beside them is exact."""
    write_facts(facts(pump, Kind.CONNECTED))
    Device.objects.filter(pk=pump.pk).update(last_seen_at=NOON - timedelta(seconds=10))
    assert "Last seen 2026-11-01 12:00:00 UTC" in text_of(admin_client.get(page(pump)))


def test_moments_are_written_alike_everywhere(admin_client: Client, pump: Device) -> None:
    Device.objects.filter(pk=pump.pk).update(created_at=NOON)
    assert "Created 2026-11-01 12:00:00 UTC" in text_of(admin_client.get(page(pump)))
    assert formats.localize(NOON) == "2026-11-01 12:00:00 UTC"
