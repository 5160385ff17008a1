"""The change feed: whatever is changed in the database, and by whomever, takes effect here."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, models, transaction
from django.utils import timezone

from accounts import services as accounts_services
from accounts.core.identity import DEFAULT_ORDER
from accounts.core.tokens import encode_token
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl_services
from acl.models import Policy, Rule
from acl.rulesets import load_policy_book
from exhookadmin.exhook import directory as directory_module
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.feed import Feed, FeedState
from exhookadmin.exhook.service import new_provider
from tests.endpoint import wait_until
from tests.exhook.feed_world import (
    AT_FIRST,
    ATTACHED,
    ATTRIBUTE,
    BY_CN,
    EVERYONE,
    GROUP,
    LOGIN,
    OTHER_GROUP,
    OWN,
    PUMP,
    SECOND_LOGIN,
    SECOND_TOKEN,
    SPARE,
    STRANGER,
    TOPICS,
    World,
    becomes,
    may,
    new_world,
    running_feed,
)
from tests.exhook.feed_writes import (
    copy_elsewhere,
    delete_elsewhere,
    insert_elsewhere,
    update_elsewhere,
)
from tests.outage import Outage

pytestmark = pytest.mark.django_db

Rows = models.QuerySet[Any]
NOTHING: set[str] = set()
SECONDS = 120.0
DEVICE_IN_GROUP = Device.groups.through
POLICY_OF_DEVICE = Policy.devices.through
POLICY_OF_GROUP = Policy.groups.through


@pytest.fixture
def world(database: None) -> World:
    return new_world()


@pytest.fixture
def followed(world: World) -> Iterator[tuple[Directory, Feed]]:
    with running_feed() as (directory, feed):
        assert may(directory) == AT_FIRST
        yield directory, feed


@pytest.fixture
def directory(followed: tuple[Directory, Feed]) -> Directory:
    return followed[0]


@pytest.fixture
def feed(followed: tuple[Directory, Feed]) -> Feed:
    return followed[1]


# --- Whatever is written, in whichever way ---


def by_save(rows: Rows, values: dict[str, object]) -> None:
    for row in rows:
        for name, value in values.items():
            setattr(row, name, value)
        row.save()


def by_update(rows: Rows, values: dict[str, object]) -> None:
    assert rows.update(**values) > 0


def by_bulk_update(rows: Rows, values: dict[str, object]) -> None:
    changed = list(rows)
    for row in changed:
        for name, value in values.items():
            setattr(row, name, value)
    rows.model._default_manager.bulk_update(changed, list(values))


def pump(world: World) -> Rows:
    return Device.objects.filter(pk=world.device.pk)


def credential(world: World) -> Rows:
    return Credential.objects.filter(pk=world.credential.pk)


def own_rule(world: World) -> Rows:
    return Rule.objects.filter(pk=world.own_rule.pk)


def shared_rule(world: World) -> Rows:
    return Rule.objects.filter(policy=world.attached)


def attached(world: World) -> Rows:
    return Policy.objects.filter(pk=world.attached.pk)


def for_everyone(world: World) -> Rows:
    return Policy.objects.filter(pk=world.everyone.pk)


def spare(world: World) -> Rows:
    return Policy.objects.filter(pk=world.spare.pk)


def membership(world: World) -> Rows:
    return DEVICE_IN_GROUP.objects.filter(device=world.device)


def attachment(world: World) -> Rows:
    return POLICY_OF_DEVICE.objects.filter(policy=world.attached)


def group_attachment(world: World) -> Rows:
    return POLICY_OF_GROUP.objects.filter(policy=world.of_group)


def now(**ahead: float) -> Any:
    return timezone.now() + timedelta(**ahead)


Values = Callable[[World], dict[str, object]]

UPDATES: dict[str, tuple[Callable[[World], Rows], Values, set[str] | frozenset[str]]] = {
    "device switched off": (pump, lambda w: {"enabled": False}, NOTHING),
    "device renamed": (pump, lambda w: {"username": "renamed"}, NOTHING),
    "device takes a stranger's name": (
        pump,
        lambda w: {"username": "stranger", "credential_required": False},
        {STRANGER},
    ),
    "device moves to other networks": (pump, lambda w: {"networks": "198.51.100.0/24"}, NOTHING),
    "device not yet valid": (pump, lambda w: {"valid_from": now(days=1)}, NOTHING),
    "device no longer valid": (pump, lambda w: {"valid_until": now(seconds=-1)}, NOTHING),
    "device bound to another client id": (
        pump,
        lambda w: {"client_id_binding": "exact", "client_id": "pump-18"},
        NOTHING,
    ),
    "device becomes a superuser": (pump, lambda w: {"superuser": True}, {LOGIN, *TOPICS}),
    "device gets an attribute": (pump, lambda w: {"attributes": {"site": "berlin"}}, AT_FIRST | {ATTRIBUTE}),
    "device gets a certificate": (
        pump,
        lambda w: {"certificate_cn": "cn-17", "client_id_binding": "any"},
        AT_FIRST | {BY_CN},
    ),
    "credential switched off": (credential, lambda w: {"enabled": False}, AT_FIRST - {LOGIN}),
    "credential expired": (credential, lambda w: {"expires_at": now(seconds=-1)}, AT_FIRST - {LOGIN}),
    "credential replaced": (
        credential,
        lambda w: {"encoded": encode_token(SECOND_TOKEN)},
        AT_FIRST - {LOGIN} | {SECOND_LOGIN},
    ),
    "credential given to another device": (
        credential,
        lambda w: {"device_id": w.other_device.pk},
        AT_FIRST - {LOGIN},
    ),
    "own rule switched off": (own_rule, lambda w: {"enabled": False}, AT_FIRST - {OWN}),
    "own rule denies": (own_rule, lambda w: {"effect": "deny"}, AT_FIRST - {OWN}),
    "own rule for subscribing": (own_rule, lambda w: {"action": "subscribe"}, AT_FIRST - {OWN}),
    "own rule literal": (own_rule, lambda w: {"literal": True}, AT_FIRST - {OWN}),
    "own rule for other networks": (own_rule, lambda w: {"networks": "198.51.100.0/24"}, AT_FIRST - {OWN}),
    "own rule given to another device": (
        own_rule,
        lambda w: {"device_id": w.other_device.pk},
        AT_FIRST - {OWN},
    ),
    "own rule given to a policy": (
        own_rule,
        lambda w: {"device_id": None, "policy_id": w.spare.pk},
        AT_FIRST - {OWN},
    ),
    "shared rule has another filter": (
        shared_rule,
        lambda w: {"topic_filter": "spare/#"},
        AT_FIRST - {ATTACHED} | {SPARE},
    ),
    "shared rule given to another policy": (
        shared_rule,
        lambda w: {"policy_id": w.spare.pk},
        AT_FIRST - {ATTACHED},
    ),
    "policy switched off": (attached, lambda w: {"enabled": False}, AT_FIRST - {ATTACHED}),
    "policy no longer for everyone": (for_everyone, lambda w: {"everyone": False}, AT_FIRST - {EVERYONE}),
    "policy now for everyone": (spare, lambda w: {"everyone": True}, AT_FIRST | {SPARE}),
    "device moved to another group": (
        membership,
        lambda w: {"devicegroup_id": w.other_group.pk},
        AT_FIRST - {GROUP} | {OTHER_GROUP},
    ),
    "another device in its place": (
        membership,
        lambda w: {"device_id": w.other_device.pk},
        AT_FIRST - {GROUP},
    ),
    "another policy attached instead": (
        attachment,
        lambda w: {"policy_id": w.spare.pk},
        AT_FIRST - {ATTACHED} | {SPARE},
    ),
    "attached to another device": (
        attachment,
        lambda w: {"device_id": w.other_device.pk},
        AT_FIRST - {ATTACHED},
    ),
    "another policy of the group": (
        group_attachment,
        lambda w: {"policy_id": w.spare.pk},
        AT_FIRST - {GROUP} | {SPARE},
    ),
    "policy of another group": (
        group_attachment,
        lambda w: {"devicegroup_id": w.other_group.pk},
        AT_FIRST - {GROUP},
    ),
}


# One of each table for the slower ways to send what is the same statement in the end.
ONE_OF_EACH_TABLE = (
    "device switched off",
    "credential switched off",
    "own rule switched off",
    "policy switched off",
    "device moved to another group",
    "another policy attached instead",
    "another policy of the group",
)


@pytest.mark.parametrize(
    ("rows", "values", "expected", "write"),
    [
        pytest.param(*case, write, id=f"{name}-{way}")
        for way, write, names in (
            ("update()", by_update, UPDATES),
            ("SQL", update_elsewhere, UPDATES),
            ("save()", by_save, ONE_OF_EACH_TABLE),
            ("bulk_update()", by_bulk_update, ONE_OF_EACH_TABLE),
        )
        for name, case in ((name, UPDATES[name]) for name in names)
    ],
)
def test_an_update_takes_effect(
    world: World,
    directory: Directory,
    rows: Callable[[World], Rows],
    values: Values,
    expected: set[str],
    write: Callable[[Rows, dict[str, object]], None],
):
    write(rows(world), values(world))
    wait_until(becomes(directory, expected))


INSERTS: dict[str, tuple[Callable[[World], models.Model], set[str] | frozenset[str]]] = {
    "device": (
        lambda w: Device(username="stranger", credential_required=False),
        AT_FIRST | {STRANGER},
    ),
    "device with a certificate": (
        lambda w: Device(username="new", certificate_cn="cn-17", client_id_binding="any"),
        AT_FIRST | {BY_CN},
    ),
    "credential": (
        lambda w: Credential(device=w.device, kind="token", encoded=encode_token(SECOND_TOKEN)),
        AT_FIRST | {SECOND_LOGIN},
    ),
    "membership": (
        lambda w: DEVICE_IN_GROUP(device=w.device, devicegroup=w.other_group),
        AT_FIRST | {OTHER_GROUP},
    ),
    "attachment": (lambda w: POLICY_OF_DEVICE(policy=w.spare, device=w.device), AT_FIRST | {SPARE}),
    "attachment to a group": (
        lambda w: POLICY_OF_GROUP(policy=w.spare, devicegroup=w.group),
        AT_FIRST | {SPARE},
    ),
    "own rule": (
        lambda w: Rule(device=w.device, effect="deny", action="all", topic_filter="#"),
        {LOGIN},
    ),
    "rule in a policy": (
        lambda w: Rule(policy=w.everyone, effect="allow", action="all", topic_filter="spare/#"),
        AT_FIRST | {SPARE},
    ),
}


def by_save_new(instance: models.Model) -> None:
    instance.save()


def by_bulk_create(instance: models.Model) -> None:
    type(instance)._default_manager.bulk_create([instance])


def by_bulk_create_ignoring_conflicts(instance: models.Model) -> None:
    type(instance)._default_manager.bulk_create([instance], ignore_conflicts=True)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(by_save_new, id="save()"),
        pytest.param(by_bulk_create, id="bulk_create()"),
        pytest.param(by_bulk_create_ignoring_conflicts, id="bulk_create(ignore_conflicts)"),
        pytest.param(insert_elsewhere, id="SQL"),
        pytest.param(
            copy_elsewhere,
            id="COPY",
            marks=pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own"),
        ),
    ],
)
@pytest.mark.parametrize(
    ("instance", "expected"), [pytest.param(*case, id=name) for name, case in INSERTS.items()]
)
def test_an_insert_takes_effect(
    world: World,
    directory: Directory,
    instance: Callable[[World], models.Model],
    expected: set[str],
    write: Callable[[models.Model], None],
):
    write(instance(world))
    wait_until(becomes(directory, expected))


def by_delete(*rows: Rows) -> None:
    """The ORM cascades by itself."""
    assert rows[-1].delete()[0] > 0


# The last of each is what is deleted, those before it what refers to it.
DELETES: dict[str, tuple[Callable[[World], tuple[Rows, ...]], set[str] | frozenset[str]]] = {
    "device": (
        lambda w: (
            Credential.objects.filter(device=w.device),
            Rule.objects.filter(device=w.device),
            membership(w),
            attachment(w),
            pump(w),
        ),
        NOTHING,
    ),
    "credential": (lambda w: (credential(w),), AT_FIRST - {LOGIN}),
    "group": (
        lambda w: (membership(w), group_attachment(w), DeviceGroup.objects.filter(pk=w.group.pk)),
        AT_FIRST - {GROUP},
    ),
    "membership": (lambda w: (membership(w),), AT_FIRST - {GROUP}),
    "policy": (lambda w: (attachment(w), shared_rule(w), attached(w)), AT_FIRST - {ATTACHED}),
    "policy for everyone": (
        lambda w: (Rule.objects.filter(policy=w.everyone), for_everyone(w)),
        AT_FIRST - {EVERYONE},
    ),
    "attachment": (lambda w: (attachment(w),), AT_FIRST - {ATTACHED}),
    "attachment to a group": (lambda w: (group_attachment(w),), AT_FIRST - {GROUP}),
    "own rule": (lambda w: (own_rule(w),), AT_FIRST - {OWN}),
    "rule in a policy": (lambda w: (shared_rule(w),), AT_FIRST - {ATTACHED}),
}


@pytest.mark.parametrize(
    "write", [pytest.param(by_delete, id="delete()"), pytest.param(delete_elsewhere, id="SQL")]
)
@pytest.mark.parametrize(
    ("rows", "expected"), [pytest.param(*case, id=name) for name, case in DELETES.items()]
)
def test_a_deletion_takes_effect(
    world: World,
    directory: Directory,
    rows: Callable[[World], tuple[Rows, ...]],
    expected: set[str],
    write: Callable[..., None],
):
    write(*rows(world))
    wait_until(becomes(directory, expected))


def revoke(world: World) -> None:
    accounts_services.switch_credential(world.credential, False)


def detach_everything(world: World) -> None:
    acl_services.save_policy(world.attached, devices=[])
    acl_services.save_policy(world.of_group, groups=[])


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        pytest.param(
            lambda w: accounts_services.create_device("stranger", credential_required=False),
            AT_FIRST | {STRANGER},
            id="create_device",
        ),
        pytest.param(
            lambda w: accounts_services.save_device(w.device, groups=[w.other_group]),
            AT_FIRST - {GROUP} | {OTHER_GROUP},
            id="save_device",
        ),
        pytest.param(
            lambda w: accounts_services.set_enabled(Device.objects.all(), False), NOTHING, id="set_enabled"
        ),
        pytest.param(
            lambda w: accounts_services.delete_devices(Device.objects.all()), NOTHING, id="delete_devices"
        ),
        pytest.param(revoke, AT_FIRST - {LOGIN}, id="switch_credential"),
        pytest.param(
            lambda w: accounts_services.delete_groups(DeviceGroup.objects.all()),
            AT_FIRST - {GROUP},
            id="delete_groups",
        ),
        pytest.param(detach_everything, AT_FIRST - {ATTACHED, GROUP}, id="save_policy"),
        pytest.param(
            lambda w: acl_services.create_rule(w.device, "deny", "all", "#"), {LOGIN}, id="create_rule"
        ),
        pytest.param(lambda w: acl_services.delete_rule(w.own_rule), AT_FIRST - {OWN}, id="delete_rule"),
        pytest.param(
            lambda w: acl_services.delete_policies(Policy.objects.all()), {LOGIN, OWN}, id="delete_policies"
        ),
    ],
)
def test_what_the_services_write_takes_effect(
    world: World, directory: Directory, write: Callable[[World], object], expected: set[str]
):
    write(world)
    wait_until(becomes(directory, expected))


def test_an_emptied_database_takes_effect_and_so_does_what_follows(world: World, directory: Directory):
    """manage.py flush empties every table, on SQLite the revision's own among them."""
    call_command("flush", verbosity=0, interactive=False)
    wait_until(becomes(directory, NOTHING))
    new_world()
    wait_until(becomes(directory, AT_FIRST))


# --- What is no change ---


def test_what_is_rolled_back_never_happened(world: World, directory: Directory, feed: Feed):
    with transaction.atomic():
        Device.objects.update(enabled=False)
        Policy.objects.all().delete()
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            Policy.objects.all().delete()
            transaction.set_rollback(True)
        Credential.objects.update(enabled=False)
    wait_until(becomes(directory, AT_FIRST - {LOGIN}))
    # It is counted when it has taken effect.
    wait_until(lambda: feed.applied > 0)
    assert feed.applied == 1


def test_nothing_takes_effect_before_it_is_committed(world: World, directory: Directory, feed: Feed):
    written, go = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            Device.objects.update(enabled=False)
            written.set()
            go.wait(SECONDS)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(SECONDS)
    assert may(directory) == AT_FIRST
    assert feed.applied == 0
    go.set()
    writer.join(SECONDS)
    wait_until(becomes(directory, NOTHING))


# --- Changes that meet a load under way ---


class Pause:
    """Holds up a function when it has its answer, before it gives it away."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        answer = self._function(*arguments)
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(SECONDS)
        return answer


def test_a_device_that_changes_while_it_is_being_read_is_read_again(
    world: World, directory: Directory, feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    # With it out of memory, somebody reads it; while he holds the old answer, it changes.
    Device.objects.filter(pk=world.device.pk).update(attributes={"site": "hamburg"})
    wait_until(lambda: feed.applied == 1)
    pause = Pause(directory_module._devices)
    monkeypatch.setattr(directory_module, "_devices", pause)

    def read() -> None:
        directory.find(PUMP)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert pause.reached.wait(SECONDS)
    Device.objects.update(enabled=False)
    wait_until(lambda: feed.applied == 2)
    pause.go_on.set()
    reader.join(SECONDS)
    assert may(directory) == NOTHING


def test_policies_that_change_while_they_are_being_read_are_read_again(
    world: World, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    pause = Pause(load_policy_book)
    monkeypatch.setattr(directory_module, "load_policy_book", pause)
    Policy.objects.filter(pk=world.spare.pk).update(everyone=True)
    assert pause.reached.wait(SECONDS)
    Policy.objects.filter(pk=world.everyone.pk).update(everyone=False)
    pause.go_on.set()
    wait_until(becomes(directory, AT_FIRST - {EVERYONE} | {SPARE}))


# --- Interruptions ---


def test_what_changed_before_it_began_to_follow_is_not_missed(world: World):
    directory = new_provider(lambda fact: None).directory
    directory.load_policies()
    assert may(directory) == AT_FIRST
    Device.objects.filter(pk=world.device.pk).update(superuser=True)
    Policy.objects.filter(pk=world.spare.pk).update(everyone=True)
    feed = Feed(directory)
    feed.start()
    try:
        wait_until(becomes(directory, {LOGIN, *TOPICS}))
        Device.objects.filter(pk=world.device.pk).update(superuser=False)
        wait_until(becomes(directory, AT_FIRST | {SPARE}))
    finally:
        feed.close()


def test_an_outage_is_survived_and_what_was_missed_is_learnt(
    world: World, directory: Directory, feed: Feed, outage: Outage, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    revision = feed.policy_revision
    outage.begin()
    wait_until(lambda: feed.state == FeedState.LOST)
    wait_until(lambda: feed.lag_seconds > 0.5)
    assert feed.last_error in ("OperationalError", "FileNotFoundError")
    assert directory.database_away
    Device.objects.filter(pk=world.device.pk).update(superuser=True)
    Policy.objects.filter(pk=world.spare.pk).update(everyone=True)
    known = directory.peek(PUMP)
    assert known is not None
    assert known.principal is not None
    assert not known.principal.superuser

    outage.end()
    wait_until(becomes(directory, {LOGIN, *TOPICS}))
    wait_until(lambda: feed.state != FeedState.LOST)
    assert feed.policy_revision > revision
    # Each once, however often it was tried in between.
    said = [record.getMessage() for record in caplog.records if "change feed" in record.getMessage()]
    assert said == [
        "the change feed has lost the database; devices in memory go on being served",
        "the change feed is back; what was held is read again",
    ]


def test_an_error_of_our_own_ends_neither_the_feed_nor_the_truth(
    world: World,
    directory: Directory,
    feed: Feed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(directory_module, "load_policy_book", broken)
        Policy.objects.filter(pk=world.everyone.pk).update(everyone=False)
        wait_until(lambda: "ZeroDivisionError" in caplog.text)
        assert feed.state == FeedState.LOST
        assert feed.last_error == "ZeroDivisionError"
        assert not directory.database_away
    wait_until(becomes(directory, AT_FIRST - {EVERYONE}))


def test_of_two_readings_of_the_policies_the_later_one_stays(
    world: World, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    """A call may read them too, after an outage: its older answer must not come after the feed's."""
    pause = Pause(load_policy_book)
    monkeypatch.setattr(directory_module, "load_policy_book", pause)

    def read() -> None:
        directory.load_policies()
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert pause.reached.wait(SECONDS)
    Policy.objects.filter(pk=world.everyone.pk).update(everyone=False)
    wait_until(becomes(directory, AT_FIRST - {EVERYONE}))
    pause.go_on.set()
    reader.join(SECONDS)
    assert may(directory) == AT_FIRST - {EVERYONE}


def test_what_was_missed_once_no_quiet_afterwards_makes_up_for(world: World, outage: Outage):
    """A device that kept silent since an earlier interruption grows too old to be served in the next."""
    seconds = [0.0]
    directory = Directory(DEFAULT_ORDER, 10, max_age=300, fail_static_age=3600, clock=lambda: seconds[0])
    directory.load_policies()
    directory.find(PUMP)
    seconds[0] += 1
    directory.doubt()
    seconds[0] += 1
    directory.load_policies()
    for _ in range(50):
        seconds[0] += 100
        directory.confirm(seconds[0])
    outage.begin()
    directory.doubt(database_away=True)
    assert directory.policies_usable
    assert directory.peek(PUMP) is None


def test_policies_are_read_anew_even_unasked(world: World):
    with running_feed(refresh_seconds=0.1) as (directory, feed):
        book, revision = directory.book, feed.policy_revision
        # Neither follows from the other: a reading may be under way.
        wait_until(lambda: feed.policy_revision > revision)
        wait_until(lambda: directory.book is not book)
        assert feed.applied == 0


# --- What it tells of itself ---


def test_it_tells_how_it_is(world: World, directory: Directory, feed: Feed):
    following = FeedState.LISTENING if connection.vendor == "postgresql" else FeedState.POLLING
    assert feed.state == following
    assert (feed.applied, feed.applied_at, feed.last_error) == (0, None, "")
    revision = feed.policy_revision
    before = timezone.now().timestamp()
    Credential.objects.update(enabled=False)
    wait_until(becomes(directory, AT_FIRST - {LOGIN}))
    wait_until(lambda: feed.applied == 1)
    assert feed.applied_at is not None
    assert before <= feed.applied_at <= timezone.now().timestamp()
    Policy.objects.update(enabled=False)
    wait_until(lambda: feed.applied == 2)
    assert feed.policy_revision > revision
    assert feed.lag_seconds < 60


def test_its_state_is_told_last(world: World, monkeypatch: pytest.MonkeyPatch, outage: Outage):
    """Whoever sees that it is lost, or back, finds all that follows from it; a count, when it was."""
    seen: dict[str, list[Any]] = {"state": [], "applied": []}

    class Watched(Feed):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "state" and hasattr(self, "_following"):
                seen[name].append((value, self.last_error, self._directory.database_away, self._interrupted))
            if name == "applied" and value:
                seen[name].append(self.applied_at)
            super().__setattr__(name, value)

    directory = new_provider(lambda fact: None).directory
    directory.load_policies()
    feed = Watched(directory)
    feed.start()
    try:
        wait_until(lambda: feed.state != FeedState.LOST)
        Credential.objects.update(enabled=False)
        wait_until(lambda: feed.applied == 1)
        outage.begin()
        wait_until(lambda: feed.state == FeedState.LOST)
        outage.end()
        wait_until(lambda: feed.state != FeedState.LOST)
    finally:
        feed.close()
    error, following = feed.last_error, feed.state
    assert seen["state"][0] == (following, "", False, False)
    assert (FeedState.LOST, error, True) in [each[:3] for each in seen["state"]]
    assert seen["state"][-1] == (following, error, False, False)
    assert seen["applied"] == [feed.applied_at]


def test_closing_ends_its_thread(world: World):
    with running_feed() as (_, feed):
        thread = feed._thread
        assert thread.is_alive()
    # Closing does not wait for ever.
    thread.join(SECONDS)
    assert not thread.is_alive()
