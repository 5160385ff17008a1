"""Credentials over HTTP: a secret leaves once, in the answer to the call that made it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import services
from accounts.core.tokens import token_matches
from accounts.models import Credential, Device
from accounts.passwords import password_matches
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def device(db: None) -> Device:
    return services.create_device("pump-17")


@pytest.fixture
def path(device: Device) -> str:
    return f"devices/{device.pk}/credentials/"


def test_a_token_is_shown_once(path: str, call: Caller):
    made = call("post", path, {"kind": "token", "label": "2026"})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    token = made.json()["token"]
    stored = Credential.objects.get()
    assert token_matches(stored.encoded, token)
    for answer in (call("get", path), call("get", f"{path}{stored.pk}/")):
        assert token not in answer.content.decode()
        assert stored.encoded not in answer.content.decode()


def test_a_password_is_taken_and_not_shown(path: str, call: Caller):
    made = call("post", path, {"kind": "password", "password": " correct horse "})
    assert made.status_code == 201
    assert "horse" not in made.content.decode()
    assert password_matches(Credential.objects.get().encoded, " correct horse ")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "password"}, "password"),
        ({"kind": "token", "password": "mine"}, "password"),
        ({"kind": "password", "password": "exh_" + "a" * 32}, "password"),
        ({"kind": "key"}, "kind"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(body: dict, field: str, path: str, call: Caller):
    answer = call("post", path, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Credential.objects.exists()


def test_rotation_keeps_the_old_one_for_the_overlap(device: Device, path: str, call: Caller):
    old, _ = services.create_token(device, "pump house")
    made = call("post", f"{path}{old.pk}/rotate/", {"overlap_seconds": 3600})
    assert made.status_code == 201
    assert made.json()["label"] == "pump house"
    old.refresh_from_db()
    assert old.expires_at is not None
    assert timedelta(minutes=59) < old.expires_at - timezone.now() <= timedelta(hours=1)
    assert Credential.objects.count() == 2


def test_rotation_prolongs_nothing(device: Device, path: str, call: Caller):
    soon = timezone.now() + timedelta(minutes=1)
    old, _ = services.create_token(device, expires_at=soon)
    call("post", f"{path}{old.pk}/rotate/", {"overlap_seconds": 3600})
    old.refresh_from_db()
    assert old.expires_at == soon


def test_revoking_and_deleting(device: Device, path: str, call: Caller):
    credential, _ = services.create_token(device)
    assert call("patch", f"{path}{credential.pk}/", {"enabled": False}).json()["enabled"] is False
    assert call("delete", f"{path}{credential.pk}/").status_code == 204
    assert not Credential.objects.exists()


def test_another_device_has_none_of_it(device: Device, call: Caller):
    credential, _ = services.create_token(device)
    other = services.create_device("pump-18")
    assert call("get", f"devices/{other.pk}/credentials/").json()["results"] == []
    assert call("get", f"devices/{other.pk}/credentials/{credential.pk}/").status_code == 404
    assert call("get", "devices/0/credentials/").status_code == 404
