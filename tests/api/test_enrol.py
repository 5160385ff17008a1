"""Enrolment over HTTP: off by default; a token leaves once."""

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from accounts.core.tokens import looks_like_token
from accounts.models import Device, DeviceGroup
from accounts.services import save_group
from exhookadmin.enrolment.services import create_key
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def line(db: None) -> Caller:
    group = save_group(DeviceGroup(name="pumps"))
    ends = timezone.now() + timedelta(days=1)
    return Caller(create_key(name="line 3", group=group, expires_at=ends, username_prefix="pump-")[1])


def test_it_is_off_by_default(line: Caller):
    assert line("post", "enrol/", {"username": "pump-17"}).status_code == 404
    assert not Device.objects.exists()


@override_settings(ENROLMENT=True)
def test_a_device_obtains_its_token_once(line: Caller):
    answer = line("post", "enrol/", {"username": "pump-17", "client_id": "p17"})
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    body = answer.json()
    assert (body["username"], body["client_id"], body["expires_at"]) == ("pump-17", "p17", None)
    assert looks_like_token(body["token"])
    again = line("post", "enrol/", {"username": "pump-17"})
    assert (again.status_code, again["Content-Type"]) == (403, "application/problem+json")


@override_settings(ENROLMENT=True)
@pytest.mark.parametrize(
    ("key", "body", "status"),
    [
        (None, {"username": "fan-1"}, 403),
        (None, {}, 400),
        (None, {"username": "pump-\x00"}, 400),
        ("exe_000000000000_x", {"username": "pump-1"}, 403),
        ("", {"username": "pump-1"}, 401),
    ],
)
def test_what_is_refused(key: str | None, body: dict, status: int, line: Caller):
    caller = line if key is None else Caller(key)
    answer = caller("post", "enrol/", body)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert not Device.objects.exists()


@override_settings(ENROLMENT=True)
def test_guessing_is_slowed_down(line: Caller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("exhookadmin.api.enrol.AddressThrottle.rate", "2/minute", raising=False)
    monkeypatch.setattr("exhookadmin.api.enrol.AddressThrottle.scope", "enrolment of this test")
    caller = Caller("exe_000000000000_x")
    assert [caller("post", "enrol/", {"username": "x"}).status_code for _ in range(3)] == [403, 403, 429]
