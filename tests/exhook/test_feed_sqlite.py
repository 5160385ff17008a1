"""The change feed on SQLite: the revision, and the file that it is in."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from accounts.models import Device
from acl.models import Rule
from exhookadmin.exhook.feed import FeedState
from exhookadmin.exhook.feed_sqlite import Poller
from exhookadmin.exhook.memory import Change
from exhookadmin.models import Revision
from tests.endpoint import wait_until
from tests.exhook.feed_world import AT_FIRST, World, becomes, may, new_world, running_feed
from tests.exhook.feed_writes import execute_elsewhere

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own"),
]

DEVICES, POLICIES = Change(everything=True), Change(policies=True)
EVERYTHING = Change(everything=True, policies=True)


@pytest.fixture
def world(database: None) -> World:
    return new_world()


@pytest.fixture
def poller(world: World) -> Poller:
    poller = Poller()
    poller.open()
    # Without the wait.
    poller.wake()
    return poller


def test_it_sees_a_change_once(poller: Poller):
    assert poller.wait() is None
    Device.objects.create(username="new")
    assert poller.wait() == DEVICES
    assert poller.wait() is None


def test_policies_and_devices_are_told_apart(world: World, poller: Poller):
    """Compiling policies is the expensive part, and devices change all the time."""
    Rule.objects.filter(policy=world.spare).update(enabled=False)
    assert poller.wait() == POLICIES
    Rule.objects.filter(device=world.device).update(enabled=False)
    assert poller.wait() == DEVICES
    Rule.objects.filter(pk=world.own_rule.pk).update(device=None, policy=world.spare)
    assert poller.wait() == EVERYTHING


def test_a_revision_that_begins_anew_is_another_one(poller: Poller):
    """manage.py flush empties its table too."""
    before = Revision.objects.get()
    assert before.devices != 0
    Revision.objects.all().delete()
    assert poller.wait() == EVERYTHING
    Device.objects.create(username="new")
    assert poller.wait() == EVERYTHING
    Device.objects.create(username="newer")
    assert poller.wait() == DEVICES
    after = Revision.objects.get()
    assert abs(after.devices - before.devices) > 1000
    assert abs(after.policies - before.policies) > 1000


@pytest.mark.parametrize(
    "replace",
    [
        pytest.param(
            "INSERT OR IGNORE INTO acl_policy_devices (policy_id, device_id) VALUES (%s, %s)", id="ignore"
        ),
        pytest.param(
            "INSERT OR REPLACE INTO acl_policy_devices (policy_id, device_id) VALUES (%s, %s)", id="replace"
        ),
        pytest.param(
            "REPLACE INTO acl_policy_devices (policy_id, device_id) VALUES (%s, %s)", id="replace, short"
        ),
    ],
)
def test_how_a_statement_resolves_conflicts_is_its_own_affair(world: World, poller: Poller, replace: str):
    """Neither does the row come to be, or move, in the way that a statement asks for its own rows."""
    attachment = (world.spare.pk, world.device.pk)
    Revision.objects.all().delete()
    assert poller.wait() == EVERYTHING
    execute_elsewhere((replace, attachment))
    assert poller.wait() == EVERYTHING
    for statement in ("DELETE FROM acl_policy_devices WHERE policy_id = %s AND device_id = %s", replace):
        execute_elsewhere((statement, attachment))
        assert poller.wait() == DEVICES


def test_a_file_that_is_gone_is_a_lost_database(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "nowhere.sqlite3"))
    with pytest.raises(OSError, match="nowhere"):
        poller.wait()


def test_another_file_in_its_place_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A restored backup, moved over the file while the endpoint runs."""
    original, backup, live = Path(connection.settings_dict["NAME"]), tmp_path / "backup", tmp_path / "live"
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    shutil.copy(backup, live)
    with closing(sqlite3.connect(backup)) as other:
        other.execute("UPDATE accounts_device SET enabled = 0")
        revision = Revision.objects.get()
        other.execute("UPDATE exhookadmin_revision SET devices = ?", (revision.devices,))
        other.commit()
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", str(live))
    try:
        with running_feed() as (directory, feed):
            assert may(directory) == AT_FIRST
            os.replace(backup, live)
            connection.close()
            wait_until(becomes(directory, set()))
            wait_until(lambda: feed.last_error == OperationalError.__name__)
            wait_until(lambda: feed.state == FeedState.POLLING)
    finally:
        connection.close()
