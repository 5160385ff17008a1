"""Last seen and last used: many at once, only forward, and at most once a minute each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Credential, Device
from accounts.services import create_device, create_token, record_sightings
from accounts.sightings import STORED_EVERY_SECONDS

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(seconds: float) -> float:
    return NOON.timestamp() + seconds


def seen(device: Device) -> float | None:
    last_seen = Device.objects.get(pk=device.pk).last_seen_at
    return None if last_seen is None else (last_seen - NOON).total_seconds()


def test_devices_and_credentials_are_stored():
    device, other = create_device("pump-17"), create_device("pump-18")
    credential, _ = create_token(device)
    record_sightings({device.pk: at(1.25)}, {credential.pk: at(2.5)})
    assert (seen(device), seen(other)) == (1.25, None)
    assert Credential.objects.get().last_used_at == NOON + timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("second", "stored"),
    [
        (-1, 0),
        (0, 0),
        (STORED_EVERY_SECONDS - 0.5, 0),
        (STORED_EVERY_SECONDS, STORED_EVERY_SECONDS),
        (7 * 86_400.25, 7 * 86_400.25),
    ],
)
def test_only_forward_and_not_for_every_moment(second: float, stored: float):
    device = create_device("pump-17")
    record_sightings({device.pk: at(0)}, {})
    record_sightings({device.pk: at(second)}, {})
    assert seen(device) == stored


def test_nothing_else_of_a_device_changes():
    device = create_device("pump-17")
    before = dict(Device.objects.values().get())
    record_sightings({device.pk: at(0)}, {})
    after = dict(Device.objects.values().get())
    assert after == before | {"last_seen_at": NOON}


def test_what_has_been_deleted_meanwhile_is_nothing():
    device = create_device("pump-17")
    record_sightings({device.pk: at(0), device.pk + 1: at(0)}, {17: at(0)})
    assert seen(device) == 0
    assert Device.objects.count() == 1


def test_thousands_take_one_statement_each(django_assert_max_num_queries: Any):
    devices = Device.objects.bulk_create(Device(username=f"pump-{number}") for number in range(3_000))
    sighted = {device.pk: at(number) for number, device in enumerate(devices)}
    # SQLite prepares one and runs it for each, inside a transaction.
    with django_assert_max_num_queries(3):
        record_sightings(sighted, {})
    assert [seen(device) for device in (devices[0], devices[-1])] == [0, 2_999]


def test_nothing_is_nothing(django_assert_num_queries: Any):
    with django_assert_num_queries(0):
        record_sightings({}, {})
