"""Decisions end to end: rows in, a call over the wire, the reply and the event that tells why."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from msgspec.structs import replace

from accounts.core.decision import Reason
from accounts.core.principal import CredentialKind
from accounts.models import Credential, Device, DeviceGroup
from accounts.services import add_password, create_device, create_token
from acl.models import Rule
from acl.services import create_policy, create_rule
from audit.models import BrokerNode, Event, Session
from audit.writer import write_facts
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.memory import Change
from exhookadmin.exhook.replies import DENY, IGNORE
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.endpoint import wait_until
from tests.exhook.server import (
    V1,
    V3,
    Endpoint,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
    running_endpoint,
)
from tests.outage import Outage

pytestmark = pytest.mark.django_db
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


@pytest.fixture
def transport() -> str:
    """One is enough here: that all carry the same is the contract's matter."""
    return "grpcio"


PASSWORD = "correct horse battery staple"
PUMP: dict[str, Any] = {
    "node": "emqx@n1",
    "clientid": "pump-17",
    "username": "pump-17",
    "peerhost": "192.0.2.7",
    "sockport": 1883,
    "protocol": "mqtt",
    "peerport": 40_017,
}
DAY = timedelta(days=1)


def admits(endpoint: Endpoint, **more: Any) -> bool:
    """Whether the pump may connect, by what it says besides its name."""
    return endpoint.admits(**PUMP | more)


def pump_of(version: Version) -> dict[str, Any]:
    """What this version can tell of the pump."""
    fields = version.pb2.ClientInfo.DESCRIPTOR.fields_by_name
    return {name: value for name, value in PUMP.items() if name in fields}


@pytest.fixture(autouse=True)
def _each_fact_a_row(settings: Any) -> None:
    settings.EXHOOK_FOLD_SECONDS = 0


def write(endpoint: Endpoint) -> list[Event]:
    """The events of all that has happened so far, oldest first."""
    write_facts(endpoint.facts)
    endpoint.facts.clear()
    return list(Event.objects.order_by("time", "id"))


# --- Every reason, authentication ---


@dataclass
class Login:
    """One way for a login to end: how the pump's rows are, and what the client says."""

    reason: Reason
    arrange: Callable[[Device], None] = lambda device: None
    says: dict[str, Any] = field(default_factory=lambda: {"password": PASSWORD})
    allowed: bool = False
    known: bool = True


def with_password(device: Device) -> None:
    add_password(device, PASSWORD)


def updated(**fields: Any) -> Callable[[Device], None]:
    """The pump with its password, and these columns."""

    def arrange(device: Device) -> None:
        with_password(device)
        Device.objects.filter(pk=device.pk).update(**fields)

    return arrange


def with_expired_password(device: Device) -> None:
    add_password(device, PASSWORD, expires_at=timezone.now() - DAY)


def with_disabled_password(device: Device) -> None:
    with_password(device)
    Credential.objects.update(enabled=False)


def with_two_passwords(device: Device) -> None:
    add_password(device, "the old one")
    with_password(device)


def with_broken_hash(device: Device) -> None:
    Credential.objects.create(device=device, kind=CredentialKind.PASSWORD, encoded="bcrypt_sha256$$2b$junk")


def deleted(device: Device) -> None:
    device.delete()


LOGINS = {
    "a password": Login(Reason.CREDENTIAL_VERIFIED, with_password, allowed=True),
    "the newer of two passwords": Login(Reason.CREDENTIAL_VERIFIED, with_two_passwords, allowed=True),
    "the older of two passwords": Login(
        Reason.CREDENTIAL_VERIFIED, with_two_passwords, {"password": "the old one"}, allowed=True
    ),
    "a certificate": Login(
        Reason.CERTIFICATE_VERIFIED,
        updated(certificate_cn="pump.example"),
        {"cn": "pump.example"},
        allowed=True,
    ),
    "a certificate, whatever the password": Login(
        Reason.CERTIFICATE_VERIFIED,
        updated(certificate_cn="pump.example"),
        {"cn": "pump.example", "password": "wrong"},
        allowed=True,
    ),
    "nothing, where nothing is needed": Login(
        Reason.NO_CREDENTIAL_REQUIRED, updated(credential_required=False), {}, allowed=True
    ),
    "nobody": Login(Reason.UNKNOWN_DEVICE, deleted, known=False),
    "another spelling": Login(
        Reason.UNKNOWN_DEVICE, with_password, {"password": PASSWORD, "username": "Pump-17"}, known=False
    ),
    "switched off": Login(Reason.DEVICE_DISABLED, updated(enabled=False)),
    "too early": Login(Reason.NOT_YET_VALID, updated(valid_from=timezone.now() + DAY)),
    "too late": Login(Reason.NO_LONGER_VALID, updated(valid_until=timezone.now() - DAY)),
    "another client id": Login(
        Reason.CLIENT_ID_NOT_BOUND, with_password, {"password": PASSWORD, "clientid": "pump-18"}
    ),
    "a bare prefix": Login(
        Reason.CLIENT_ID_NOT_BOUND,
        updated(client_id_binding="prefix", client_id="pump-"),
        {"password": PASSWORD, "clientid": "pump-"},
    ),
    "another network": Login(Reason.ADDRESS_NOT_ALLOWED, updated(networks="198.51.100.0/24\n2001:db8::/32")),
    "an address that is none": Login(
        Reason.ADDRESS_NOT_ALLOWED,
        updated(networks="0.0.0.0/0"),
        {"password": PASSWORD, "peerhost": "undefined"},
    ),
    "no password": Login(Reason.CREDENTIAL_MISSING, with_password, {}),
    "a certificate that is not the device's": Login(
        Reason.CREDENTIAL_MISSING, updated(certificate_cn="pump.example"), {"cn": "other.example"}
    ),
    "no credential at all": Login(Reason.NO_LIVE_CREDENTIAL),
    "an expired password": Login(Reason.NO_LIVE_CREDENTIAL, with_expired_password),
    "a password switched off": Login(Reason.NO_LIVE_CREDENTIAL, with_disabled_password),
    "a wrong password": Login(Reason.CREDENTIAL_WRONG, with_password, {"password": "wrong"}),
    "a password with more after it": Login(
        Reason.CREDENTIAL_WRONG, with_password, {"password": PASSWORD + "\x00x"}
    ),
    "a password over bcrypt's 72 bytes": Login(
        Reason.CREDENTIAL_WRONG, with_password, {"password": "x" * 73}
    ),
    "the stored hash itself": Login(
        Reason.CREDENTIAL_WRONG, with_broken_hash, {"password": "bcrypt_sha256$$2b$junk"}
    ),
    "a made-up token": Login(Reason.CREDENTIAL_WRONG, with_password, {"password": "exh_" + "A" * 32}),
    "a row that cannot be read": Login(Reason.INTERNAL_ERROR, updated(networks="anywhere"), known=False),
}


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS.keys())
def test_a_login(endpoint: Endpoint, login: Login):
    device = create_device("pump-17")
    login.arrange(device)
    assert admits(endpoint, **login.says) is login.allowed
    events = write(endpoint)
    if login.allowed:
        assert events == []
        return
    (event,) = events
    assert (event.kind, event.allowed, event.reason) == ("client.authenticate", False, login.reason)
    assert (event.device, event.device_id) == (("pump-17", device.pk) if login.known else ("", None))
    said = PUMP | login.says
    assert (event.client_id, event.username) == (said["clientid"], said["username"])
    assert (event.node, event.port, event.listener_port) == ("emqx@n1", 40_017, 1883)
    assert (event.topic, event.action, event.rule, event.rule_id) == ("", "", "", None)


@pytest.mark.parametrize("cold", [True, False], ids=["from the database", "from memory"])
def test_a_token(endpoint: Endpoint, cold: bool):
    device = create_device("pump-17")
    credential, token = create_token(device)
    if not cold:
        endpoint.grants("a/b", **PUMP)
        endpoint.facts.clear()
    assert admits(endpoint, password=token)
    assert not admits(endpoint, password=token.swapcase())
    assert not admits(endpoint, password=credential.encoded)
    assert [(event.reason, event.device) for event in write(endpoint)] == [
        ("credential_wrong", "pump-17"),
        ("credential_wrong", "pump-17"),
    ]


def test_a_login_that_fails_too_often_is_not_heard_any_more(settings: Any, database: None, transport: str):
    settings.EXHOOK_THROTTLE_BURST = 3
    settings.EXHOOK_THROTTLE_SECONDS = 3600
    with_password(create_device("pump-17"))
    with running_endpoint(transport) as endpoint:
        for number in range(3):
            assert not admits(endpoint, password=f"guess {number}")
        assert not admits(endpoint, password=PASSWORD)
        assert admits(endpoint, password=PASSWORD, peerhost="192.0.2.8")
        assert [event.reason for event in write(endpoint)] == ["credential_wrong"] * 3 + ["throttled"]


def test_a_login_that_cannot_be_served_in_time_is_refused(endpoint: Endpoint):
    """More password checks wait than could ever be made: the oldest are given up, all are answered."""
    device = create_device("pump-17")
    # bcrypt of cost 13: half a second or so, each.
    slow = "bcrypt_sha256$$2b$13$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
    Credential.objects.create(device=device, kind=CredentialKind.PASSWORD, encoded=slow)
    endpoint.grants("a/b", **PUMP)
    endpoint.facts.clear()
    ask = endpoint.channel.unary_unary(method_of(V3, Hook.CLIENT_AUTHENTICATE).path)
    calls = [
        # Each from an address of its own, so that none of them is throttled.
        ask.future(
            authenticate_request(
                V3, **PUMP | {"peerhost": f"10.0.{n // 250}.{n % 250}", "password": f"guess {n}"}
            ).SerializeToString(),
            timeout=600,
        )
        for n in range(1_100)
    ]
    # Not just the first ones: those are what the threads are busy with.
    wait_until(lambda: sum(call.done() for call in calls) >= 20)
    assert {call.result() for call in calls if call.done()} == {DENY}
    assert "overloaded" in {fact.reason for fact in endpoint.facts}
    assert not endpoint.grants("a/b", **PUMP)
    for call in calls:
        call.cancel()


# --- Every reason, authorization ---


@dataclass
class Access:
    """One way for a publish or subscribe to end."""

    reason: Reason
    arrange: Callable[[Device], Rule | None] = lambda device: None
    topic: str = "up/temperature"
    subscribe: bool = False
    says: dict[str, Any] = field(default_factory=dict)
    allowed: bool = False
    known: bool = True
    rule: str = ""


def columns(**fields: Any) -> Callable[[Device], None]:
    """The pump, allowed everything, and with these columns."""

    def arrange(device: Device) -> None:
        create_rule(device, "allow", "all", "#")
        Device.objects.filter(pk=device.pk).update(**fields)

    return arrange


def own(effect: str, action: str, topic_filter: str, **fields: Any) -> Callable[[Device], Rule]:
    return lambda device: create_rule(device, effect, action, topic_filter, **fields)


def of_a_policy(effect: str, action: str, topic_filter: str) -> Callable[[Device], Rule]:
    return lambda device: create_rule(create_policy("fleet", devices=[device]), effect, action, topic_filter)


def of_a_group(device: Device) -> Rule:
    group = DeviceGroup.objects.create(name="pumps")
    device.groups.add(group)
    return create_rule(create_policy("pumps", groups=[group]), "deny", "publish", "up/#")


def of_everyone(device: Device) -> Rule:
    create_rule(device, "allow", "publish", "up/#")
    return create_rule(create_policy("all", everyone=True), "deny", "publish", "up/temperature", priority=1)


def broken(device: Device) -> None:
    rule = create_rule(device, "allow", "all", "#")
    Rule.objects.filter(pk=rule.pk).update(topic_filter="#/up")


def gone(device: Device) -> None:
    device.delete()


ACCESSES = {
    "a rule of its own": Access(Reason.RULE_ALLOWS, own("allow", "publish", "up/#"), allowed=True),
    "a policy's rule": Access(
        Reason.RULE_ALLOWS,
        of_a_policy("allow", "subscribe", "up/+"),
        topic="up/+",
        subscribe=True,
        allowed=True,
    ),
    "a shared subscription": Access(
        Reason.RULE_ALLOWS,
        own("allow", "subscribe", "up/#"),
        topic="$share/g/up/+",
        subscribe=True,
        allowed=True,
    ),
    "superuser": Access(Reason.SUPERUSER, columns(superuser=True), allowed=True),
    "its own rule denies": Access(
        Reason.RULE_DENIES, own("deny", "all", "up/#"), rule="deny all up/# (device pump-17)"
    ),
    "a policy's rule denies": Access(
        Reason.RULE_DENIES,
        of_a_policy("deny", "publish", "+/temperature"),
        rule="deny publish +/temperature (policy fleet)",
    ),
    "a group's rule denies": Access(Reason.RULE_DENIES, of_a_group, rule="deny publish up/# (policy pumps)"),
    "everyone's rule denies": Access(
        Reason.RULE_DENIES, of_everyone, rule="deny publish up/temperature (priority 1) (policy all)"
    ),
    "a subscription that would hear what is denied": Access(
        Reason.RULE_DENIES,
        own("deny", "subscribe", "secret/#"),
        topic="#",
        subscribe=True,
        rule="deny subscribe secret/# (device pump-17)",
    ),
    "no rule": Access(Reason.NO_RULE_MATCHED),
    "a wider subscription than the rule": Access(
        Reason.NO_RULE_MATCHED, own("allow", "subscribe", "up/+"), topic="up/#", subscribe=True
    ),
    "the other action": Access(Reason.NO_RULE_MATCHED, own("allow", "subscribe", "up/#")),
    "a rule for another network": Access(
        Reason.NO_RULE_MATCHED, own("allow", "publish", "up/#", networks="198.51.100.0/24")
    ),
    "publishing to a filter": Access(Reason.INVALID_TOPIC, columns(), topic="up/+"),
    "a filter that is none": Access(Reason.INVALID_TOPIC, columns(), topic="up/#/down", subscribe=True),
    "no topic": Access(Reason.INVALID_TOPIC, columns(), topic=""),
    "an invalid topic of a superuser": Access(Reason.INVALID_TOPIC, columns(superuser=True), topic="a\x00b"),
    "nobody": Access(Reason.UNKNOWN_DEVICE, gone, known=False),
    "switched off": Access(Reason.DEVICE_DISABLED, columns(enabled=False)),
    "switched off superuser": Access(Reason.DEVICE_DISABLED, columns(enabled=False, superuser=True)),
    "too early": Access(Reason.NOT_YET_VALID, columns(valid_from=timezone.now() + DAY)),
    "too late": Access(Reason.NO_LONGER_VALID, columns(valid_until=timezone.now() - DAY)),
    "another client id": Access(Reason.CLIENT_ID_NOT_BOUND, columns(), says={"clientid": "pump-18"}),
    "another network": Access(Reason.ADDRESS_NOT_ALLOWED, columns(networks="198.51.100.0/24")),
    "a rule that does not compile": Access(Reason.POLICY_BROKEN, broken),
    "a row that cannot be read": Access(Reason.INTERNAL_ERROR, columns(networks="anywhere"), known=False),
}


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES.keys())
def test_an_access(database: None, transport: str, access: Access):
    device = create_device("pump-17")
    pk = device.pk
    rule = access.arrange(device)
    with running_endpoint(transport) as endpoint:
        assert endpoint.grants(access.topic, access.subscribe, **PUMP | access.says) is access.allowed
        events = write(endpoint)
    if access.allowed:
        assert events == []
        return
    (event,) = events
    assert (event.kind, event.allowed, event.reason) == ("client.authorize", False, access.reason)
    assert (event.device, event.device_id) == (("pump-17", pk) if access.known else ("", None))
    assert event.topic == access.topic.replace("\x00", "\ufffd")
    assert event.action == ("subscribe" if access.subscribe else "publish")
    assert (event.rule, event.rule_id) == (access.rule, rule.pk if access.rule and rule else None)
    assert (event.client_id, event.address) == ((PUMP | access.says)["clientid"], "192.0.2.7")


def test_without_the_database_both_are_refused_with_that_reason(endpoint: Endpoint, outage: Outage):
    outage.begin()
    assert not admits(endpoint, password=PASSWORD)
    assert not endpoint.grants("up/temperature", **PUMP)
    outage.end()
    assert [(event.kind, event.reason) for event in write(endpoint)] == [
        ("client.authenticate", "database_unavailable"),
        ("client.authorize", "database_unavailable"),
    ]


# Those that a table cannot show have tests of their own above.
ELSEWHERE = {Reason.THROTTLED, Reason.OVERLOADED, Reason.DATABASE_UNAVAILABLE}


def test_every_reason_is_shown():
    shown = {login.reason for login in LOGINS.values()} | {access.reason for access in ACCESSES.values()}
    assert shown | ELSEWHERE == set(Reason)
    assert not shown & ELSEWHERE


def test_every_reason_of_the_device_itself_is_shown_for_both():
    of_logins = {login.reason for login in LOGINS.values()}
    of_accesses = {access.reason for access in ACCESSES.values()}
    assert of_logins & of_accesses == {
        Reason.UNKNOWN_DEVICE,
        Reason.DEVICE_DISABLED,
        Reason.NOT_YET_VALID,
        Reason.NO_LONGER_VALID,
        Reason.CLIENT_ID_NOT_BOUND,
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.INTERNAL_ERROR,
    }


# --- Abstaining ---


def test_only_when_the_operator_chains_is_an_unknown_device_left_to_others(
    settings: Any, database: None, transport: str
):
    settings.EXHOOK_CHAIN_UNKNOWN = True
    create_device("pump-17", enabled=False)
    with running_endpoint(transport) as endpoint:
        for method, request in (
            (Hook.CLIENT_AUTHENTICATE, authenticate_request(V3, username="nobody", password="x")),
            (Hook.CLIENT_AUTHORIZE, authorize_request(V3, "a/b", username="nobody")),
        ):
            assert endpoint.send(method_of(V3, method).path, request.SerializeToString()) == IGNORE
        assert not admits(endpoint, password="x")
        assert [event.reason for event in write(endpoint)] == [
            "unknown_device",
            "unknown_device",
            "device_disabled",
        ]


@each_version
def test_what_the_broker_thinks_already_changes_nothing(endpoint: Endpoint, version: Version):
    """``result`` is what EMQX would do without us: on most versions true, whoever asks."""
    create_device("pump-17")
    info = pump_of(version)
    info |= {"is_superuser": True, "anonymous": False}
    request = authenticate_request(version, **info)
    request.result = True
    assert endpoint.call(version, Hook.CLIENT_AUTHENTICATE, request).bool_result is False
    request = authorize_request(version, "up/temperature", **info)
    request.result = True
    assert endpoint.call(version, Hook.CLIENT_AUTHORIZE, request).bool_result is False


# --- What happened besides ---


@each_version
def test_presence_from_the_wire_to_the_session(endpoint: Endpoint, version: Version):
    device = create_device("pump-17")
    info = pump_of(version)
    info["peerhost"] = "::ffff:192.0.2.7"
    endpoint.call(version, Hook.CLIENT_CONNECTED, client_request(version, Hook.CLIENT_CONNECTED, info))
    write(endpoint)
    session = Session.objects.online().get()
    assert (session.client_id, session.device, session.device_id) == ("pump-17", "pump-17", device.pk)
    assert (session.node, session.address) == ("emqx@n1", "192.0.2.7")
    assert session.port == (0 if version is V1 else 40_017)
    gone = client_request(version, Hook.CLIENT_DISCONNECTED, info, reason="keepalive_timeout")
    endpoint.call(version, Hook.CLIENT_DISCONNECTED, gone)
    events = write(endpoint)
    session = Session.objects.get()
    assert session.disconnected_at is not None
    assert session.end_reason == "keepalive_timeout"
    assert [(event.kind, event.device, event.allowed) for event in events] == [
        ("client.connected", "pump-17", None),
        ("client.disconnected", "pump-17", None),
    ]


@each_version
@pytest.mark.parametrize("code", ["not_authorized", "banned", "unsupported_protocol_version", "success"])
def test_a_refused_connection_is_recorded_and_a_good_one_is_not(
    endpoint: Endpoint, version: Version, code: str
):
    create_device("pump-17")
    request = request_class(method_of(version, Hook.CLIENT_CONNACK))(
        conninfo=version.pb2.ConnInfo(
            node="emqx@n1", clientid="pump-17", username="pump-17", peerhost="192.0.2.7",
            proto_name="MQTT", proto_ver="5",
        ),
        result_code=code,
    )  # fmt: skip
    assert endpoint.call(version, Hook.CLIENT_CONNACK, request) == version.pb2.EmptySuccess()
    events = write(endpoint)
    if code == "success":
        assert events == []
    else:
        (event,) = events
        assert (event.kind, event.allowed, event.detail) == ("client.connack", False, code)
        assert (event.device, event.address, event.protocol) == ("pump-17", "192.0.2.7", "mqtt 5")


@pytest.mark.parametrize("sent", ["", "its own"])
def test_the_client_id_that_the_broker_assigned_is_the_client_s(endpoint: Endpoint, sent: str):
    request = request_class(method_of(V3, Hook.CLIENT_CONNACK))(
        conninfo=V3.pb2.ConnInfo(clientid=sent),
        result_code="quota_exceeded",
        props=[
            V3.pb2.Property(name="Receive-Maximum", value="32"),
            V3.pb2.Property(name="Assigned-Client-Identifier", value="TJ7zHjUH6YLDNkiD"),
        ],
    )
    endpoint.call(V3, Hook.CLIENT_CONNACK, request)
    (event,) = write(endpoint)
    assert event.client_id == (sent or "TJ7zHjUH6YLDNkiD")


@each_version
def test_a_node_that_attaches_and_detaches(endpoint: Endpoint, version: Version):
    meta = version.pb2.RequestMeta(node="emqx@n1", version="5.8.8", sysdescr="EMQX", cluster_name="berlin")
    loaded = request_class(method_of(version, Hook.PROVIDER_LOADED))(
        broker=version.pb2.BrokerInfo(version="5.8.8", sysdescr="EMQX"), meta=meta
    )
    endpoint.call(version, Hook.PROVIDER_LOADED, loaded)
    unloaded = request_class(method_of(version, Hook.PROVIDER_UNLOADED))(meta=meta)
    endpoint.call(version, Hook.PROVIDER_UNLOADED, unloaded)
    assert [(event.kind, event.node, event.cluster, event.detail) for event in write(endpoint)] == [
        ("provider.loaded", "emqx@n1", "berlin", f"EMQX 5.8.8, protocol {version.name}"),
        ("provider.unloaded", "emqx@n1", "berlin", f"protocol {version.name}"),
    ]


@pytest.mark.parametrize(
    ("version", "uptime"),
    [(V1, "1 minutes, 40 seconds"), *((version, 100_000) for version in VERSIONS[1:])],
    ids=[version.name for version in VERSIONS],
)
def test_a_node_that_was_restarted_ends_the_sessions_it_had(
    endpoint: Endpoint, version: Version, uptime: str | int
):
    meta = version.pb2.RequestMeta(node="emqx@n1", cluster_name="berlin")
    endpoint.call(
        version,
        Hook.CLIENT_CONNECTED,
        client_request(version, Hook.CLIENT_CONNECTED, pump_of(version), meta=meta),
    )
    (connected,) = endpoint.facts
    endpoint.facts[:] = [replace(connected, time=connected.time - 3600)]
    loaded = request_class(method_of(version, Hook.PROVIDER_LOADED))(
        broker=version.pb2.BrokerInfo(version="5.8.8", sysdescr="EMQX", uptime=uptime), meta=meta
    )
    endpoint.call(version, Hook.PROVIDER_LOADED, loaded)
    write(endpoint)
    node, session = BrokerNode.objects.get(), Session.objects.get()
    assert (node.cluster, node.name, node.version, node.protocol) == (
        "berlin",
        "emqx@n1",
        "5.8.8",
        version.name,
    )
    assert node.attached_at is not None
    assert node.started_at == node.attached_at - timedelta(seconds=100)
    assert (session.disconnected_at, session.end_reason) == (node.started_at, "node restarted")


def test_a_repeated_question_is_answered_alike_until_something_changes(endpoint: Endpoint):
    device = create_device("pump-17")
    create_rule(device, "allow", "publish", "up/#")
    for _ in range(3):
        assert endpoint.grants("up/temperature", **PUMP)
    Device.objects.filter(pk=device.pk).update(enabled=False)
    endpoint.provider.directory.invalidate(Change(device_ids=frozenset({device.pk})))
    for _ in range(3):
        assert not endpoint.grants("up/temperature", **PUMP)
    assert len(write(endpoint)) == 3


def test_a_device_s_last_instant_ends_even_what_is_repeated(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
):
    device = create_device("pump-17", valid_until=timezone.now() + timedelta(seconds=200))
    create_rule(device, "allow", "publish", "up/#")
    for _ in range(3):
        assert endpoint.grants("up/temperature", **PUMP)
    wall_clock, clock = time.time, endpoint.provider.directory.now
    monkeypatch.setattr("exhookadmin.exhook.provider.time", SimpleNamespace(time=lambda: wall_clock() + 201))
    ahead = clock() + 201
    monkeypatch.setattr(endpoint.provider.directory, "_clock", lambda: ahead)
    assert not endpoint.grants("up/temperature", **PUMP)
    assert {event.reason for event in write(endpoint)} == {"no_longer_valid"}
