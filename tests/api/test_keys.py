"""API keys: shown once, stored as a digest, ended by revocation and by time, bound to networks."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from exhookadmin.api.keys import create_key, find_key, revoke_keys
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope
from tests.api.conftest import Caller, NewCaller

pytestmark = pytest.mark.django_db


def test_the_key_is_nowhere_in_its_row_or_repr():
    key, text = create_key("ci", [Scope.CHECK])
    secret = text.split("_", 2)[2]
    assert find_key(text) == key
    row = ApiKey.objects.filter(pk=key.pk).values().get()
    assert not [name for name, value in row.items() if secret in str(value)]
    assert secret not in repr(key)


@pytest.mark.parametrize("change", ["", "x", "exk_", "exk_000000000000_x", "{}x", "{} ", "exk_{}"])
def test_what_is_not_the_key_proves_nothing(change: str):
    _, text = create_key("ci", [Scope.CHECK])
    assert find_key(change.format(text)) is None


def test_a_key_ends_by_revocation_and_by_time():
    _, text = create_key("ci", [Scope.CHECK], expires_at=timezone.now() + timedelta(hours=1))
    assert find_key(text)
    ApiKey.objects.update(expires_at=timezone.now())
    assert find_key(text) is None
    ApiKey.objects.update(expires_at=None)
    assert find_key(text)
    assert revoke_keys(ApiKey.objects.all()) == 1
    assert revoke_keys(ApiKey.objects.all()) == 0
    assert find_key(text) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "", "scopes": ["check"]}, "name"),
        ({"name": "ci", "scopes": []}, "scopes"),
        ({"name": "ci", "scopes": ["everything"]}, "scopes"),
        ({"name": "ci", "scopes": ["check"], "networks": "nowhere"}, "networks"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(fields: dict, field: str):
    with pytest.raises(ValidationError) as error:
        create_key(**fields)
    assert list(error.value.message_dict) == [field]


@pytest.mark.parametrize(("networks", "status"), [("127.0.0.0/8", 200), ("192.0.2.0/24", 401), ("", 200)])
def test_a_key_may_be_bound_to_networks(networks: str, status: int, caller_with: NewCaller):
    assert caller_with(Scope.DEVICES_READ, networks=networks)("get", "devices/").status_code == status


def test_its_use_is_noted_to_the_minute(caller_with: NewCaller):
    caller = caller_with(Scope.DEVICES_READ)
    caller("get", "devices/")
    first = ApiKey.objects.get().last_used_at
    assert first
    caller("get", "devices/")
    assert ApiKey.objects.get().last_used_at == first


def test_who_calls_too_often_is_told_when_to_come_again(
    caller_with: NewCaller, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("exhookadmin.api.throttling.KeyThrottle.rate", "2/minute", raising=False)
    busy, other = caller_with(Scope.DEVICES_READ), caller_with(Scope.DEVICES_READ)
    assert [busy("get", "devices/").status_code for _ in range(3)] == [200, 200, 429]
    answer = busy("get", "devices/")
    assert 0 < int(answer["Retry-After"]) <= 61
    assert other("get", "devices/").status_code == 200


def test_the_command_makes_lists_and_revokes(capsys: pytest.CaptureFixture[str]):
    call_command("api_key", "create", "ci", "--scope", "devices:read", "--days", "30")
    text = capsys.readouterr().out.strip()
    assert Caller(text)("get", "devices/").status_code == 200
    call_command("api_key", "list")
    listed = capsys.readouterr().out
    assert "live" in listed
    assert "ci" in listed
    assert text.split("_", 2)[2] not in listed
    call_command("api_key", "revoke", "ci")
    assert Caller(text)("get", "devices/").status_code == 401
    with pytest.raises(CommandError):
        call_command("api_key", "revoke", "nobody")
    with pytest.raises(CommandError):
        call_command("api_key", "create", "ci", "--scope", "check")
