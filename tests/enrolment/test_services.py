"""Enrolment: once, for so many, until then, from there; and every attempt is kept."""

from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from accounts import services as accounts_services
from accounts.core.tokens import token_matches
from accounts.models import Device, DeviceGroup
from acl import services as acl_services
from exhookadmin.enrolment.models import EnrolmentAttempt, EnrolmentKey
from exhookadmin.enrolment.services import Refused, create_key, enrol, revoke_keys
from exhookadmin.staff.models import RecordedChange

ADDRESS = "192.0.2.7"


def new_key(**fields: Any) -> str:
    group, _ = DeviceGroup.objects.get_or_create(name="pumps")
    plain = {"name": "line 3", "group": group, "expires_at": timezone.now() + timedelta(days=1)}
    return create_key(**{**plain, **fields})[1]


def try_to(key: str, username: str = "pump-17", client_id: str = "", address: str = ADDRESS) -> str:
    """The reason of a refusal; empty for a device that is enrolled."""
    try:
        enrol(key, username, client_id, address, timezone.now())
    except Refused as refusal:
        return str(refusal)
    return ""


@pytest.mark.django_db
def test_a_device_is_made_with_what_the_key_says_and_a_token():
    key = new_key(attributes={"site": "berlin"}, token_days=30)
    enrolled = enrol(key, "pump-17", "", ADDRESS, timezone.now())
    device = Device.objects.get()
    assert [group.name for group in device.groups.all()] == ["pumps"]
    assert (device.attributes, device.client_id_binding) == ({"site": "berlin"}, "equals_username")
    credential = device.credentials.get()
    assert token_matches(credential.encoded, enrolled.token)
    assert credential.expires_at is not None
    assert EnrolmentKey.objects.get().used == 1
    assert enrolled.token not in repr(enrolled)
    actors = set(
        RecordedChange.objects.exclude(kind="exhookadmin.enrolmentkey").values_list("actor", flat=True)
    )
    assert "enrolment key line 3" in actors


@pytest.mark.django_db
def test_a_device_that_was_entered_before_gets_its_first_token_and_no_second():
    key = new_key()
    accounts_services.create_device("pump-17", groups=DeviceGroup.objects.all(), description="by hand")
    assert try_to(key) == ""
    assert Device.objects.get().description == "by hand"
    assert "exists already" in try_to(key)
    assert Device.objects.get().credentials.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "asked", "reason"),
    [
        pytest.param({"expires_at": timezone.now()}, {}, "expired", id="expired"),
        pytest.param({"networks": "10.0.0.0/8"}, {}, "address", id="from elsewhere"),
        pytest.param({"username_prefix": "fan-"}, {}, "fan-", id="another name"),
        pytest.param({}, {"username": "taken"}, "exists already", id="a device of another group"),
        pytest.param({}, {"username": "off"}, "not to be enrolled", id="a device that is switched off"),
    ],
)
def test_what_a_key_is_not_for(fields: dict[str, Any], asked: dict[str, Any], reason: str):
    key = new_key(**fields)
    accounts_services.create_device("taken")
    accounts_services.create_device("off", groups=DeviceGroup.objects.all(), enabled=False)
    assert reason in try_to(key, **asked)
    attempt = EnrolmentAttempt.objects.get()
    assert (attempt.granted, attempt.key_name, attempt.address) == (False, "line 3", ADDRESS)
    assert reason in attempt.reason
    assert EnrolmentKey.objects.get().used == 0
    assert Device.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["x{}", "{}x", "exe_", "exe_000000000000_x", "", "\x00"])
def test_what_is_no_key(change: str):
    assert "not known" in try_to(change.format(new_key()))
    attempt = EnrolmentAttempt.objects.get()
    assert (attempt.key, attempt.granted) == (None, False)


@pytest.mark.django_db
def test_a_key_ends():
    key = new_key(limit=2)
    assert [try_to(key, f"pump-{number}") for number in range(2)] == ["", ""]
    assert "used up" in try_to(key, "pump-2")
    other = new_key(name="other")
    assert revoke_keys(EnrolmentKey.objects.filter(name="other")) == 1
    assert "revoked" in try_to(other, "pump-3")


@pytest.mark.django_db
def test_a_group_that_may_do_everything_is_not_enrolled_into():
    key = new_key()
    policy = acl_services.create_policy("open", groups=DeviceGroup.objects.all())
    acl_services.create_rule(policy, "allow", "all", "#")
    assert "opens everything" in try_to(key)
    assert not Device.objects.exists()


@pytest.mark.django_db
def test_what_is_wrong_with_the_name_is_told_and_kept():
    key = new_key()
    with pytest.raises(ValidationError):
        enrol(key, "a" * 513, "", ADDRESS, timezone.now())
    with pytest.raises(ValidationError):
        enrol(key, "a\x00b", "", ADDRESS, timezone.now())
    assert EnrolmentAttempt.objects.filter(granted=False).count() == 2
    assert EnrolmentKey.objects.get().used == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_for_the_last_place_one_gets_it():
    key = new_key(limit=1)
    together, answers = Barrier(2), []

    def come(number: int) -> None:
        together.wait()
        answers.append(try_to(key, f"pump-{number}"))
        connection.close()

    threads = [Thread(target=come, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["", "This enrolment key is used up."]
    assert Device.objects.count() == 1


@pytest.mark.django_db
def test_the_key_is_nowhere_in_its_row():
    key = new_key()
    row = EnrolmentKey.objects.values().get()
    assert not [name for name, value in row.items() if key.split("_", 2)[2] in str(value)]
