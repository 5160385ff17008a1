"""Repeated questions: what was allowed is allowed again while nothing that it depended on has changed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.core.decision import Reason
from accounts.core.identity import DEFAULT_ORDER
from accounts.models import Device
from accounts.services import create_device
from acl.models import Policy, Rule
from acl.services import create_policy, create_rule
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.front import Front, Unanswered
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.logins import LoginLimits, Logins
from exhookadmin.exhook.memory import Change
from exhookadmin.exhook.provider import Options, Provider
from exhookadmin.exhook.repeats import CAPACITY, QUESTION_BYTES, Repeats
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.sightings import Sightings
from tests.exhook.server import V3, authenticate_request, authorize_request, method_of

MAX_AGE = 300.0
NOW = 1_700_000_000.0
NODE = ("emqxcl", "emqx@n1")
AUTHORIZE = method_of(V3, Hook.CLIENT_AUTHORIZE)
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}


class Clock:
    """Monotonic and wall clock that go on together when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def time(self) -> float:
        return NOW + self.now


def new_directory(clock: Clock) -> Directory:
    return Directory(DEFAULT_ORDER, 100, MAX_AGE, 3600.0, clock)


# --- The memory by itself ---


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(clock: Clock) -> Directory:
    return new_directory(clock)


@pytest.fixture
def repeats(directory: Directory) -> Repeats:
    return Repeats(directory, Sightings())


@pytest.mark.parametrize(("now", "allowed"), [(1_000.0, True), (1_009.9, True), (1_010.0, False)])
def test_a_question_is_allowed_again_until_its_time(
    repeats: Repeats, directory: Directory, now: float, allowed: bool
):
    repeats.remember(b"question", directory.version, 1_010.0, 17, NODE)
    assert repeats.allowed(b"question", now) is allowed
    assert not repeats.allowed(b"question, almost", now)


CHANGES: list[Callable[[Directory], None]] = [
    lambda directory: directory.invalidate(Change(device_ids=frozenset({17}))),
    lambda directory: directory.invalidate(Change(policies=True)),
    lambda directory: directory.invalidate(Change(new_names=True)),
    lambda directory: directory.invalidate(Change(everything=True)),
    lambda directory: directory.doubt(),
    lambda directory: directory.doubt(database_away=True),
]
each_change = pytest.mark.parametrize(
    "change", CHANGES, ids=["device", "policies", "names", "everything", "doubt", "database away"]
)


@each_change
def test_any_change_ends_all_that_was_allowed(
    repeats: Repeats, directory: Directory, change: Callable[[Directory], None]
):
    repeats.remember(b"question", directory.version, 2_000.0, 17, NODE)
    change(directory)
    assert not repeats.allowed(b"question", 1_000.0)
    assert not repeats.allowed(b"question", 1_000.0)
    assert len(repeats) == 0
    repeats.remember(b"question", directory.version, 2_000.0, 17, NODE)
    assert repeats.allowed(b"question", 1_000.0)


@each_change
def test_what_changed_between_decision_and_remembering_is_not_remembered(
    repeats: Repeats, directory: Directory, change: Callable[[Directory], None]
):
    assert not repeats.allowed(b"question", 1_000.0)
    version = directory.version
    change(directory)
    repeats.remember(b"question", version, 2_000.0, 17, NODE)
    assert len(repeats) == 0
    assert not repeats.allowed(b"question", 1_000.0)


def test_no_more_are_held_than_there_is_room_for_and_the_oldest_goes(directory: Directory):
    repeats = Repeats(directory, Sightings(), capacity=3)
    for question in (b"1", b"2", b"3", b"4"):
        repeats.remember(question, directory.version, 2_000.0, 17, NODE)
        assert len(repeats) <= 3
    assert [repeats.allowed(question, 1_000.0) for question in (b"1", b"2", b"3", b"4")] == [
        False,
        True,
        True,
        True,
    ]


def test_the_same_question_anew_pushes_no_other_out_and_is_the_newest(directory: Directory):
    repeats = Repeats(directory, Sightings(), capacity=3)
    for question in (b"1", b"2", b"3", b"3"):
        repeats.remember(question, directory.version, 2_000.0, 17, NODE)
    assert [repeats.allowed(question, 1_000.0) for question in (b"1", b"2", b"3")] == [True, True, True]
    for question in (b"1", b"4"):
        repeats.remember(question, directory.version, 2_000.0, 17, NODE)
    assert [repeats.allowed(question, 1_000.0) for question in (b"1", b"2", b"3", b"4")] == [
        True,
        False,
        True,
        True,
    ]


def test_a_million_questions_take_the_room_of_the_capacity(repeats: Repeats, directory: Directory):
    most = 0
    for number in range(1_000_000):
        repeats.remember(b"%d" % number, directory.version, 2_000.0, 17, NODE)
        most = max(most, len(repeats))
    assert most == CAPACITY


@pytest.mark.parametrize(
    ("size", "kept"), [(QUESTION_BYTES, True), (QUESTION_BYTES + 1, False), (65_535, False)]
)
def test_a_question_that_is_too_long_is_asked_each_time(
    repeats: Repeats, directory: Directory, size: int, kept: bool
):
    repeats.remember(b"x" * size, directory.version, 2_000.0, 17, NODE)
    assert repeats.allowed(b"x" * size, 1_000.0) is kept


# --- In front of the decision ---


class World:
    """A front over the database, and a clock for all of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr("exhookadmin.exhook.provider.time", SimpleNamespace(time=self.clock.time))
        self.provider = self._provider()
        self.front = Front(self.provider)

    @property
    def repeated(self) -> int:
        return self.provider.tally.repeated[AUTHORIZE]

    def _provider(self) -> Provider:
        options = Options.from_settings()
        directory = new_directory(self.clock)
        directory.load_policies()
        logins = Logins(options.identity_order, LoginLimits.from_settings(), 100)
        return Provider(directory, logins, lambda _: None, options)

    def ask(self, topic: str, **clientinfo: Any) -> bytes:
        """As a transport asks, on one thread."""
        message = authorize_request(V3, topic, **(PUMP | clientinfo))
        reply = self.front.receive(AUTHORIZE, message.SerializeToString())
        if isinstance(reply, Unanswered):
            self.provider.load([message])
            reply = self.front.receive(AUTHORIZE, message.SerializeToString())
        assert isinstance(reply, bytes)
        return reply

    def ask_afresh(self, topic: str, **clientinfo: Any) -> bytes:
        """What somebody without any memory answers."""
        return self._provider().full(AUTHORIZE, authorize_request(V3, topic, **(PUMP | clientinfo)))

    def changed(self, device: Device | None = None) -> None:
        """What the change feed does when something was committed."""
        if device is None:
            self.provider.directory.load_policies()
        else:
            self.provider.directory.invalidate(Change(device_ids=frozenset({device.pk}), new_names=True))


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(monkeypatch)
    yield world
    world.front.close()


@pytest.fixture
def device(world: World) -> Device:
    """The pump, which may publish to up/#, in memory."""
    device = create_device("pump-17")
    create_rule(device, "allow", "publish", "up/#")
    return device


def test_the_second_time_nothing_is_read_nor_decided(
    world: World, device: Device, django_assert_num_queries: Any
):
    assert world.ask("up/t") == ALLOW
    assert world.repeated == 0
    with django_assert_num_queries(0):
        assert world.ask("up/t") == ALLOW
        assert world.ask("up/t") == ALLOW
    assert world.repeated == 2
    assert world.provider.tally.allowed[AUTHORIZE.request][Reason.RULE_ALLOWS] == 1


def test_another_topic_or_client_is_another_question(world: World, device: Device):
    assert world.ask("up/t") == ALLOW
    assert world.ask("up/u") == ALLOW
    assert world.ask("up/t", peerhost="192.0.2.8") == ALLOW
    assert world.repeated == 0


def test_a_denial_is_decided_and_recorded_each_time(world: World, device: Device):
    for number in range(1, 4):
        assert world.ask("down/t") == DENY
        assert world.provider.tally.denied[AUTHORIZE.request][Reason.NO_RULE_MATCHED] == number
    assert (world.repeated, len(world.front._repeats)) == (0, 0)


def test_a_connect_is_never_taken_from_here(world: World, device: Device):
    Device.objects.filter(pk=device.pk).update(credential_required=False)
    authenticate = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    message = authenticate_request(V3, **PUMP)
    world.provider.load([message])
    for _ in range(2):
        assert world.front.receive(authenticate, message.SerializeToString()) == ALLOW
    assert len(world.front._repeats) == 0


def test_a_change_ends_it(world: World, device: Device):
    assert [world.ask("up/t"), world.ask("up/t")] == [ALLOW, ALLOW]
    Device.objects.filter(pk=device.pk).update(enabled=False)
    world.changed(device)
    assert world.ask("up/t") == DENY


def test_the_end_of_the_validity_window_ends_it(world: World, device: Device):
    end = datetime.fromtimestamp(world.clock.time() + 10, UTC)
    Device.objects.filter(pk=device.pk).update(valid_until=end)
    assert [world.ask("up/t"), world.ask("up/t")] == [ALLOW, ALLOW]
    world.clock.now += 9.0
    assert (world.ask("up/t"), world.repeated) == (ALLOW, 2)
    world.clock.now += 1.5
    assert (world.ask("up/t"), world.repeated) == (DENY, 2)


def test_its_beginning_is_no_edge_once_it_has_passed(world: World, device: Device):
    begin = datetime.fromtimestamp(world.clock.time() + 10, UTC)
    Device.objects.filter(pk=device.pk).update(valid_from=begin)
    assert world.ask("up/t") == DENY
    world.clock.now += 11.0
    assert [world.ask("up/t"), world.ask("up/t")] == [ALLOW, ALLOW]
    assert world.repeated == 1


def test_it_lives_no_longer_than_the_device_s_entry(world: World, device: Device):
    assert world.ask("up/t") == ALLOW
    world.clock.now += MAX_AGE - 1
    assert (world.ask("up/t"), world.repeated) == (ALLOW, 1)
    # A change that no feed told of.
    Device.objects.filter(pk=device.pk).update(enabled=False)
    world.clock.now += 2
    assert (world.ask("up/t"), world.repeated) == (DENY, 1)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            st.sampled_from(["up/t", "up/u", "down/t"]),
            st.sampled_from(["pump-17", "pump-18", "nobody"]),
        ),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 7.0, 200.0]), st.just("")),
        st.tuples(
            st.sampled_from(["toggle", "superuser", "window", "rule", "policy"]),
            st.sampled_from(["pump-17", "pump-18"]),
            st.sampled_from(["up/#", "up/t", "down/${clientid}", "#"]),
        ),
    ),
    min_size=5,
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps)
def test_memory_answers_what_deciding_afresh_would(world: World, happened: list[tuple[str, Any, str]]):
    Device.objects.all().delete()
    Policy.objects.all().delete()
    devices = {name: create_device(name) for name in ("pump-17", "pump-18")}
    for device in devices.values():
        create_rule(device, "allow", "publish", "up/#")
    policy = create_policy("all", everyone=True)
    world.provider.directory.invalidate(Change(everything=True))
    world.changed()
    for what, one, other in happened:
        if what == "ask":
            client = {"clientid": other, "username": other}
            afresh = world.ask_afresh(one, **client)
            assert [world.ask(one, **client), world.ask(one, **client)] == [afresh, afresh]
        elif what == "pass":
            world.clock.now += one
        else:
            change(what, devices[one], policy, other, world.clock.time())
            world.changed(None if what == "policy" else devices[one])


def change(what: str, device: Device, policy: Policy, topic: str, now: float) -> None:
    row = Device.objects.get(pk=device.pk)
    if what == "toggle":
        Device.objects.filter(pk=device.pk).update(enabled=not row.enabled)
    elif what == "superuser":
        Device.objects.filter(pk=device.pk).update(superuser=not row.superuser)
    elif what == "window":
        begin = datetime.fromtimestamp(now, UTC)
        Device.objects.filter(pk=device.pk).update(
            valid_from=begin + timedelta(seconds=5), valid_until=begin + timedelta(seconds=10)
        )
    elif what == "rule":
        Rule.objects.filter(device=device).delete()
        create_rule(device, "allow", "publish", topic)
    else:
        Rule.objects.filter(policy=policy).delete()
        create_rule(policy, "deny", "publish", topic)
