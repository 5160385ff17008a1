"""The directory: what a worker remembers, for how long, and what makes it forget."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from accounts import principals
from accounts.core.client import Client
from accounts.core.identity import DEFAULT_ORDER, IdentitySource
from accounts.models import Device, DeviceGroup
from accounts.services import create_device
from acl.models import Policy
from acl.services import create_policy, create_rule
from exhookadmin.exhook import memory as memory_module
from exhookadmin.exhook.directory import RETRY_SECONDS, Directory
from exhookadmin.exhook.memory import REMEMBERED_CHANGES, Change, Known, Name
from tests.outage import Outage

pytestmark = pytest.mark.django_db

MAX_AGE = 300.0
FAIL_STATIC_AGE = 3600.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_directory(
    clock: Clock, capacity: int = 100, order: Sequence[IdentitySource] = DEFAULT_ORDER
) -> Directory:
    directory = Directory(order, capacity, MAX_AGE, FAIL_STATIC_AGE, clock)
    directory.load_policies()
    clock.forward(1)
    return directory


@pytest.fixture
def directory(clock: Clock) -> Directory:
    return new_directory(clock)


def named(name: str) -> Client:
    return Client(client_id=name, username=name)


def principal_id(known: Known | None) -> int | None:
    """Whose entry this is. A name that nobody has, and no entry at all, are nobody's."""
    return known.principal.id if known is not None and known.principal is not None else None


def queries(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


# --- What is remembered ---


def test_it_must_have_read_the_policies_before_it_is_asked(clock: Clock):
    directory = Directory(DEFAULT_ORDER, 10, MAX_AGE, FAIL_STATIC_AGE, clock)
    with pytest.raises(RuntimeError, match="load_policies"):
        _ = directory.book
    assert directory.peek(named("pump-17")) is None


def test_peek_knows_what_find_has_found(directory: Directory, django_assert_num_queries: Any):
    device = create_device("pump-17")
    with django_assert_num_queries(0):
        assert directory.peek(named("pump-17")) is None
    assert principal_id(directory.find(named("pump-17"))) == device.pk
    with django_assert_num_queries(0):
        assert principal_id(directory.peek(named("pump-17"))) == device.pk
        assert principal_id(directory.find(named("pump-17"))) == device.pk


def test_no_more_devices_are_held_than_there_is_room_for(clock: Clock):
    directory = new_directory(clock, capacity=3)
    for number in range(5):
        create_device(f"pump-{number}")
        directory.find(named(f"pump-{number}"))
        assert directory.held == min(number + 1, 3)
    held = [number for number in range(5) if directory.peek(named(f"pump-{number}"))]
    assert held == [2, 3, 4]


def test_the_device_that_was_not_asked_for_longest_makes_room(clock: Clock):
    directory = new_directory(clock, capacity=2)
    for name in ("often", "seldom", "new"):
        create_device(name)
    directory.find(named("often"))
    directory.find(named("seldom"))
    directory.peek(named("often"))
    directory.find(named("new"))
    assert directory.peek(named("often")) is not None
    assert directory.peek(named("seldom")) is None


def test_a_device_that_made_room_is_found_again_and_forgotten_by_its_id(clock: Clock):
    """What is remembered about names follows what is held, however often a device comes and goes."""
    directory = new_directory(clock, capacity=1)
    one, two = create_device("one"), create_device("two")
    for _ in range(3):
        assert principal_id(directory.find(named("one"))) == one.pk
        assert principal_id(directory.find(named("two"))) == two.pk
    directory.invalidate(Change(device_ids=frozenset({one.pk})))
    assert principal_id(directory.peek(named("two"))) == two.pk
    directory.invalidate(Change(device_ids=frozenset({two.pk})))
    assert directory.peek(named("two")) is None
    assert directory.held == 0


def test_strangers_are_few_and_push_no_device_out(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
):
    monkeypatch.setattr(memory_module, "STRANGERS", 3)
    directory = new_directory(clock, capacity=2)
    for name in ("pump-1", "pump-2"):
        create_device(name)
        directory.find(named(name))
    for number in range(10):
        assert principal_id(directory.find(named(f"invented-{number}"))) is None
    assert directory.held == 2
    with django_assert_num_queries(0):
        assert directory.peek(named("pump-1")) is not None
        assert directory.peek(named("pump-2")) is not None
        remembered = [number for number in range(10) if directory.peek(named(f"invented-{number}"))]
    assert remembered == [7, 8, 9]


def test_a_stranger_who_becomes_a_device_is_one(directory: Directory):
    assert principal_id(directory.find(named("pump-17"))) is None
    device = create_device("pump-17")
    assert principal_id(directory.find(named("pump-17"))) is None
    directory.invalidate(Change(device_ids=frozenset({device.pk}), new_names=True))
    assert directory.peek(named("pump-17")) is None
    assert principal_id(directory.find(named("pump-17"))) == device.pk


# --- What makes it forget ---


def test_a_changed_device_is_forgotten_under_all_its_names_and_no_other(directory: Directory):
    changed = create_device("changed", certificate_cn="changed.example")
    other = create_device("other")
    names = [
        Client(username="changed", client_id="changed"),
        Client(client_id="changed"),
        Client(cn="changed.example"),
    ]
    for client in [*names, named("other"), named("nobody")]:
        directory.find(client)
    directory.invalidate(Change(device_ids=frozenset({changed.pk})))
    assert [directory.peek(client) for client in names] == [None, None, None]
    assert principal_id(directory.peek(named("other"))) == other.pk
    assert directory.peek(named("nobody")) is not None


def test_a_new_name_makes_it_forget_strangers_only(directory: Directory):
    create_device("pump-17")
    directory.find(named("pump-17"))
    directory.find(named("nobody"))
    directory.invalidate(Change(new_names=True))
    assert directory.peek(named("pump-17")) is not None
    assert directory.peek(named("nobody")) is None


def test_everything_is_everything(directory: Directory):
    for name in ("pump-1", "pump-2"):
        create_device(name)
        directory.find(named(name))
    directory.find(named("nobody"))
    directory.invalidate(Change(everything=True))
    assert directory.held == 0
    assert [directory.peek(named(name)) for name in ("pump-1", "pump-2", "nobody")] == [None, None, None]


def test_a_change_of_nothing_forgets_nothing(directory: Directory):
    create_device("pump-17")
    directory.find(named("pump-17"))
    directory.invalidate(Change())
    directory.invalidate(Change(device_ids=frozenset({987_654})))
    assert directory.peek(named("pump-17")) is not None


def test_a_renamed_device_is_known_by_its_new_name_only(directory: Directory):
    device = create_device("old")
    directory.find(named("old"))
    directory.find(named("new"))
    Device.objects.filter(pk=device.pk).update(username="new")
    directory.invalidate(Change(device_ids=frozenset({device.pk}), new_names=True))
    assert principal_id(directory.find(named("old"))) is None
    assert principal_id(directory.find(named("new"))) == device.pk


def test_a_name_that_passes_to_another_device_is_that_device_s(directory: Directory):
    first = create_device("pump-17")
    directory.find(named("pump-17"))
    Device.objects.filter(pk=first.pk).update(username="retired")
    second = create_device("pump-17")
    change = Change(device_ids=frozenset({first.pk, second.pk}), new_names=True)
    directory.invalidate(change)
    assert principal_id(directory.find(named("pump-17"))) == second.pk
    assert principal_id(directory.find(named("retired"))) == first.pk
    directory.invalidate(Change(device_ids=frozenset({first.pk})))
    assert principal_id(directory.peek(named("pump-17"))) == second.pk


# --- A change while a device is being read ---


class Reading:
    """``find`` in a thread, held up between the query and what is done with its result."""

    def __init__(self, directory: Directory, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self._read, self._go_on = threading.Event(), threading.Event()

        def find_devices(names: Iterable[Name]) -> dict[Name, Device]:
            devices = principals.find_devices(names)
            self._read.set()
            assert self._go_on.wait(30)
            return devices

        monkeypatch.setattr("exhookadmin.exhook.directory.find_devices", find_devices)
        self.found: Known | None = None

        def find() -> None:
            self.found = directory.find(client)
            connection.close()

        self._thread = threading.Thread(target=find)
        self._thread.start()
        assert self._read.wait(30)

    def finish(self) -> Known:
        self._go_on.set()
        self._thread.join(30)
        assert self.found is not None
        return self.found


@pytest.mark.parametrize(
    ("concerns_it", "kept"),
    [
        pytest.param(lambda pk: Change(device_ids=frozenset({pk})), False, id="the device"),
        pytest.param(lambda pk: Change(everything=True), False, id="everything"),
        pytest.param(lambda pk: Change(device_ids=frozenset({pk + 1})), True, id="another device"),
        pytest.param(lambda pk: Change(new_names=True), True, id="a new name"),
        pytest.param(lambda pk: Change(policies=True), True, id="a policy"),
    ],
)
def test_what_was_read_before_a_change_to_it_is_not_kept(
    database: None,
    directory: Directory,
    monkeypatch: pytest.MonkeyPatch,
    concerns_it: Callable[[int], Change],
    kept: bool,
):
    device = create_device("pump-17")
    reading = Reading(directory, named("pump-17"), monkeypatch)
    Device.objects.filter(pk=device.pk).update(enabled=False)
    directory.invalidate(concerns_it(device.pk))
    assert principal_id(reading.finish()) == device.pk
    assert (directory.peek(named("pump-17")) is not None) is kept


def test_a_stranger_read_before_the_name_appeared_is_not_kept(
    database: None, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    reading = Reading(directory, named("pump-17"), monkeypatch)
    device = create_device("pump-17")
    directory.invalidate(Change(device_ids=frozenset({device.pk}), new_names=True))
    assert principal_id(reading.finish()) is None
    assert directory.peek(named("pump-17")) is None


def test_a_stranger_stays_one_when_a_device_changes(
    database: None, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    reading = Reading(directory, named("nobody"), monkeypatch)
    directory.invalidate(Change(device_ids=frozenset({1})))
    reading.finish()
    assert directory.peek(named("nobody")) is not None


@pytest.mark.parametrize(
    ("changes", "kept"),
    [(REMEMBERED_CHANGES, True), (REMEMBERED_CHANGES + 1, False)],
    ids=["as many as are remembered", "one more"],
)
def test_after_too_many_changes_to_look_through_it_is_not_kept(
    database: None, directory: Directory, monkeypatch: pytest.MonkeyPatch, changes: int, kept: bool
):
    device = create_device("pump-17")
    reading = Reading(directory, named("pump-17"), monkeypatch)
    for _ in range(changes):
        directory.invalidate(Change(device_ids=frozenset({device.pk + 1})))
    reading.finish()
    assert (directory.peek(named("pump-17")) is not None) is kept


def test_the_change_may_be_the_first_of_many(
    database: None, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    device = create_device("pump-17")
    reading = Reading(directory, named("pump-17"), monkeypatch)
    directory.invalidate(Change(device_ids=frozenset({device.pk})))
    for _ in range(REMEMBERED_CHANGES // 2):
        directory.invalidate(Change(device_ids=frozenset({device.pk + 1})))
    reading.finish()
    assert directory.peek(named("pump-17")) is None


def test_doubt_that_arose_while_it_was_read_holds_for_it_too(
    database: None, directory: Directory, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    create_device("pump-17")
    reading = Reading(directory, named("pump-17"), monkeypatch)
    clock.forward(1)
    directory.doubt()
    reading.finish()
    clock.forward(1)
    assert directory.peek(named("pump-17")) is None


def test_policies_that_came_into_force_while_it_was_read_apply_to_it(
    database: None, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    create_device("pump-17")
    reading = Reading(directory, named("pump-17"), monkeypatch)
    create_rule(create_policy("new", everyone=True), "deny", "all", "#")
    book = directory.load_policies()
    assert principal_id(reading.finish()) is not None
    known = directory.peek(named("pump-17"))
    assert known is not None
    assert known.book is book
    assert known.rule_sets is not None
    assert len(known.rule_sets) == 1


# --- Ages ---


def test_what_is_old_is_read_again(directory: Directory, clock: Clock):
    device = create_device("pump-17")
    directory.find(named("pump-17"))
    Device.objects.filter(pk=device.pk).update(enabled=False)
    clock.forward(MAX_AGE)
    known = directory.peek(named("pump-17"))
    assert known is not None
    assert known.principal is not None
    assert known.principal.enabled
    clock.forward(1)
    assert directory.peek(named("pump-17")) is None
    known = directory.find(named("pump-17"))
    assert known.principal is not None
    assert not known.principal.enabled
    assert directory.peek(named("pump-17")) is known


def test_strangers_grow_old_too(directory: Directory, clock: Clock):
    directory.find(named("pump-17"))
    device = create_device("pump-17")
    clock.forward(MAX_AGE + 1)
    assert directory.peek(named("pump-17")) is None
    assert principal_id(directory.find(named("pump-17"))) == device.pk


def test_doubt_makes_everything_be_read_again_once(directory: Directory, clock: Clock):
    create_device("pump-17")
    directory.find(named("pump-17"))
    directory.find(named("nobody"))
    clock.forward(1)
    directory.doubt()
    assert directory.peek(named("pump-17")) is None
    assert directory.peek(named("nobody")) is None
    clock.forward(1)
    assert queries(lambda: directory.find(named("pump-17"))) > 0
    assert queries(lambda: directory.find(named("pump-17"))) == 0
    assert directory.peek(named("pump-17")) is not None


@pytest.fixture
def away(database: None, outage: Outage) -> Callable[[], None]:
    """Takes the database away from this thread too."""

    def begin() -> None:
        outage.begin()
        connection.close()

    return begin


@pytest.mark.parametrize("noticed_by", ["the feed", "the first who asks"])
def test_while_the_database_is_away_what_is_held_serves_up_to_its_age(
    directory: Directory, clock: Clock, away: Callable[[], None], outage: Outage, noticed_by: str
):
    device = create_device("pump-17")
    directory.find(named("pump-17"))
    directory.find(named("nobody"))
    loaded_at = clock.now
    away()
    directory.doubt(database_away=noticed_by == "the feed")
    clock.now = loaded_at + FAIL_STATIC_AGE - 2
    assert principal_id(directory.find(named("pump-17"))) == device.pk
    assert principal_id(directory.find(named("nobody"))) is None
    assert directory.database_away
    assert principal_id(directory.peek(named("pump-17"))) == device.pk
    with pytest.raises(OperationalError):
        directory.find(named("never seen"))
    clock.now = loaded_at + FAIL_STATIC_AGE + 2
    for name in ("pump-17", "nobody"):
        assert directory.peek(named(name)) is None
        with pytest.raises(OperationalError):
            directory.find(named(name))
    outage.end()
    clock.forward(RETRY_SECONDS)
    assert principal_id(directory.find(named("pump-17"))) == device.pk
    assert not directory.database_away
    assert directory.peek(named("pump-17")) is not None


def test_age_counts_from_when_it_was_last_certain_that_nothing_had_changed(
    directory: Directory, clock: Clock, away: Callable[[], None]
):
    """Otherwise an outage that begins an hour after the last change would find nothing to serve from."""
    device = create_device("pump-17")
    directory.find(named("pump-17"))
    clock.forward(10 * FAIL_STATIC_AGE)
    directory.confirm(clock.now)
    away()
    directory.doubt(database_away=True)
    clock.forward(FAIL_STATIC_AGE - 1)
    assert principal_id(directory.peek(named("pump-17"))) == device.pk
    clock.forward(2)
    assert directory.peek(named("pump-17")) is None


def test_a_database_that_is_away_is_asked_once_a_moment(
    directory: Directory, clock: Clock, away: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    """Who asks it may wait for it: the others must not."""
    asked: list[int] = []

    def find_devices(names: Iterable[Name]) -> dict[Name, Device]:
        asked.append(1)
        return principals.find_devices(names)

    monkeypatch.setattr("exhookadmin.exhook.directory.find_devices", find_devices)
    away()
    for _ in range(3):
        for number in range(5):
            with pytest.raises(OperationalError):
                directory.find(named(f"never seen {number}"))
        clock.forward(RETRY_SECONDS)
    assert len(asked) == 3


def test_one_row_that_cannot_be_read_is_no_trouble_of_the_others_read_with_it(directory: Directory):
    for name in ("broken", "pump-17"):
        create_device(name)
    Device.objects.filter(username="broken").update(networks="anywhere")
    directory.load([named("broken"), named("pump-17"), named("nobody")])
    assert directory.peek(named("pump-17")) is not None
    assert directory.peek(named("nobody")) is not None
    assert directory.peek(named("broken")) is None
    with pytest.raises(ValueError, match="anywhere"):
        directory.find(named("broken"))


def test_many_devices_are_read_at_once_with_a_handful_of_queries(directory: Directory):
    for number in range(50):
        create_device(f"pump-{number}", certificate_cn=f"cn-{number}")
    clients = [named(f"pump-{number}") for number in range(50)] + [Client(cn=f"cn-{n}") for n in range(50)]
    assert queries(lambda: directory.load(clients)) <= 12
    assert queries(lambda: [directory.find(client) for client in clients]) == 0
    assert all(principal_id(directory.peek(client)) for client in clients)


def test_old_policies_are_read_again_before_anybody_is_judged_by_them(directory: Directory, clock: Clock):
    create_device("pump-17")
    directory.find(named("pump-17"))
    create_rule(create_policy("new", everyone=True), "deny", "all", "#")
    clock.forward(FAIL_STATIC_AGE + 1)
    assert directory.peek(named("pump-17")) is None
    known = directory.find(named("pump-17"))
    assert known.rule_sets is not None
    assert len(known.rule_sets) == 1
    assert directory.peek(named("pump-17")) is not None


# --- Policies ---


def attach_to_everyone(policy: Policy, device: Device) -> None:
    policy.everyone = True
    policy.save()


def attach_to_the_device(policy: Policy, device: Device) -> None:
    policy.devices.add(device)


def attach_to_a_group(policy: Policy, device: Device) -> None:
    group = DeviceGroup.objects.create(name="pumps")
    device.groups.add(group)
    policy.groups.add(group)


@pytest.mark.parametrize(
    "attach",
    [attach_to_everyone, attach_to_the_device, attach_to_a_group],
    ids=lambda attach: attach.__name__,
)
def test_new_policies_reach_the_devices_that_are_held(
    directory: Directory, attach: Callable[[Policy, Device], None], django_assert_num_queries: Any
):
    device = create_device("pump-17")
    policy = create_policy("pumps")
    attach(policy, device)
    before = directory.find(named("pump-17"))
    assert not any(before.rule_sets or ())

    create_rule(policy, "allow", "publish", "up/#")
    directory.load_policies()
    with django_assert_num_queries(0):
        known = directory.peek(named("pump-17"))
    assert known is not None
    assert known.rule_sets is not None
    assert [rule.rule.topic_filter for rules in known.rule_sets for rule in rules.rules] == ["up/#"]
    with django_assert_num_queries(0):
        assert directory.peek(named("pump-17")) is known
        assert directory.find(named("pump-17")) is known

    Policy.objects.filter(pk=policy.pk).update(enabled=False)
    directory.load_policies()
    known = directory.peek(named("pump-17"))
    assert known is not None
    assert known.rule_sets == ()


def test_a_policy_that_does_not_compile_keeps_its_last_good_version_for_devices_held_and_new(
    directory: Directory,
):
    policy = create_policy("all", everyone=True)
    rule = create_rule(policy, "allow", "publish", "up/#")
    for name in ("held", "new"):
        create_device(name)
    directory.load_policies()
    directory.find(named("held"))
    type(rule).objects.filter(pk=rule.pk).update(topic_filter="up/#/down")
    directory.load_policies()
    for known in (directory.peek(named("held")), directory.find(named("new"))):
        assert known is not None
        assert known.rule_sets is not None
        assert [r.rule.topic_filter for rules in known.rule_sets for r in rules.rules] == ["up/#"]


def test_a_policy_that_never_compiled_is_no_policy_at_all_for_those_it_applies_to(directory: Directory):
    policy = create_policy("pumps")
    rule = create_rule(policy, "deny", "publish", "up/#")
    type(rule).objects.filter(pk=rule.pk).update(topic_filter="up/#/down")
    pump, lamp = create_device("pump"), create_device("lamp")
    policy.devices.add(pump)
    directory.load_policies()
    assert directory.find(named("pump")).rule_sets is None
    assert directory.find(named("lamp")).rule_sets == ()
    assert lamp.pk != pump.pk


def test_a_device_s_own_rule_that_does_not_compile_denies_it_until_it_is_mended(directory: Directory):
    device = create_device("pump-17")
    rule = create_rule(device, "allow", "publish", "up/#")
    type(rule).objects.filter(pk=rule.pk).update(topic_filter="up/#/down")
    assert directory.find(named("pump-17")).rule_sets is None
    directory.load_policies()
    known = directory.peek(named("pump-17"))
    assert known is not None
    assert known.rule_sets is None
    type(rule).objects.filter(pk=rule.pk).update(topic_filter="up/+")
    directory.invalidate(Change(device_ids=frozenset({device.pk})))
    assert directory.find(named("pump-17")).rule_sets


# --- Identity ---

USERNAME, CLIENT_ID, CN = DEFAULT_ORDER


@pytest.mark.parametrize(
    ("order", "client", "expected"),
    [
        pytest.param(DEFAULT_ORDER, Client(username="alpha"), "alpha", id="by username"),
        pytest.param(DEFAULT_ORDER, Client(client_id="beta"), "beta", id="by client id"),
        pytest.param(DEFAULT_ORDER, Client(cn="cn-of-gamma"), "gamma", id="by certificate"),
        pytest.param(
            DEFAULT_ORDER,
            Client(username="alpha", client_id="beta", cn="cn-of-gamma"),
            "alpha",
            id="all three",
        ),
        pytest.param(
            DEFAULT_ORDER,
            Client(client_id="beta", cn="cn-of-gamma"),
            "beta",
            id="client id before certificate",
        ),
        pytest.param(
            DEFAULT_ORDER,
            Client(client_id="nobody", cn="cn-of-gamma"),
            "gamma",
            id="unknown client id, certificate",
        ),
        pytest.param(
            DEFAULT_ORDER,
            Client(username="nobody", client_id="beta", cn="cn-of-gamma"),
            None,
            id="a username that was sent is final",
        ),
        pytest.param(
            [CN, USERNAME], Client(username="alpha", cn="cn-of-gamma"), "gamma", id="certificate first"
        ),
        pytest.param(
            [CN, USERNAME],
            Client(username="alpha", cn="unknown"),
            "alpha",
            id="unknown certificate, username",
        ),
        pytest.param(
            [CLIENT_ID, USERNAME], Client(username="alpha", client_id="beta"), "beta", id="client id first"
        ),
        pytest.param([USERNAME], Client(client_id="beta", cn="cn-of-gamma"), None, id="username alone"),
        pytest.param([CN], Client(username="alpha", client_id="beta"), None, id="certificate alone"),
        pytest.param(
            DEFAULT_ORDER, Client(client_id="cn-of-gamma"), None, id="a certificate's name is no client id"
        ),
        pytest.param(DEFAULT_ORDER, Client(cn="alpha"), None, id="a username is no certificate's name"),
        pytest.param(DEFAULT_ORDER, Client(username="ALPHA"), None, id="case matters"),
        pytest.param(DEFAULT_ORDER, Client(username="alpha\x00"), None, id="NUL"),
        pytest.param(DEFAULT_ORDER, Client(username="alpha "), None, id="a space at the end"),
        pytest.param(DEFAULT_ORDER, Client(username="alp%"), None, id="no patterns"),
        pytest.param(DEFAULT_ORDER, Client(), None, id="no name at all"),
    ],
)
def test_who_a_client_is(clock: Clock, order: Sequence[IdentitySource], client: Client, expected: str | None):
    ids = {
        "alpha": create_device("alpha", certificate_cn="cn-of-alpha").pk,
        "beta": create_device("beta").pk,
        "gamma": create_device("gamma", certificate_cn="cn-of-gamma").pk,
    }
    directory = new_directory(clock, order=order)
    for known in (directory.find(client), directory.peek(client), directory.find(client)):
        assert known is not None
        assert principal_id(known) == (ids[expected] if expected else None)
