"""Rotating a device's credentials in the admin."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.core.tokens import token_matches
from accounts.models import Credential, Device
from tests.accounts.test_admin import TOKEN, everything_stored, page, send, staff, the_token
from tests.query_count import queries_of
from tests.recorded import recorded
from tests.staff.people import browser, member

pytestmark = pytest.mark.django_db
WEEK = timedelta(days=7)


@pytest.fixture
def pump() -> Device:
    return services.create_device("pump-17")


def rotate_page(credential: Credential) -> str:
    return page(credential.device, "credentials", credential.pk, "rotate")


def ends_in(credential: Credential) -> timedelta | None:
    credential.refresh_from_db()
    return credential.expires_at - timezone.now() if credential.expires_at else None


def text_of(response: Any) -> str:
    return re.sub(r"<[^>]+>|\s+", " ", response.content.decode())


def test_rotating_shows_a_new_token_once_and_ends_the_old_one_after_a_week(
    admin_client: Client, pump: Device
) -> None:
    old, _ = services.create_token(pump, "in the field")
    other, _ = services.create_token(pump, "spare")
    response = send(admin_client, rotate_page(old), overlap="604800")
    token = the_token(response)
    assert "no-store" in response["Cache-Control"]
    assert "mosquitto_sub" in response.content.decode()
    new = pump.credentials.latest("pk")
    assert token_matches(new.encoded, token)
    assert (new.label, new.expires_at) == ("in the field", None)
    left = ends_in(old)
    assert left is not None
    assert WEEK - timedelta(minutes=5) < left <= WEEK
    assert ends_in(other) is None, "the others stay as they are"
    assert token.removeprefix("exh_") not in everything_stored()
    assert [line.split(":")[0] for line in recorded(actor="admin")] == ["changed pump-17", "added pump-17"]


def test_a_week_is_what_the_form_offers(admin_client: Client, pump: Device) -> None:
    old, _ = services.create_token(pump)
    html = admin_client.get(rotate_page(old)).content.decode()
    assert re.search(r'<option value="604800"\s+selected', html)


def test_a_password_is_rotated_into_a_token(admin_client: Client, pump: Device) -> None:
    old = services.add_password(pump, "old horse")
    the_token(send(admin_client, rotate_page(old), overlap="0"))
    left = ends_in(old)
    assert left is not None
    assert left <= timedelta(0)


def test_a_device_s_live_tokens_are_rotated_at_once(admin_client: Client, pump: Device) -> None:
    first, second = (services.create_token(pump, label)[0] for label in ("first", "second"))
    password = services.add_password(pump, "old horse")
    assert "all 2 live tokens" in admin_client.get(page(pump, "rotate")).content.decode()
    the_token(send(admin_client, page(pump, "rotate"), overlap="86400"))
    assert ends_in(first)
    assert ends_in(second)
    assert ends_in(password) is None
    assert pump.credentials.latest("pk").label == "second"


def test_without_a_live_token_the_way_leads_to_a_new_one(admin_client: Client, pump: Device) -> None:
    services.switch_credential(services.create_token(pump)[0], enabled=False)
    response = admin_client.get(page(pump, "rotate"), follow=True)
    assert response.redirect_chain[-1][0] == page(pump, "new-token")
    assert "has no live token" in response.content.decode()


@pytest.mark.parametrize("which", ["credential", "device"])
def test_a_reload_rotates_nothing(admin_client: Client, pump: Device, which: str) -> None:
    old, _ = services.create_token(pump)
    url = rotate_page(old) if which == "credential" else page(pump, "rotate")
    sent = {"newest": str(old.pk), "overlap": "604800"}
    the_token(admin_client.post(url, sent))
    again = admin_client.post(url, sent)
    assert "This page was used before" in again.content.decode()
    assert not TOKEN.search(again.content.decode())
    assert pump.credentials.count() == 2


@pytest.mark.parametrize("overlap", ["", "-1", "5", "for ever"])
def test_another_overlap_is_refused(admin_client: Client, pump: Device, overlap: str) -> None:
    old, _ = services.create_token(pump)
    response = send(admin_client, rotate_page(old), overlap=overlap)
    assert list(response.context["form"].errors) == ["overlap"]
    assert pump.credentials.count() == 1
    assert ends_in(old) is None


def test_the_page_warns_of_an_old_token_that_is_still_used(admin_client: Client, pump: Device) -> None:
    old, _ = services.create_token(pump, "old")
    services.rotate_token(old, WEEK)
    assert "Nobody has logged in with it since" in text_of(admin_client.get(page(pump)))
    later = timezone.now() + timedelta(seconds=90)
    services.record_sightings({}, {old.pk: later.timestamp()})
    text = text_of(admin_client.get(page(pump)))
    assert "last used just now" in text
    assert "Still in use although it has been replaced" in text


def test_the_page_costs_the_same_however_many_credentials_there_are(
    admin_client: Client, pump: Device
) -> None:
    services.create_token(pump)
    queries_of(admin_client, page(pump))
    few = queries_of(admin_client, page(pump))
    for _ in range(5):
        services.create_token(pump)
    assert len(queries_of(admin_client, page(pump))) == len(few) <= 50


@pytest.mark.parametrize(
    "permissions",
    [
        pytest.param(["view_device", "add_credential", "change_credential"], id="no right to the device"),
        pytest.param(["change_device", "change_credential"], id="no right to add"),
        pytest.param(["change_device", "add_credential"], id="no right to change"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_who_may_not_rotate(pump: Device, permissions: list[str], method: str) -> None:
    old, _ = services.create_token(pump)
    client = staff(*permissions)
    for url in (rotate_page(old), page(pump, "rotate")):
        assert getattr(client, method)(url, {"overlap": "0"}).status_code == 403
    assert pump.credentials.count() == 1
    assert ends_in(old) is None


def test_an_operator_rotates_nothing_of_a_superuser_device() -> None:
    root = services.create_device("root", superuser=True)
    old, _ = services.create_token(root)
    client = browser(member("operator"))
    for url in (rotate_page(old), page(root, "rotate")):
        response = send(client, url, overlap="604800")
        assert "superuser device" in response.content.decode()
        assert not TOKEN.search(response.content.decode())
    assert root.credentials.count() == 1
    assert ends_in(old) is None, "what came before the refusal is undone"


def test_a_credential_is_only_rotated_through_its_own_device(admin_client: Client, pump: Device) -> None:
    old, _ = services.create_token(services.create_device("other"))
    assert admin_client.get(page(pump, "credentials", old.pk, "rotate")).status_code == 404
