"""The same POST with the same Idempotency-Key is done once, and answered the same."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import services
from accounts.models import Credential, Device
from exhookadmin.api.models import RememberedAnswer
from tests.api.conftest import Caller, NewCaller

pytestmark = pytest.mark.django_db


def test_a_device_is_made_once(call: Caller):
    first = call("post", "devices/", {"username": "pump-1"}, idempotency_key="a")
    again = call("post", "devices/", {"username": "pump-1"}, idempotency_key="a")
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.status_code == 201
    assert Device.objects.count() == 1


def test_a_token_is_answered_again_and_lies_in_no_table(call: Caller):
    path = f"devices/{services.create_device('pump-1').pk}/credentials/"
    first = call("post", path, {"kind": "token"}, idempotency_key="a").json()
    assert call("post", path, {"kind": "token"}, idempotency_key="a").json() == first
    assert Credential.objects.count() == 1
    stored = bytes(RememberedAnswer.objects.get().answer or b"")
    assert stored
    assert first["token"].encode() not in stored


@pytest.mark.parametrize("name", ["b", ""])
def test_another_key_or_none_does_it_again(name: str, call: Caller):
    path = f"devices/{services.create_device('pump-1').pk}/credentials/"
    call("post", path, {"kind": "token"}, idempotency_key="a")
    call("post", path, {"kind": "token"}, idempotency_key=name)
    assert Credential.objects.count() == 2


def test_the_same_key_for_another_request_is_refused(call: Caller):
    call("post", "devices/", {"username": "pump-1"}, idempotency_key="a")
    answer = call("post", "devices/", {"username": "pump-2"}, idempotency_key="a")
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert Device.objects.count() == 1


def test_a_refusal_is_not_remembered(call: Caller):
    assert call("post", "groups/", {"name": ""}, idempotency_key="a").status_code == 400
    assert call("post", "groups/", {"name": "pumps"}, idempotency_key="a").status_code == 201
    assert RememberedAnswer.objects.count() == 1


def test_callers_do_not_meet(caller_with: NewCaller):
    for caller in (caller_with(), caller_with()):
        caller("post", "devices/", {"username": f"pump-{caller.key[-4:]}"}, idempotency_key="a")
    assert Device.objects.count() == 2


def test_answers_are_forgotten_after_a_day(call: Caller):
    call("post", "groups/", {"name": "pumps"}, idempotency_key="a")
    RememberedAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert call("post", "groups/", {"name": "pumps"}, idempotency_key="a").status_code == 400


def test_a_key_has_a_length(call: Caller):
    assert call("post", "groups/", {"name": "pumps"}, idempotency_key="a" * 256).status_code == 400
