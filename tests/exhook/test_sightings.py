"""What a worker saw: noted without a query, stored for many at once, kept while the database is away."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from msgspec.structs import replace

from accounts.models import Credential, Device
from accounts.services import create_device, create_token
from acl.services import create_rule
from audit.fact import Fact, Kind
from audit.models import BrokerNode, Session
from audit.presence import ENDPOINT_AWAY, GAP_SECONDS
from audit.writer import write_facts
from exhookadmin.exhook import sightings as module
from exhookadmin.exhook.front import Front
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.sightings import FLUSH_SECONDS, MOST_NODES, Sightings, SightingsWriter
from exhookadmin.exhook.versions import VERSIONS
from tests.exhook.server import V3, client_request, method_of, request_class
from tests.outage import Outage

pytestmark = pytest.mark.django_db

START = 1_800_000_000.0
NODE = ("emqxcl", "emqx@n1")
META = {"node": "emqx@n1", "cluster_name": "emqxcl"}
PUMP: dict[str, Any] = {
    "node": "emqx@n1",
    "clientid": "pump-17",
    "username": "pump-17",
    "peerhost": "192.0.2.7",
}


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def provider(clock: Clock, facts: list[Fact]) -> Provider:
    provider = new_provider(facts.append, Sightings(clock))
    provider.directory.load_policies()
    return provider


@pytest.fixture
def front(provider: Provider) -> Iterator[Front]:
    front = Front(provider)
    yield front
    front.close()


@pytest.fixture
def writer(provider: Provider, clock: Clock, facts: list[Fact]) -> SightingsWriter:
    return SightingsWriter(provider.sightings, facts.append, clock)


@pytest.fixture
def pump(provider: Provider) -> Device:
    device = create_device("pump-17")
    create_rule(device, "allow", "publish", "up/#")
    return device


def message(hook: Hook, meta: dict[str, str] | None = None, **fields: Any) -> Any:
    request = client_request(V3, hook, PUMP | fields.pop("clientinfo", {}), **fields)
    request.meta.CopyFrom(V3.pb2.RequestMeta(**(meta or META)))
    return request


def call(provider: Provider, hook: Hook, **fields: Any) -> bytes:
    return provider.full(method_of(V3, hook), message(hook, **fields))


def last_seen(device: Device) -> float | None:
    seen = Device.objects.get(pk=device.pk).last_seen_at
    return None if seen is None else seen.timestamp()


# --- What counts as seen ---


@pytest.mark.parametrize(
    ("hook", "fields", "seen"),
    [
        (Hook.CLIENT_CONNECTED, {}, True),
        (Hook.CLIENT_AUTHORIZE, {"topic": "up/x"}, True),
        (Hook.CLIENT_AUTHORIZE, {"topic": "denied"}, True),
        # Nobody has proved yet that he is the pump.
        (Hook.CLIENT_AUTHENTICATE, {"clientinfo": {"password": "wrong"}}, False),
        (Hook.CLIENT_CONNACK, {}, False),
        # A keepalive that ran out says that it was not seen.
        (Hook.CLIENT_DISCONNECTED, {"reason": "keepalive_timeout"}, False),
    ],
    ids=["connected", "access allowed", "access denied", "login refused", "connack", "disconnected"],
)
def test_a_device_is_seen_by_what_only_it_can_do(
    provider: Provider, pump: Device, hook: Hook, fields: dict[str, Any], seen: bool
):
    if hook is Hook.CLIENT_CONNACK:
        info = V3.pb2.ConnInfo(clientid="pump-17", username="pump-17", node="emqx@n1")
        request = request_class(method_of(V3, hook))(conninfo=info, result_code="banned")
        provider.full(method_of(V3, hook), request)
    else:
        call(provider, hook, **fields)
    assert list(provider.sightings.seen) == ([pump.pk] if seen else [])
    assert provider.sightings.used == {}


def test_a_login_uses_its_credential(provider: Provider, pump: Device):
    credential, token = create_token(pump)
    other, _ = create_token(pump)
    assert call(provider, Hook.CLIENT_AUTHENTICATE, clientinfo={"password": token}) == ALLOW
    assert list(provider.sightings.used) == [credential.pk] != [other.pk]
    assert list(provider.sightings.seen) == [pump.pk]


def test_a_stranger_is_nobody_that_is_seen(provider: Provider):
    who = {"username": "nobody", "clientid": "nobody"}
    assert call(provider, Hook.CLIENT_AUTHORIZE, topic="x", clientinfo=who) == DENY
    call(provider, Hook.CLIENT_CONNECTED, clientinfo=who)
    assert provider.sightings.seen == {}
    assert list(provider.sightings.heard) == [NODE]


def test_a_question_that_is_answered_from_memory_is_a_sighting_too(
    provider: Provider, front: Front, writer: SightingsWriter, pump: Device
):
    method = method_of(V3, Hook.CLIENT_AUTHORIZE)
    question = message(Hook.CLIENT_AUTHORIZE, topic="up/x")
    provider.full(method, question)
    data = question.SerializeToString()
    assert front.receive(method, data) == ALLOW
    writer.flush()
    assert (provider.sightings.seen, provider.sightings.heard) == ({}, {})
    assert front.receive(method, data) == ALLOW
    assert provider.tally.repeated[method] == 1
    assert list(provider.sightings.seen) == [pump.pk]
    assert list(provider.sightings.heard) == [NODE]


def test_seeing_costs_no_query(provider: Provider, pump: Device, django_assert_num_queries: Any):
    call(provider, Hook.CLIENT_CONNECTED)
    with django_assert_num_queries(0):
        for hook in (Hook.CLIENT_CONNECTED, Hook.CLIENT_DISCONNECTED):
            provider.quick(method_of(V3, hook), message(hook))
        call(provider, Hook.CLIENT_AUTHORIZE, topic="up/x")
    assert list(provider.sightings.seen) == [pump.pk]


# --- Nodes ---


def test_nodes_of_the_same_name_in_two_clusters_are_both_heard(provider: Provider):
    """“emqx@127.0.0.1” is what EMQX calls itself where nobody chose a name."""
    here, there = {**META, "cluster_name": "here"}, {**META, "cluster_name": "there"}
    both = {("here", "emqx@n1"), ("there", "emqx@n1")}
    heard: list[set[Any]] = []
    for order in ((here, there), (there, here), (here, there)):
        for meta in order:
            call(provider, Hook.CLIENT_CONNECTED, meta=meta)
        heard.append(set(provider.sightings.take()[3]))
    # Which of them it is, is looked up in each message as soon as both have been met.
    assert heard[0] | heard[1] == both
    assert heard[2] == both


def test_invented_names_of_nodes_take_bounded_room(provider: Provider):
    for number in range(2 * MOST_NODES):
        meta = {"node": f"n{number}", "cluster_name": "c"}
        call(provider, Hook.CLIENT_CONNECTED, meta=meta, clientinfo={"node": f"n{number}"})
    assert len(provider.sightings.heard) == len(provider.sightings.nodes) == MOST_NODES


def loaded(provider: Provider, **meta: str) -> None:
    method = method_of(V3, Hook.PROVIDER_LOADED)
    request = request_class(method)(
        meta=V3.pb2.RequestMeta(**META | meta), broker=V3.pb2.BrokerInfo(version="5.10.1")
    )
    provider.full(method, request)


def test_a_node_that_attaches_tells_when_it_was_heard_before(
    provider: Provider, writer: SightingsWriter, clock: Clock, facts: list[Fact]
):
    loaded(provider)
    clock.now += 5
    writer.flush()
    clock.now += 60
    loaded(provider)
    loaded(provider, cluster_name="other")
    writer.flush()
    clock.now += 60
    writer.flush()
    loaded(provider)
    assert [fact.node_heard for fact in facts] == [None, START, None, START + 5]


def test_what_another_worker_heard_is_known(
    provider: Provider, writer: SightingsWriter, clock: Clock, facts: list[Fact]
):
    others = Sightings(clock)
    others.heard[NODE] = None
    clock.now += 5
    SightingsWriter(others, facts.append, clock).flush()
    writer.flush()
    loaded(provider)
    assert facts[0].node_heard == START


def test_a_session_is_unknown_after_the_endpoint_was_cut_off_from_its_node(
    provider: Provider, writer: SightingsWriter, clock: Clock, facts: list[Fact]
):
    """From the calls to the row: EMQX 5.10 attaches again once it reaches the endpoint."""
    call(provider, Hook.CLIENT_CONNECTED)
    facts[:] = [Fact(Kind.CONNECTED, time=START, client_id="pump-17", node=NODE[1], cluster=NODE[0])]
    writer.flush()
    loaded(provider)
    connected, attached = facts
    write_facts([connected, replace(attached, time=START + 3600)])
    session = Session.objects.get()
    assert (session.unknown_since, session.unknown_reason) == (
        datetime.fromtimestamp(START, UTC),
        ENDPOINT_AWAY,
    )


# --- Storing ---


def test_what_was_seen_is_stored_as_seen_when_the_flush_before_was(
    provider: Provider, writer: SightingsWriter, clock: Clock, pump: Device
):
    credential, token = create_token(pump)
    clock.now += FLUSH_SECONDS
    writer.flush()
    assert call(provider, Hook.CLIENT_AUTHENTICATE, clientinfo={"password": token}) == ALLOW
    clock.now += FLUSH_SECONDS
    writer.flush()
    used = Credential.objects.get().last_used_at
    assert used is not None
    assert used.timestamp() == last_seen(pump) == START + FLUSH_SECONDS
    (node,) = BrokerNode.objects.all()
    assert (node.cluster, node.name) == NODE
    assert node.heard_at is not None
    assert node.heard_at.timestamp() == START + FLUSH_SECONDS
    assert credential.pk == Credential.objects.get().pk


def test_storing_is_no_change_of_a_device(
    provider: Provider, writer: SightingsWriter, pump: Device, django_assert_num_queries: Any
):
    """Or each sighting would throw the device out of every worker's memory."""
    call(provider, Hook.CLIENT_AUTHORIZE, topic="up/x")
    version = provider.directory.version
    writer.flush()
    assert last_seen(pump) == START
    assert provider.directory.version == version
    with django_assert_num_queries(0):
        call(provider, Hook.CLIENT_AUTHORIZE, topic="up/x")


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_it_is_kept(
    provider: Provider, writer: SightingsWriter, clock: Clock, pump: Device, outage: Outage
):
    call(provider, Hook.CLIENT_AUTHORIZE, topic="up/x")
    elsewhere(writer.flush, outage)
    assert writer.away
    clock.now += 120
    assert last_seen(pump) is None
    elsewhere(writer.flush)
    assert not writer.away
    assert last_seen(pump) == START


@pytest.mark.django_db(transaction=True)
def test_it_keeps_no_more_than_there_is_room_for(
    provider: Provider,
    writer: SightingsWriter,
    clock: Clock,
    outage: Outage,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    devices = [create_device(f"pump-{number}") for number in range(5)]
    provider.sightings.seen |= dict.fromkeys(device.pk for device in devices)
    elsewhere(writer.flush, outage)
    elsewhere(writer.flush)
    assert sum(last_seen(device) is not None for device in devices) == 3


def elsewhere(flush: Callable[[], None], outage: Outage | None = None) -> None:
    """On a thread of its own, as a worker does it; with an outage, while it lasts."""

    def run() -> None:
        flush()
        connection.close()

    if outage is not None:
        outage.begin()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if outage is not None:
        outage.end()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_ends_stores_the_last_of_it(provider: Provider, facts: list[Fact], pump: Device):
    writer = SightingsWriter(provider.sightings, facts.append)
    writer.start()
    call(provider, Hook.CLIENT_AUTHORIZE, topic="up/x")
    writer.close(60)
    assert last_seen(pump) is not None


def test_nothing_that_is_seen_while_it_is_taken_is_lost():
    """One thread sees, another takes: each number comes out once, at one time or the other."""
    sightings, taken = Sightings(), []
    done = threading.Event()

    def see() -> None:
        for number in range(100_000):
            sightings.seen[number] = None
        done.set()

    thread = threading.Thread(target=see)
    thread.start()
    while not done.is_set():
        taken += sightings.take()[1]
    thread.join(60)
    taken += sightings.take()[1]
    assert sorted(taken) == list(range(100_000))


# --- The endpoint itself ---


def test_an_endpoint_that_begins_after_an_absence_says_so_once(
    provider: Provider, writer: SightingsWriter, clock: Clock, facts: list[Fact]
):
    """EMQX up to 5.8 does not: it goes on calling as if nothing had been."""
    write_facts([Fact(Kind.CONNECTED, time=START, client_id="pump-17", node=NODE[1], cluster=NODE[0])])
    writer.begin()
    assert facts == []
    provider.sightings.heard[NODE] = None
    clock.now += 5
    writer.flush()
    clock.now += GAP_SECONDS
    writer.begin()
    assert facts == []
    clock.now += 3600
    writer.begin()
    SightingsWriter(Sightings(clock), facts.append, clock).begin()
    assert [(fact.kind, fact.cluster, fact.node) for fact in facts] == [(Kind.ENDPOINT_BACK, *NODE)]
    write_facts(facts)
    assert Session.objects.get().unknown_reason == ENDPOINT_AWAY


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_version_says_which_node_calls(provider: Provider, version: Any):
    pb2 = version.pb2
    request = request_class(method_of(version, Hook.CLIENT_CONNECTED))(
        clientinfo=pb2.ClientInfo(clientid="x", node="emqx@n1"), meta=pb2.RequestMeta(**META)
    )
    provider.full(method_of(version, Hook.CLIENT_CONNECTED), request)
    assert list(provider.sightings.heard) == [NODE]
