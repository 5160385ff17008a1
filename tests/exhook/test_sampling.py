"""Allowed decisions become facts by chance, as often as the settings say; denials always do."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts.models import Device
from accounts.services import create_device, create_token
from acl.models import Rule
from acl.services import create_policy, create_rule
from audit.fact import Fact
from exhookadmin.exhook.front import Front, Unanswered
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.service import new_provider
from tests.exhook.server import V3, authenticate_request, authorize_request, method_of

pytestmark = pytest.mark.django_db

AUTHENTICATE = method_of(V3, Hook.CLIENT_AUTHENTICATE)
AUTHORIZE = method_of(V3, Hook.CLIENT_AUTHORIZE)
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}


class World:
    """A front as the settings are now, with the pump in memory."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.provider = new_provider(self.facts.append)
        self.provider.directory.load_policies()
        self.provider.load([authorize_request(V3, "a", **PUMP)])
        self.front = Front(self.provider)

    def ask(self, topic: str = "up/t") -> bytes | Unanswered:
        return self.front.receive(AUTHORIZE, authorize_request(V3, topic, **PUMP).SerializeToString())

    def log_in(self, password: str) -> bytes | Unanswered:
        message = authenticate_request(V3, **PUMP, password=password)
        return self.front.receive(AUTHENTICATE, message.SerializeToString())

    @property
    def repeated(self) -> int:
        return self.provider.tally.repeated[AUTHORIZE]


@pytest.fixture
def pump() -> Device:
    device = create_device("pump-17")
    create_rule(device, "allow", "publish", "up/#")
    return device


@pytest.fixture(autouse=True)
def the_same_chance_each_time() -> Iterator[None]:
    state = random.getstate()
    random.seed(17)
    yield
    random.setstate(state)


MakeWorld = Callable[..., World]


@pytest.fixture
def world(settings: Any) -> Iterator[MakeWorld]:
    """Makes one with these shares; without any, with the default."""
    made: list[World] = []

    def make(**shares: float) -> World:
        for kind, share in shares.items():
            setattr(settings, f"EXHOOK_SAMPLE_{kind.upper()}", share)
        made.append(World())
        return made[-1]

    yield make
    for each in made:
        each.front.close()


def test_by_default_nothing_that_was_allowed_is_recorded(world: MakeWorld, pump: Device):
    _, token = create_token(pump)
    made = world()
    assert [made.log_in(token), made.ask(), made.ask()] == [ALLOW] * 3
    assert made.facts == []
    assert made.repeated == 1


def test_all_of_it_is_recorded_where_the_share_is_1(world: MakeWorld, pump: Device):
    credential, token = create_token(pump)
    made = world(authenticate=1.0, authorize=1.0)
    assert [made.log_in(token), made.ask(), made.ask(), made.ask()] == [ALLOW] * 4
    rule = Rule.objects.get()
    login, *accesses = made.facts
    assert (login.kind, login.allowed, login.reason) == ("client.authenticate", True, "credential_verified")
    assert (login.credential_id, login.device, login.rule) == (credential.pk, "pump-17", "")
    assert len(accesses) == 3
    for fact in accesses:
        assert (fact.kind, fact.allowed, fact.reason) == ("client.authorize", True, "rule_allows")
        assert (fact.action, fact.topic) == ("publish", "up/t")
        assert (fact.rule_id, fact.rule) == (rule.pk, "allow publish up/# (device pump-17)")
    assert made.repeated == 0


@pytest.mark.parametrize("share", [0.01, 0.25, 0.9])
def test_of_repeated_questions_too_that_share_is_recorded(world: MakeWorld, pump: Device, share: float):
    made = world(authorize=share)
    assert {made.ask() for _ in range(4_000)} == {ALLOW}
    assert len(made.facts) == pytest.approx(4_000 * share, abs=120)
    # What is not recorded is not decided again either.
    assert made.repeated + len(made.facts) in (3_999, 4_000)


def test_of_new_questions_that_share_is_recorded_once_each(world: MakeWorld, pump: Device):
    made = world(authorize=0.25)
    assert {made.ask(f"up/{number}") for number in range(4_000)} == {ALLOW}
    assert len(made.facts) == pytest.approx(1_000, abs=120)


def test_of_what_a_bulkhead_answers_that_share_is_recorded(world: MakeWorld, pump: Device):
    made = world(authorize=0.25)
    message = authorize_request(V3, "up/t", **PUMP)
    assert {made.provider.full(AUTHORIZE, message) for _ in range(2_000)} == {ALLOW}
    assert {made.provider.quick(AUTHORIZE, message) for _ in range(2_000)} == {ALLOW}
    assert len(made.facts) == pytest.approx(1_000, abs=120)


def test_each_kind_has_a_share_of_its_own(world: MakeWorld, pump: Device):
    _, token = create_token(pump)
    made = world(authenticate=0.25, authorize=0.0)
    assert {made.log_in(token) for _ in range(2_000)} == {ALLOW}
    assert {made.ask() for _ in range(10)} == {ALLOW}
    assert {fact.kind for fact in made.facts} == {"client.authenticate"}
    assert len(made.facts) == pytest.approx(500, abs=90)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_denial_is_recorded(world: MakeWorld, pump: Device, share: float):
    made = world(authorize=share)
    assert {made.ask("down/t") for _ in range(50)} == {DENY}
    assert [fact.allowed for fact in made.facts] == [False] * 50


# --- Which policies decided ---


def test_every_recorded_decision_names_the_policies_in_force(world: MakeWorld, pump: Device):
    _, token = create_token(pump)
    policy = create_policy("all", everyone=True)
    create_rule(policy, "deny", "publish", "down/#")
    made = world(authenticate=1.0, authorize=1.0)
    before = made.provider.directory.book.revision

    def decide() -> set[str]:
        made.facts.clear()
        replies = [made.log_in(token), made.log_in(""), made.ask("up/t"), made.ask("down/t")]
        assert replies == [ALLOW, DENY, ALLOW, DENY]
        assert len(made.facts) == 4
        return {fact.revision for fact in made.facts}

    assert decide() == {before}
    assert len(before) == 16
    rule = create_rule(policy, "deny", "publish", "sideways/#")
    made.provider.directory.load_policies()
    after = made.provider.directory.book.revision
    assert after != before
    assert decide() == {after}
    rule.delete()
    made.provider.directory.load_policies()
    assert decide() == {before}


def test_a_decision_that_failed_names_them_too(world: MakeWorld, pump: Device, monkeypatch: Any):
    made = world()
    monkeypatch.setattr("exhookadmin.exhook.provider.authorize", None)
    assert made.ask() == DENY
    (fact,) = made.facts
    assert (fact.reason, fact.revision) == ("internal_error", made.provider.directory.book.revision)
