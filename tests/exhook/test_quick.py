"""``quick`` answers from memory: no query, no slow hash, nothing to wait for. Or it says what it needs."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.core.principal import CredentialKind
from accounts.models import Credential, Device
from accounts.services import add_password, create_device, create_token
from acl.services import create_policy, create_rule
from audit.fact import Fact
from exhookadmin.exhook.hooks import MESSAGE_HOOKS, Hook
from exhookadmin.exhook.logins import Need
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.replies import ALLOW, DENY, EMPTY_SUCCESS, IGNORE
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.exhook.server import (
    V3,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
)

pytestmark = pytest.mark.django_db
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)

PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}
NOBODY: dict[str, Any] = {"clientid": "nobody", "username": "nobody"}
ABOUT_A_DEVICE = set(Hook) - {Hook.PROVIDER_LOADED, Hook.PROVIDER_UNLOADED}
ABOUT_A_DEVICE_BY_DEFAULT = {
    Hook.CLIENT_AUTHENTICATE,
    Hook.CLIENT_AUTHORIZE,
    Hook.CLIENT_CONNACK,
    Hook.CLIENT_CONNECTED,
    Hook.CLIENT_DISCONNECTED,
}
# bcrypt of cost 31: on any machine, verifying it takes days. No test that computed it would end.
DAYS = "bcrypt_sha256$$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def every_hook(settings: Any) -> None:
    """All that EMQX could be asked to call, all of it recorded."""
    settings.EXHOOK_HOOKS = [hook.value for hook in ABOUT_A_DEVICE]
    settings.EXHOOK_MESSAGE_TOPICS = ["up/#"]
    settings.EXHOOK_SAMPLE_AUTHENTICATE = settings.EXHOOK_SAMPLE_AUTHORIZE = 1.0


@pytest.fixture
def provider(facts: list[Fact]) -> Provider:
    provider = new_provider(facts.append)
    provider.directory.load_policies()
    return provider


@pytest.fixture
def pump() -> Device:
    """A device with rules of its own and a policy."""
    device = create_device("pump-17")
    create_rule(device, "allow", "publish", "up/${clientid}/#")
    create_rule(create_policy("all", everyone=True), "deny", "subscribe", "secret/#")
    return device


def requests(version: Version) -> Iterator[tuple[Hook, Any]]:
    """One request about the pump for each hook."""
    for hook in Hook:
        takes = request_class(method_of(version, hook))
        if hook == Hook.CLIENT_AUTHORIZE:
            yield hook, authorize_request(version, "up/pump-17/t", **PUMP)
        elif hook == Hook.CLIENT_AUTHENTICATE:
            yield hook, authenticate_request(version, **PUMP)
        elif hook == Hook.CLIENT_CONNACK:
            info = version.pb2.ConnInfo(clientid="pump-17", username="pump-17", peerhost="192.0.2.7")
            yield hook, takes(conninfo=info, result_code="not_authorized")
        elif hook == Hook.CLIENT_CONNECT:
            yield hook, takes(conninfo=version.pb2.ConnInfo(clientid="pump-17", username="pump-17"))
        elif hook in MESSAGE_HOOKS:
            sent = {"from": "pump-17", "topic": "up/pump-17/t", "headers": {"username": "pump-17"}}
            client = {"clientinfo": version.pb2.ClientInfo(**PUMP)}
            receiver = client if "clientinfo" in takes.DESCRIPTOR.fields_by_name else {}
            yield hook, takes(message=version.pb2.Message(**sent), **receiver)
        elif "clientinfo" in takes.DESCRIPTOR.fields_by_name:
            yield hook, client_request(version, hook, PUMP)
        else:
            yield hook, takes()


def warm(provider: Provider, **clientinfo: Any) -> None:
    method = method_of(V3, Hook.CLIENT_AUTHORIZE)
    provider.full(method, authorize_request(V3, "a/b", **clientinfo))


@each_version
def test_every_hook_of_a_known_device_is_answered_without_a_query(
    provider: Provider, pump: Device, version: Version, django_assert_num_queries: Any
):
    provider.directory.load_policies()
    warm(provider, **PUMP)
    with django_assert_num_queries(0):
        replies = {
            hook: provider.quick(method_of(version, hook), message) for hook, message in requests(version)
        }
    assert all(isinstance(reply, bytes) for reply in replies.values())
    assert replies[Hook.CLIENT_AUTHORIZE] == ALLOW
    assert replies[Hook.CLIENT_AUTHENTICATE] == DENY
    assert replies[Hook.MESSAGE_PUBLISH] == IGNORE
    assert replies[Hook.CLIENT_CONNECTED] == EMPTY_SUCCESS


@each_version
def test_nor_does_recording_every_hook_take_one(
    every_hook: None,
    provider: Provider,
    pump: Device,
    facts: list[Fact],
    version: Version,
    django_assert_num_queries: Any,
):
    warm(provider, **PUMP)
    facts.clear()
    with django_assert_num_queries(0):
        replies = {
            hook: provider.quick(method_of(version, hook), message) for hook, message in requests(version)
        }
    assert Counter(str(fact.kind) for fact in facts) == Counter(str(hook) for hook in Hook)
    about_the_pump = {str(fact.kind) for fact in facts if fact.device_id == pump.pk}
    assert about_the_pump == {str(hook) for hook in ABOUT_A_DEVICE}
    assert replies.pop(Hook.CLIENT_AUTHORIZE) == ALLOW
    assert replies.pop(Hook.CLIENT_AUTHENTICATE) == DENY
    assert replies.pop(Hook.MESSAGE_PUBLISH) == IGNORE
    assert replies.pop(Hook.PROVIDER_LOADED) != EMPTY_SUCCESS
    assert set(replies.values()) == {EMPTY_SUCCESS}


@each_version
def test_a_cold_memory_is_said_and_costs_no_query_whatever_is_recorded(
    every_hook: None, provider: Provider, pump: Device, version: Version, django_assert_num_queries: Any
):
    with django_assert_num_queries(0):
        undecided = {
            hook
            for hook, message in requests(version)
            if provider.quick(method_of(version, hook), message) is Need.DEVICE
        }
    assert undecided == ABOUT_A_DEVICE


@each_version
def test_a_cold_memory_is_said_and_costs_no_query(
    provider: Provider, pump: Device, version: Version, django_assert_num_queries: Any
):
    with django_assert_num_queries(0):
        undecided = {
            hook
            for hook, message in requests(version)
            if provider.quick(method_of(version, hook), message) is Need.DEVICE
        }
    assert undecided == ABOUT_A_DEVICE_BY_DEFAULT


def test_undecided_calls_leave_no_fact(every_hook: None, provider: Provider, pump: Device, facts: list[Fact]):
    for hook, message in requests(V3):
        if hook in ABOUT_A_DEVICE:
            assert provider.quick(method_of(V3, hook), message) is Need.DEVICE
    assert facts == []


def test_a_stranger_s_name_is_remembered_too(provider: Provider, django_assert_num_queries: Any):
    warm(provider, **NOBODY)
    authorize = method_of(V3, Hook.CLIENT_AUTHORIZE)
    authenticate = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    with django_assert_num_queries(0):
        assert provider.quick(authorize, authorize_request(V3, "a/b", **NOBODY)) == DENY
        assert provider.quick(authenticate, authenticate_request(V3, **NOBODY)) == DENY


def test_a_client_without_any_name_needs_no_memory(provider: Provider, django_assert_num_queries: Any):
    with django_assert_num_queries(0):
        assert provider.quick(method_of(V3, Hook.CLIENT_AUTHORIZE), authorize_request(V3, "a/b")) == DENY


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_token_is_verified_at_once(
    provider: Provider, pump: Device, right: bool, django_assert_num_queries: Any
):
    _, token = create_token(pump)
    secret = token if right else token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    warm(provider, **PUMP)
    with django_assert_num_queries(0):
        reply = provider.quick(
            method_of(V3, Hook.CLIENT_AUTHENTICATE), authenticate_request(V3, **PUMP, password=secret)
        )
    assert reply == (ALLOW if right else DENY)


def slow(device: Device) -> None:
    Credential.objects.create(device=device, kind=CredentialKind.PASSWORD, encoded=DAYS)


def disabled(device: Device) -> None:
    slow(device)
    Device.objects.filter(pk=device.pk).update(enabled=False)


def elsewhere(device: Device) -> None:
    slow(device)
    Device.objects.filter(pk=device.pk).update(networks="198.51.100.0/24")


def without_any(device: Device) -> None:
    device.credentials.all().delete()


@pytest.mark.parametrize(
    ("state", "need"),
    [
        (slow, Need.HASH),
        (disabled, Need.DUMMY_HASH),
        (elsewhere, Need.DUMMY_HASH),
        (without_any, Need.DUMMY_HASH),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_password_is_never_hashed_nor_refused_early(
    provider: Provider, pump: Device, state: Any, need: Need, django_assert_num_queries: Any
):
    """An early refusal would tell by its speed which devices exist, and why they are refused."""
    state(pump)
    warm(provider, **PUMP)
    request = authenticate_request(V3, **PUMP, password="a password that was never seen")
    with django_assert_num_queries(0):
        assert provider.quick(method_of(V3, Hook.CLIENT_AUTHENTICATE), request) is need


def test_nor_is_the_password_of_a_stranger(provider: Provider):
    warm(provider, **NOBODY)
    request = authenticate_request(V3, **NOBODY, password="a password")
    assert provider.quick(method_of(V3, Hook.CLIENT_AUTHENTICATE), request) is Need.DUMMY_HASH


def test_a_password_that_verified_once_is_known_from_then_on(
    provider: Provider, pump: Device, django_assert_num_queries: Any
):
    add_password(pump, "correct horse")
    authenticate = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    right = authenticate_request(V3, **PUMP, password="correct horse")
    wrong = authenticate_request(V3, **PUMP, password="wrong horse")
    warm(provider, **PUMP)
    assert provider.quick(authenticate, right) is Need.HASH
    assert provider.quick(authenticate, wrong) is Need.HASH
    assert provider.full(authenticate, right) == ALLOW
    with django_assert_num_queries(0):
        assert provider.quick(authenticate, right) == ALLOW
        assert provider.quick(authenticate, wrong) is Need.HASH


def test_a_password_that_has_just_failed_is_not_hashed_again(
    provider: Provider, pump: Device, django_assert_num_queries: Any
):
    add_password(pump, "correct horse")
    authenticate = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    wrong = authenticate_request(V3, **PUMP, password="wrong horse")
    assert provider.full(authenticate, wrong) == DENY
    with django_assert_num_queries(0):
        assert provider.quick(authenticate, wrong) == DENY


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_quick_and_full_answer_alike(every_hook: None, provider: Provider, pump: Device, version: Version):
    for hook, message in requests(version):
        full = provider.full(method_of(version, hook), message)
        assert provider.quick(method_of(version, hook), message) == full


def test_quick_waits_for_nobody_who_asks_the_database(
    provider: Provider, pump: Device, monkeypatch: pytest.MonkeyPatch
):
    """A query that hangs holds no lock that the event loop needs."""
    warm(provider, **PUMP)
    asked, answer = threading.Event(), threading.Event()

    def hang(*_: object) -> dict[Any, Any]:
        asked.set()
        answer.wait(30)
        return {}

    monkeypatch.setattr("exhookadmin.exhook.directory.find_devices", hang)
    thread = threading.Thread(target=warm, args=(provider,), kwargs=NOBODY)
    thread.start()
    try:
        assert asked.wait(30)
        request = authorize_request(V3, "up/pump-17/t", **PUMP)
        assert provider.quick(method_of(V3, Hook.CLIENT_AUTHORIZE), request) == ALLOW
        assert thread.is_alive()
    finally:
        answer.set()
        thread.join(30)
