"""The triggers: which change of which column in which table the feed is told of."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.core.tokens import encode_token
from accounts.models import Credential, Device, DeviceGroup
from acl.models import Policy, Rule
from exhookadmin.exhook.feed_postgresql import CHANNEL, change_of
from exhookadmin.exhook.feed_sqlite import Poller
from exhookadmin.exhook.memory import Change
from exhookadmin.exhook.service import new_provider
from exhookadmin.migrations import _change_triggers_postgresql
from tests.exhook.feed_world import PUMP, World, new_world

pytestmark = pytest.mark.django_db

WATCHED = import_module("exhookadmin.migrations.0002_change_triggers").WATCHED
POLICIES = Change(policies=True)

Told = Callable[[], list[Change]]


@pytest.fixture
def world(database: None) -> World:
    return new_world()


@pytest.fixture
def told(world: World) -> Iterator[Told]:
    """What was told since the last call; on SQLite devices are not named."""
    if connection.vendor == "sqlite":
        yield _moves()
        return
    with closing(psycopg2.connect(**connection.get_connection_params())) as listening:
        listening.autocommit = True
        listening.cursor().execute(f"LISTEN {CHANNEL}")
        yield lambda: _heard(listening)


def _moves() -> Told:
    poller = Poller()
    poller.open()
    poller.wake()  # without the wait

    def moved() -> list[Change]:
        change = poller.wait()
        return [] if change is None else [change]

    return moved


def _heard(listening: Any) -> list[Change]:
    # Notifications arrive in the order of their commits: with this one, all before it are here.
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {CHANNEL}, 'end'")
    payloads: list[str] = []
    deadline = time.monotonic() + 60
    while "end" not in payloads:
        assert time.monotonic() < deadline
        listening.poll()
        payloads += [notify.payload for notify in listening.notifies]
        listening.notifies.clear()
    return [change_of(payload) for payload in payloads[:-1]]


def expected(change: Change) -> list[Change]:
    if connection.vendor == "postgresql":
        return [change]
    return [Change(everything=bool(change.device_ids), policies=change.policies)]


# --- Columns ---

DEVICE_IN_GROUP, POLICY_OF_DEVICE, POLICY_OF_GROUP = (
    Device.groups.through,
    Policy.devices.through,
    Policy.groups.through,
)

# A new value for each column of each watched table, in a row of the world's, and whether a
# decision, or the reason that is recorded with it, depends on the column.
NEW_VALUES: dict[type[models.Model], dict[str, tuple[object, bool]]] = {
    Device: {
        "username": ("renamed", True),
        "description": ("x", False),
        "enabled": (False, True),
        "superuser": (True, True),
        "client_id_binding": ("any", True),
        "client_id": ("x", True),
        "networks": ("192.0.2.0/24", True),
        "valid_from": (timezone.now(), True),
        "valid_until": (timezone.now(), True),
        "certificate_cn": ("x", True),
        "credential_required": (False, True),
        "attributes": ({"site": "berlin"}, True),
        "created_at": (timezone.now(), False),
        "updated_at": (timezone.now(), False),
        "last_seen_at": (timezone.now(), False),
    },
    Credential: {
        "device_id": ("other_device", True),
        "kind": ("password", True),
        "label": ("x", False),
        "encoded": (encode_token("x"), True),
        "enabled": (False, True),
        "expires_at": (timezone.now(), True),
        "last_used_at": (timezone.now(), False),
        "created_at": (timezone.now(), False),
    },
    DEVICE_IN_GROUP: {"device_id": ("other_device", True), "devicegroup_id": ("other_group", True)},
    Policy: {
        "name": ("renamed", True),
        "description": ("x", False),
        "enabled": (False, True),
        "everyone": (True, True),
        "created_at": (timezone.now(), False),
        "updated_at": (timezone.now(), False),
    },
    POLICY_OF_DEVICE: {"policy_id": ("spare", True), "device_id": ("other_device", True)},
    POLICY_OF_GROUP: {"policy_id": ("spare", True), "devicegroup_id": ("other_group", True)},
    Rule: {
        "policy_id": ("spare", True),
        "device_id": ("other_device", True),
        "priority": (7, True),
        "effect": ("deny", True),
        "action": ("all", True),
        "topic_filter": ("x", True),
        "literal": (True, True),
        "networks": ("192.0.2.0/24", True),
        "enabled": (False, True),
        "note": ("x", False),
    },
}


def test_every_table_that_a_decision_reads_is_watched(world: World):
    """By what the directory really asks: a new table in a decision must be watched too."""
    with CaptureQueriesContext(connection) as captured:
        directory = new_provider(lambda fact: None).directory
        directory.load_policies()
        directory.find(PUMP)
    asked = " ".join(query["sql"] for query in captured)
    read = {table for table in connection.introspection.table_names() if f'"{table}"' in asked}
    # A group's own row is its name: who belongs to it, and what applies to it, is elsewhere.
    assert read - {"accounts_devicegroup"} == set(WATCHED)
    assert {model._meta.db_table for model in NEW_VALUES} == set(WATCHED)


@pytest.mark.parametrize("model", NEW_VALUES, ids=lambda model: model._meta.db_table)
def test_of_every_column_it_is_said_whether_it_decides(model: type[models.Model]):
    assert {field.column for field in model._meta.concrete_fields} == {"id", *NEW_VALUES[model]}
    decide = {column for column, (_, decides) in NEW_VALUES[model].items() if decides}
    assert decide == set(WATCHED[model._meta.db_table]) - {"id"}


def row_and_change(
    world: World, model: type[models.Model], column: str
) -> tuple[models.QuerySet[Any], Change]:
    """A row of the table, and what is told when it changes."""
    device = frozenset({world.device.pk})
    rows: dict[type[models.Model], tuple[models.QuerySet[Any], Change]] = {
        Device: (Device.objects.filter(pk=world.device.pk), Change(device)),
        Credential: (Credential.objects.all(), Change(device)),
        DEVICE_IN_GROUP: (DEVICE_IN_GROUP.objects.all(), Change(device)),
        Policy: (Policy.objects.filter(pk=world.attached.pk), POLICIES),
        POLICY_OF_DEVICE: (POLICY_OF_DEVICE.objects.all(), Change(device)),
        POLICY_OF_GROUP: (POLICY_OF_GROUP.objects.filter(policy=world.of_group), POLICIES),
        Rule: (Rule.objects.filter(policy=world.attached), POLICIES),
    }
    if (model, column) == (Rule, "device_id"):
        return Rule.objects.filter(pk=world.own_rule.pk), Change(device)
    return rows[model]


@pytest.mark.parametrize(
    ("model", "column", "value", "decides"),
    [
        pytest.param(model, column, value, decides, id=f"{model._meta.db_table}.{column}")
        for model, columns in NEW_VALUES.items()
        for column, (value, decides) in columns.items()
    ],
)
def test_a_changed_column_is_told_where_it_decides(
    world: World, told: Told, model: type[models.Model], column: str, value: object, decides: bool
):
    rows, change = row_and_change(world, model, column)
    if column.endswith("_id"):
        value = getattr(world, str(value), value)
        value = getattr(value, "pk", value)
    if column == "device_id":
        change = Change(change.device_ids | {world.other_device.pk})
    if column in ("username", "certificate_cn"):
        change = Change(change.device_ids, new_names=True)
    rows.update(**{column: value})
    assert told() == (expected(change) if decides else [])
    # Once more, the same: nothing has changed.
    rows.update(**{column: value})
    assert told() == []


def test_what_is_saved_as_it_is_is_no_change(world: World, told: Told):
    for model in NEW_VALUES:
        for row in model._default_manager.all():
            row.save()
    DeviceGroup.objects.filter(pk=world.group.pk).update(name="renamed", description="x")
    assert told() == []


# --- Installing ---


def test_the_migration_can_be_undone_and_done_again(world: World, told: Told):
    call_command("migrate", "exhookadmin", "0001", verbosity=0)
    try:
        Device.objects.update(enabled=False)
        assert told() == []
    finally:
        call_command("migrate", verbosity=0)
    Device.objects.filter(pk=world.device.pk).update(enabled=True)
    assert told() == expected(Change(frozenset({world.device.pk})))


def test_both_ends_name_the_same_channel():
    assert _change_triggers_postgresql.CHANNEL == CHANNEL
