"""The front: a call's way through memory, loading and hashing, and who is refused when that is too much."""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from google.protobuf.message import DecodeError

from accounts import principals
from accounts.core.decision import Reason
from accounts.models import Device
from accounts.passwords import password_matches
from accounts.services import add_password, create_device, create_token
from acl.services import create_rule
from audit.fact import Fact
from exhookadmin.exhook import front as front_module
from exhookadmin.exhook.front import LOADING_THREADS, Front, Unanswered
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.logins import Need
from exhookadmin.exhook.memory import Name
from exhookadmin.exhook.replies import ALLOW, DENY, EMPTY_SUCCESS
from exhookadmin.exhook.service import new_provider
from tests.exhook.server import V3, authenticate_request, authorize_request, client_request, method_of

SECONDS = 60.0
NEVER = float("inf")
AUTHENTICATE = method_of(V3, Hook.CLIENT_AUTHENTICATE)
AUTHORIZE = method_of(V3, Hook.CLIENT_AUTHORIZE)
CONNECTED = method_of(V3, Hook.CLIENT_CONNECTED)


class Call:
    """One call and every reply it was given."""

    def __init__(self, front: Front, method: Any, message: Any, deadline: float = NEVER) -> None:
        self.replies: list[bytes] = []
        self._answered = threading.Event()
        reply = front.receive(method, message.SerializeToString())
        self.need = reply.need if isinstance(reply, Unanswered) else None
        if isinstance(reply, Unanswered):
            front.later(reply, deadline, self._done)
        else:
            self._done(reply)

    def _done(self, reply: bytes) -> None:
        self.replies.append(reply)
        self._answered.set()

    def reply(self) -> bytes:
        assert self._answered.wait(SECONDS)
        (reply,) = self.replies
        return reply


class Gate:
    """Stands in front of slow work: notes who comes by, and holds them up while it is shut."""

    def __init__(self) -> None:
        self.passed: list[tuple[str, Any]] = []
        self._open = threading.Event()
        self._open.set()
        self._came = threading.Condition()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def before(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def gated(*args: Any) -> Any:
            with self._came:
                self.passed.append((threading.current_thread().name, args[0]))
                self._came.notify_all()
            assert self._open.wait(SECONDS)
            return work(*args)

        return gated

    def wait_for(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.passed) >= count, SECONDS)


def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.001)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """In front of the query for devices."""
    gate = Gate()

    def find_devices(names: Iterable[Name]) -> dict[Name, Device]:
        return principals.find_devices(names)

    monkeypatch.setattr("exhookadmin.exhook.directory.find_devices", gate.before(find_devices))
    yield gate
    gate.open()


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """In front of each slow hash, of a real password or of nobody's."""
    gate = Gate()
    gated = gate.before(password_matches)
    monkeypatch.setattr("exhookadmin.exhook.logins.password_matches", gated)
    monkeypatch.setattr("accounts.passwords.password_matches", gated)
    yield gate
    gate.open()


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def front(
    database: None, reading: Gate, hashing: Gate, facts: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Front]:
    """With one thread that hashes, so that a single login keeps it busy."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    provider = new_provider(facts.append)
    provider.directory.load_policies()
    front = Front(provider)
    yield front
    reading.open()
    hashing.open()
    front.close()
    # The threads have ended; their database connections end with the last reference.
    gc.collect()


def clientinfo(name: str, password: str = "") -> dict[str, Any]:
    return {"clientid": name, "username": name, "peerhost": "192.0.2.7", "password": password}


def connects(front: Front, name: str, password: str, deadline: float = NEVER) -> Call:
    return Call(front, AUTHENTICATE, authenticate_request(V3, **clientinfo(name, password)), deadline)


def publishes(front: Front, name: str, topic: str, deadline: float = NEVER) -> Call:
    return Call(front, AUTHORIZE, authorize_request(V3, topic, **clientinfo(name)), deadline)


def with_password(name: str) -> Device:
    device = create_device(name)
    add_password(device, "correct horse")
    create_rule(device, "allow", "publish", "up/#")
    return device


def load(front: Front, *names: str) -> None:
    front.provider.load([authorize_request(V3, "x", **clientinfo(name)) for name in names])


def overloaded(front: Front) -> int:
    return sum(denied[Reason.OVERLOADED] for denied in front.tally.denied.values())


# --- From memory to loading to hashing ---


def test_a_first_login_is_loaded_then_hashed_then_answered_once(front: Front, reading: Gate, hashing: Gate):
    with_password("pump-17")
    call = connects(front, "pump-17", "correct horse")
    assert call.need is Need.DEVICE
    assert call.reply() == ALLOW
    (loaded,), (hashed,) = reading.passed, hashing.passed
    assert loaded[0].startswith("loading-")
    assert hashed[0].startswith("hashing-")
    assert (front.tally.needs[Need.DEVICE], front.tally.needs[Need.HASH]) == (1, 1)
    assert front.tally.full[AUTHENTICATE].count == 1
    # From then on memory is enough.
    again = connects(front, "pump-17", "correct horse")
    assert (again.need, again.replies) == (None, [ALLOW])
    assert (len(reading.passed), len(hashing.passed)) == (1, 1)


@pytest.mark.parametrize(
    ("name", "password", "reply", "needs"),
    [
        ("pump-17", "wrong horse", DENY, {Need.DEVICE: 1, Need.HASH: 1, Need.DUMMY_HASH: 0}),
        ("nobody", "correct horse", DENY, {Need.DEVICE: 1, Need.HASH: 0, Need.DUMMY_HASH: 1}),
        ("nobody", "", DENY, {Need.DEVICE: 1, Need.HASH: 0, Need.DUMMY_HASH: 0}),
        ("pump-17", "exh_" + "a" * 32, DENY, {Need.DEVICE: 1, Need.HASH: 0, Need.DUMMY_HASH: 0}),
    ],
    ids=["wrong password", "nobody", "no password", "token"],
)
def test_a_refused_login_takes_the_same_way(
    front: Front, name: str, password: str, reply: bytes, needs: dict[Need, int], facts: list[Fact]
):
    with_password("pump-17")
    assert connects(front, name, password).reply() == reply
    assert front.tally.needs == needs
    assert [fact.allowed for fact in facts] == [False]


def test_other_hooks_of_a_device_not_in_memory_are_loaded_only(front: Front, hashing: Gate):
    with_password("pump-17")
    assert publishes(front, "pump-17", "up/t").reply() == ALLOW
    connected = Call(front, CONNECTED, client_request(V3, Hook.CLIENT_CONNECTED, clientinfo("pump-18")))
    assert connected.reply() == EMPTY_SUCCESS
    assert hashing.passed == []


def test_bytes_that_are_no_message_are_refused_and_counted(front: Front):
    with pytest.raises(DecodeError):
        front.receive(AUTHORIZE, b"\xff\xff\xff")
    assert front.tally.refused["malformed"] == 1


# --- Many at once ---


def test_many_devices_cost_as_many_queries_as_one(front: Front):
    costs = []
    for count in (1, 10, 200):
        names = [f"pump-{count}-{number}" for number in range(count)]
        for name in names:
            with_password(name)
        with CaptureQueriesContext(connection) as captured:
            load(front, *names)
        costs.append(len(captured))
        assert all(publishes(front, name, "up/t").need is None for name in names)
    assert costs == [costs[0]] * 3
    assert costs[0] <= 6


def loading_held_up(front: Front, reading: Gate) -> list[Call]:
    """Calls that keep every loading thread waiting for the database."""
    reading.shut()
    calls = []
    for number in range(LOADING_THREADS):
        calls.append(publishes(front, f"held-up-{number}", "x"))
        reading.wait_for(number + 1)
    return calls


def test_what_waits_is_read_together(front: Front, reading: Gate):
    names = [f"pump-{number}" for number in range(50)]
    for name in names:
        with_password(name)
    held_up = loading_held_up(front, reading)
    calls = [publishes(front, name, "up/t") for name in names]
    assert front.loading.waiting == 50
    reading.open()
    assert [call.reply() for call in calls] == [ALLOW] * 50
    assert [call.reply() for call in held_up] == [DENY] * LOADING_THREADS
    assert len(reading.passed) == LOADING_THREADS + 1


def test_a_device_that_cannot_be_read_is_denied_and_the_others_with_it_are_not(front: Front, reading: Gate):
    for name in ("good-1", "broken", "good-2"):
        with_password(name)
    Device.objects.filter(username="broken").update(networks="no network")
    held_up = loading_held_up(front, reading)
    publish = [publishes(front, name, "up/t") for name in ("good-1", "broken", "good-2")]
    connect = [connects(front, name, "correct horse") for name in ("good-1", "broken", "good-2")]
    reading.open()
    assert [call.reply() for call in publish] == [ALLOW, DENY, ALLOW]
    assert [call.reply() for call in connect] == [ALLOW, DENY, ALLOW]
    assert front.tally.denied[AUTHORIZE.request][Reason.INTERNAL_ERROR] == 1
    assert [call.reply() for call in held_up] == [DENY] * LOADING_THREADS


def test_loading_goes_on_while_passwords_are_hashed(front: Front, hashing: Gate):
    for number in range(3):
        with_password(f"pump-{number}")
    hashing.shut()
    logins = [connects(front, f"pump-{number}", "correct horse") for number in range(3)]
    hashing.wait_for(1)
    with_password("pump-17")
    assert publishes(front, "pump-17", "up/t").reply() == ALLOW
    assert [call.replies for call in logins] == [[], [], []]
    hashing.open()
    assert [call.reply() for call in logins] == [ALLOW] * 3


# --- Overload ---


def hashing_held_up(front: Front, hashing: Gate, waiting: int = 0) -> list[Call]:
    """Logins of devices in memory: one that keeps the hashing thread, and more that wait for it."""
    names = [f"storm-{number}" for number in range(waiting + 1)]
    for name in names:
        with_password(name)
    load(front, *names)
    before = len(hashing.passed)
    hashing.shut()
    calls = [connects(front, names[0], "correct horse")]
    hashing.wait_for(before + 1)
    calls += [connects(front, name, "correct horse") for name in names[1:]]
    assert front.hashing.waiting == waiting
    return calls


def test_dummy_work_is_done_only_when_there_is_no_other(front: Front, hashing: Gate):
    load(front, "nobody")
    calls = hashing_held_up(front, hashing)
    hashed = len(hashing.passed)
    refused = connects(front, "nobody", "any password")
    assert (refused.need, refused.replies) == (Need.DUMMY_HASH, [DENY])
    assert len(hashing.passed) == hashed
    assert front.tally.denied[AUTHENTICATE.request][Reason.UNKNOWN_DEVICE] == 1
    hashing.open()
    assert [call.reply() for call in calls] == [ALLOW]
    until(lambda: front.hashing.idle)
    assert connects(front, "nobody", "another password").reply() == DENY
    assert len(hashing.passed) == hashed + 1


@pytest.fixture
def overload(front: Front, hashing: Gate, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The backlog of hashing is above what is waited for; the logins that make it up."""
    monkeypatch.setattr(front_module, "BACKLOG_SECONDS", 0.0)
    with_password("before")
    assert connects(front, "before", "correct horse").reply() == ALLOW
    until(lambda: front.hashing.idle)  # Only now is known what a hash costs.
    calls = hashing_held_up(front, hashing, waiting=2)
    assert front.hashing.backlog_seconds > 0.0
    return calls


def test_under_overload_a_password_is_refused_before_the_database_is_asked(
    front: Front, overload: list[Call], reading: Gate, hashing: Gate
):
    with_password("pump-17")
    read, hashed, shed = len(reading.passed), len(hashing.passed), front.hashing.shed
    with CaptureQueriesContext(connection) as captured:
        refused = connects(front, "pump-17", "correct horse")
    assert (refused.need, refused.replies) == (Need.DEVICE, [DENY])
    assert (len(captured), len(reading.passed), len(hashing.passed)) == (0, read, hashed)
    assert (overloaded(front), front.hashing.shed) == (1, shed + 1)
    hashing.open()
    assert [call.reply() for call in overload] == [ALLOW] * 3
    until(lambda: front.hashing.idle)
    assert connects(front, "pump-17", "correct horse").reply() == ALLOW


def test_under_overload_all_that_needs_no_hash_is_served(
    front: Front, overload: list[Call], hashing: Gate, reading: Gate
):
    _, token = create_token(create_device("token-17"))
    with_password("pump-17")
    create_device("open-17", credential_required=False)
    hashed, read = len(hashing.passed), len(reading.passed)
    by_token = connects(front, "token-17", token)
    assert (by_token.need, by_token.reply()) == (Need.DEVICE, ALLOW)
    publish = publishes(front, "pump-17", "up/t")
    assert (publish.need, publish.reply()) == (Need.DEVICE, ALLOW)
    without_any = connects(front, "open-17", "")
    assert (without_any.need, without_any.reply()) == (Need.DEVICE, ALLOW)
    assert connects(front, "before", "correct horse").replies == [ALLOW]
    assert (len(hashing.passed), len(reading.passed)) == (hashed, read + 3)
    assert [call.replies for call in overload] == [[], [], []]
    assert overloaded(front) == 0


# --- Deadlines ---


def test_a_deadline_that_has_passed_is_not_loaded_for(front: Front, reading: Gate, facts: list[Fact]):
    with_password("pump-17")
    past = time.monotonic() - 1
    assert publishes(front, "pump-17", "up/t", past).reply() == DENY
    assert connects(front, "pump-17", "correct horse", past).reply() == DENY
    assert (reading.passed, overloaded(front), front.loading.shed) == ([], 2, 2)
    assert {fact.reason for fact in facts} == {Reason.OVERLOADED}


def test_nor_is_it_hashed_for(front: Front, hashing: Gate):
    with_password("pump-17")
    load(front, "pump-17")
    late = connects(front, "pump-17", "correct horse", time.monotonic() - 1)
    assert (late.need, late.reply()) == (Need.HASH, DENY)
    assert (hashing.passed, overloaded(front), front.hashing.shed) == ([], 1, 1)


def test_a_deadline_goes_along_from_loading_to_hashing(
    front: Front, reading: Gate, hashing: Gate, monkeypatch: pytest.MonkeyPatch
):
    with_password("pump-17")
    now = [1_000.0]
    monkeypatch.setattr("exhookadmin.exhook.bulkheads.time", SimpleNamespace(monotonic=lambda: now[0]))
    reading.shut()
    call = connects(front, "pump-17", "correct horse", now[0] + 5.0)
    reading.wait_for(1)
    now[0] += 6.0
    reading.open()
    assert call.reply() == DENY
    assert (hashing.passed, front.loading.shed, front.hashing.shed) == ([], 0, 1)


# --- Closing ---


def test_closing_finishes_what_has_begun_and_denies_the_rest(front: Front, hashing: Gate):
    begun, *waiting = hashing_held_up(front, hashing, waiting=3)
    closing = threading.Thread(target=front.close)
    closing.start()
    assert [call.reply() for call in waiting] == [DENY] * 3
    assert begun.replies == []
    hashing.open()
    closing.join(SECONDS)
    assert begun.reply() == ALLOW
    assert overloaded(front) == 3


def test_a_login_that_is_being_loaded_when_it_closes_is_answered_too(front: Front, reading: Gate):
    with_password("pump-17")
    reading.shut()
    call = connects(front, "pump-17", "correct horse")
    reading.wait_for(1)
    closing = threading.Thread(target=front.close)
    closing.start()
    reading.open()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert call.reply() in (ALLOW, DENY)  # By when the hashing closed; once in any case.


def test_after_closing_every_call_that_memory_cannot_answer_is_denied(front: Front):
    with_password("pump-17")
    load(front, "pump-17")
    front.close()
    assert publishes(front, "pump-17", "up/t").replies == [ALLOW]
    assert publishes(front, "pump-18", "up/t").replies == [DENY]
    assert connects(front, "pump-17", "correct horse").replies == [DENY]
