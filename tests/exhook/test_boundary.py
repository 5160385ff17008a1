"""Whatever goes wrong inside is a denial outside: one log line, one fact, and no word of it to the peer."""

import logging
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from accounts.models import Device
from accounts.services import add_password, create_device, create_token
from acl.services import create_rule
from audit.fact import Fact
from exhookadmin.exhook.boundary import answer
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.replies import ALLOW, DENY, EMPTY_SUCCESS, IGNORE
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.endpoint import wait_until
from tests.exhook.server import (
    TRANSPORTS,
    V3,
    Endpoint,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
    response_class,
    running_endpoint,
)
from tests.outage import Outage

pytestmark = pytest.mark.django_db
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)

PASSWORD = "correct horse battery staple"
SECRET_OF_THE_ROW = "what only the database knows"
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}


def break_device(device: Device) -> None:
    """A row that cannot be understood, as a restored or hand-edited table can hold one.

    Without its networks it would be admitted from everywhere.
    """
    Device.objects.filter(pk=device.pk).update(networks=SECRET_OF_THE_ROW)


@pytest.fixture
def pump(database: None) -> Device:
    device = create_device("pump-17")
    add_password(device, PASSWORD)
    create_rule(device, "allow", "all", "up/#")
    return device


def one_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The only line of the endpoint's."""
    lines = [record for record in caplog.records if record.name.startswith("exhookadmin.")]
    assert len(lines) == 1, [line.getMessage() for line in lines]
    return lines[0]


def everything_told(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> str:
    return caplog.text + repr(endpoint.facts) + repr([vars(record) for record in caplog.records])


@each_version
def test_an_error_while_authenticating_is_a_refusal(
    endpoint: Endpoint, pump: Device, version: Version, caplog: pytest.LogCaptureFixture
):
    break_device(pump)
    assert not endpoint.admits(version, **PUMP, password=PASSWORD)

    (fact,) = endpoint.facts
    assert (fact.kind, fact.allowed, fact.reason) == ("client.authenticate", False, "internal_error")
    assert (fact.username, fact.client_id, fact.address) == ("pump-17", "pump-17", "192.0.2.7")
    line = one_line(caplog)
    assert line.levelno == logging.ERROR
    assert re.fullmatch("[0-9a-f]{8}", line.correlation)  # type: ignore[attr-defined]
    assert line.method == method_of(version, Hook.CLIENT_AUTHENTICATE).path  # type: ignore[attr-defined]
    assert line.error == "ValueError"  # type: ignore[attr-defined]
    assert line.exc_info is not None
    assert PASSWORD not in everything_told(endpoint, caplog)


@each_version
def test_an_error_while_authorizing_is_a_denial(
    endpoint: Endpoint, pump: Device, version: Version, caplog: pytest.LogCaptureFixture
):
    break_device(pump)
    assert not endpoint.grants("up/temperature", version=version, **PUMP)
    (fact,) = endpoint.facts
    assert (fact.kind, fact.allowed, fact.reason) == ("client.authorize", False, "internal_error")
    assert (fact.topic, fact.action) == ("up/temperature", "publish")
    assert one_line(caplog).method == method_of(version, Hook.CLIENT_AUTHORIZE).path  # type: ignore[attr-defined]


@each_version
@pytest.mark.parametrize("hook", [Hook.CLIENT_CONNECTED, Hook.CLIENT_DISCONNECTED])
def test_what_happened_is_recorded_even_when_its_device_cannot_be_read(
    endpoint: Endpoint, pump: Device, version: Version, hook: Hook, caplog: pytest.LogCaptureFixture
):
    break_device(pump)
    reply = endpoint.call(version, hook, client_request(version, hook, PUMP))
    assert reply == version.pb2.EmptySuccess()
    (fact,) = endpoint.facts
    assert (fact.kind.value, fact.client_id, fact.device_id) == (hook.value, "pump-17", None)
    one_line(caplog)


def test_the_peer_reads_no_word_of_it(endpoint: Endpoint, pump: Device):
    break_device(pump)
    method = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    request = authenticate_request(V3, **PUMP, password=PASSWORD).SerializeToString()
    call = endpoint.channel.unary_unary(method.path).future(request, timeout=30)
    assert call.result() == DENY
    assert call.code() == grpc.StatusCode.OK
    told = repr((call.initial_metadata(), call.trailing_metadata(), call.details()))
    assert SECRET_OF_THE_ROW not in told
    assert "Error" not in told


def test_a_broken_device_is_no_trouble_of_others_and_can_be_mended(endpoint: Endpoint, pump: Device):
    _, token = create_token(create_device("pump-18"))
    break_device(pump)
    assert not endpoint.admits(**PUMP, password=PASSWORD)
    assert endpoint.admits(clientid="pump-18", username="pump-18", password=token)
    Device.objects.filter(pk=pump.pk).update(networks="")
    assert endpoint.admits(**PUMP, password=PASSWORD)


# --- Something breaks that nobody thought of ---


class Broken(RuntimeError):
    """An error of our own code."""


@pytest.fixture
def without_record(database: None) -> Provider:
    """A provider whose every fact fails."""

    def record(fact: Fact) -> None:
        raise Broken(f"cannot record {fact}")

    provider = new_provider(record)
    provider.directory.load_policies()
    return provider


@each_version
@pytest.mark.parametrize("hook", list(Hook))
def test_even_an_error_in_the_error_s_own_handling_has_a_safe_answer(
    without_record: Provider, version: Version, hook: Hook, caplog: pytest.LogCaptureFixture
):
    method = method_of(version, hook)
    reply = answer(without_record, method, request_class(method)(), without_record.full)
    if hook in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE):
        assert reply == DENY
    elif hook == Hook.MESSAGE_PUBLISH:
        assert reply == IGNORE
    elif hook != Hook.PROVIDER_LOADED:
        assert reply == EMPTY_SUCCESS


@each_version
def test_the_hooks_are_declared_whatever_breaks(without_record: Provider, version: Version):
    """To EMQX an empty list means that it need not ask: it would admit everybody."""
    method = method_of(version, Hook.PROVIDER_LOADED)
    reply = answer(without_record, method, request_class(method)(), without_record.full)
    response = response_class(method).FromString(reply)
    assert [spec.name for spec in response.hooks] == [
        version.spell(Hook(name))
        for name in (
            "client.authenticate",
            "client.authorize",
            "client.connack",
            "client.connected",
            "client.disconnected",
        )
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_whose_facts_all_fail_goes_on_denying_by_value(database: None, transport: str):
    def record(fact: Fact) -> None:
        raise Broken("no room")

    with running_endpoint(transport, record) as endpoint:
        for _ in range(20):
            assert not endpoint.admits(clientid="nobody", username="nobody", password="x")
            assert not endpoint.grants("a/b", clientid="nobody", username="nobody")


# --- The database is away ---


@pytest.fixture
def known(endpoint: Endpoint, pump: Device) -> Endpoint:
    """An endpoint that has met the pump, and then loses the database."""
    assert endpoint.admits(**PUMP, password=PASSWORD)
    assert endpoint.grants("up/temperature", **PUMP)
    return endpoint


Doubt = Callable[[Endpoint], None]


def sure(endpoint: Endpoint) -> None:
    """Memory is fresh."""


def doubting(endpoint: Endpoint) -> None:
    """The feed has lost touch: memory is to be checked, and cannot be."""
    endpoint.provider.directory.doubt()


@pytest.mark.parametrize("state", [sure, doubting], ids=lambda state: state.__name__)
def test_a_known_device_goes_on_while_the_database_is_away(known: Endpoint, outage: Outage, state: Doubt):
    outage.begin()
    state(known)
    for _ in range(3):
        assert known.admits(**PUMP, password=PASSWORD)
        assert known.grants("up/temperature", **PUMP)
        assert not known.grants("down/valve", **PUMP)
    assert {fact.reason for fact in known.facts} == {"no_rule_matched"}


@pytest.mark.parametrize("password", ["", PASSWORD], ids=["without a password", "with one"])
def test_an_unknown_device_is_denied_with_that_reason(
    known: Endpoint, outage: Outage, password: str, caplog: pytest.LogCaptureFixture
):
    create_device("pump-18", superuser=True, credential_required=False)
    outage.begin()
    other: dict[str, Any] = {"clientid": "pump-18", "username": "pump-18"}
    assert not known.admits(**other, password=password)
    assert not known.grants("up/temperature", **other)
    assert [(fact.kind, fact.reason) for fact in known.facts] == [
        ("client.authenticate", "database_unavailable"),
        ("client.authorize", "database_unavailable"),
    ]
    assert PASSWORD not in everything_told(known, caplog)


def test_presence_is_recorded_while_the_database_is_away(known: Endpoint, outage: Outage):
    outage.begin()
    other: dict[str, Any] = {"clientid": "pump-18", "username": "pump-18"}
    for clientinfo in (PUMP, other):
        for hook in (Hook.CLIENT_CONNECTED, Hook.CLIENT_DISCONNECTED):
            known.call(V3, hook, client_request(V3, hook, clientinfo))
    assert [(fact.kind, fact.client_id, fact.device) for fact in known.facts] == [
        ("client.connected", "pump-17", "pump-17"),
        ("client.disconnected", "pump-17", "pump-17"),
        ("client.connected", "pump-18", ""),
        ("client.disconnected", "pump-18", ""),
    ]


def test_when_it_is_back_everybody_is_served(known: Endpoint, outage: Outage):
    _, token = create_token(create_device("pump-18"))
    outage.begin()
    assert not known.admits(clientid="pump-18", username="pump-18", password=token)
    outage.end()
    wait_until(lambda: known.admits(clientid="pump-18", username="pump-18", password=token))
    assert known.admits(**PUMP, password=PASSWORD)


def test_many_strangers_during_an_outage_keep_no_known_device_from_its_answer(
    known: Endpoint, outage: Outage
):
    outage.begin()
    ask = known.channel.unary_unary(method_of(V3, Hook.CLIENT_AUTHENTICATE).path)
    strangers = [
        ask.future(authenticate_request(V3, username=f"stranger-{n}").SerializeToString(), timeout=30)
        for n in range(200)
    ]
    request = authorize_request(V3, "up/temperature", **PUMP).SerializeToString()
    assert known.send(method_of(V3, Hook.CLIENT_AUTHORIZE).path, request) == ALLOW
    assert {stranger.result() for stranger in strangers} == {DENY}


def test_a_thread_that_met_the_outage_works_again_after_it(known: Endpoint, outage: Outage):
    """The bulkheads' threads live on, with connections that died under them."""
    for number in range(12):
        create_device(f"lamp-{number}", superuser=True)
        assert known.grants("a", clientid=f"lamp-{number}", username=f"lamp-{number}")
    outage.begin()
    for number in range(12):
        assert not known.grants("a", clientid=f"new-{number}", username=f"new-{number}")
    outage.end()
    for number in range(12):
        create_device(f"new-{number}", superuser=True)
    wait_until(lambda: known.grants("a", clientid="new-0", username="new-0"))
    for number in range(12):
        assert known.grants("a", clientid=f"new-{number}", username=f"new-{number}")
