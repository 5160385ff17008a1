"""What anybody may send. Each is answered or refused; none slows the others or ends the server."""

import gc
import os
import queue
import socket
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.services import create_device
from audit.fact import Fact
from exhookadmin.exhook.front import Front
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import DENY, IGNORE
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.versions import VERSIONS, Method, Version
from tests.exhook.raw_http2 import RawClient, framed
from tests.exhook.server import (
    SECONDS,
    V3,
    Endpoint,
    authenticate_request,
    authorize_request,
    method_of,
    request_class,
)

# The shared endpoint reads an empty database.
pytestmark = pytest.mark.django_db

MEGABYTE = 1024 * 1024
AUTHENTICATE = method_of(V3, Hook.CLIENT_AUTHENTICATE)
AUTHORIZE = method_of(V3, Hook.CLIENT_AUTHORIZE)
PUBLISH = method_of(V3, Hook.MESSAGE_PUBLISH)
NOBODY = authenticate_request(V3, clientid="nobody", username="nobody").SerializeToString()
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


@pytest.fixture(autouse=True)
def lives_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """After whatever a test sent, the server answers as before, memory and database alike."""
    yield
    if "shared_endpoint" not in request.fixturenames:
        return
    shared_endpoint: Endpoint = request.getfixturevalue("shared_endpoint")
    assert shared_endpoint.send(AUTHENTICATE.path, NOBODY) == DENY
    name = f"never seen {os.urandom(8).hex()}"
    assert not shared_endpoint.grants("a/b", clientid=name, username=name)


def status_of(endpoint: Endpoint, method: Method, body: bytes) -> grpc.StatusCode:
    call = endpoint.channel.unary_unary(method.path).future(body, timeout=SECONDS)
    status: grpc.StatusCode = call.code()
    assert "Traceback" not in (call.details() or "")
    return status


def delimited(number: int, content: bytes) -> bytes:
    """One length-delimited protobuf field."""
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


@each_version
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x0a\x7fshort", id="a field longer than the message"),
        pytest.param(b"\x0a", id="a tag without a value"),
        pytest.param(b"\x00\x00", id="field number 0"),
        pytest.param(b"\x0f", id="a wire type that does not exist"),
        pytest.param(b"\x0b" * 200, id="groups within groups that never end"),
        pytest.param(b"\x0c", id="the end of a group that never began"),
        pytest.param(b"\xff" * 11, id="a number without end"),
        pytest.param(b'{"clientinfo": {"clientid": "a"}}', id="JSON"),
        pytest.param(delimited(1, b"\x12\x05ab"), id="a nested field longer than its message"),
    ],
)
def test_what_is_no_protobuf_is_an_invalid_argument(shared_endpoint: Endpoint, version: Version, body: bytes):
    method = method_of(version, Hook.CLIENT_AUTHENTICATE)
    assert status_of(shared_endpoint, method, body) == grpc.StatusCode.INVALID_ARGUMENT


@each_version
@pytest.mark.parametrize(
    ("field", "number"), [("node", 1), ("clientid", 2), ("username", 3), ("password", 4), ("peerhost", 5)]
)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xff\xfe", id="bytes that are no UTF-8"),
        pytest.param(b"\xc3", id="half a character"),
        pytest.param(b"\xed\xa0\x80", id="a surrogate"),
        pytest.param(b"\xc0\xaf", id="an overlong slash"),
    ],
)
def test_text_that_is_no_utf8_is_an_invalid_argument(
    shared_endpoint: Endpoint, version: Version, field: str, number: int, text: bytes
):
    assert version.pb2.ClientInfo.DESCRIPTOR.fields_by_name[field].number == number
    method = method_of(version, Hook.CLIENT_AUTHENTICATE)
    body = delimited(1, delimited(number, text))
    assert status_of(shared_endpoint, method, body) == grpc.StatusCode.INVALID_ARGUMENT


def test_a_refused_message_is_quoted_neither_to_the_peer_nor_in_the_log(
    shared_endpoint: Endpoint, caplog: pytest.LogCaptureFixture
):
    body = delimited(1, delimited(4, b"hunter2-secret\xff"))
    with pytest.raises(grpc.RpcError) as refused:
        shared_endpoint.send(AUTHENTICATE.path, body)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "OnClientAuthenticate" in str(refused.value.details())
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("hook", [Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("\x00", id="NUL"),
        pytest.param("a\x00b", id="NUL inside"),
        pytest.param("\uffff", id="a non-character"),
        pytest.param("😀" * 1000, id="beyond the basic plane"),
        pytest.param("x" * 70_000, id="longer than MQTT can carry"),
        pytest.param("%s%n{0}{x}", id="a format"),
        pytest.param("' OR 1=1 --", id="SQL"),
        pytest.param("${clientid}", id="a placeholder"),
    ],
)
def test_odd_texts_in_every_field_are_denied_by_value(shared_endpoint: Endpoint, hook: Hook, text: str):
    fields = ("node", "clientid", "username", "password", "peerhost", "protocol", "mountpoint", "cn", "dn")
    for chosen in [(name,) for name in fields] + [fields]:
        clientinfo: dict[str, Any] = dict.fromkeys(chosen, text)
        if hook == Hook.CLIENT_AUTHENTICATE:
            assert not shared_endpoint.admits(**clientinfo)
        else:
            assert not shared_endpoint.grants(text, **clientinfo)


@pytest.mark.parametrize("kind", [2, 99, -1, 2**31 - 1])
def test_an_action_that_nobody_knows_is_denied(shared_endpoint: Endpoint, kind: int):
    request = request_class(AUTHORIZE)(type=kind, topic="a/b")
    assert shared_endpoint.send(AUTHORIZE.path, request.SerializeToString()) == DENY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), version=st.sampled_from(VERSIONS), hook=st.sampled_from(list(Hook)))
def test_any_bytes_get_an_answer_or_an_invalid_argument(
    shared_endpoint: Endpoint, body: bytes, version: Version, hook: Hook
):
    method = method_of(version, hook)
    assert status_of(shared_endpoint, method, body) in (
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), version=st.sampled_from(VERSIONS))
def test_a_cut_or_bent_message_gets_an_answer_or_an_invalid_argument(
    shared_endpoint: Endpoint, data: st.DataObject, version: Version
):
    clientinfo = {"clientid": "pump-17", "username": "pump-17", "password": "secret", "peerhost": "192.0.2.1"}
    whole = authenticate_request(version, **clientinfo).SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    place = data.draw(st.integers(0, len(whole) - 1))
    bent = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    method = method_of(version, Hook.CLIENT_AUTHENTICATE)
    for body in (cut, bent):
        assert status_of(shared_endpoint, method, body) in (
            grpc.StatusCode.OK,
            grpc.StatusCode.INVALID_ARGUMENT,
        )


def publish_of(size: int) -> bytes:
    """A request of exactly so many bytes."""
    request = request_class(PUBLISH)(message=V3.pb2.Message(payload=b"x" * size))
    overhead = len(request.SerializeToString()) - size
    request.message.payload = b"x" * (size - overhead)
    body: bytes = request.SerializeToString()
    assert len(body) == size
    return body


@pytest.mark.parametrize(
    ("size", "status"),
    [
        (MEGABYTE + 1024, grpc.StatusCode.OK),
        (4 * MEGABYTE, grpc.StatusCode.OK),
        (4 * MEGABYTE + 1, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (16 * MEGABYTE, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_four_megabytes_are_the_limit(shared_endpoint: Endpoint, size: int, status: grpc.StatusCode):
    assert status_of(shared_endpoint, PUBLISH, publish_of(size)) == status


def test_the_largest_message_is_really_read(shared_endpoint: Endpoint):
    assert shared_endpoint.send(PUBLISH.path, publish_of(4 * MEGABYTE)) == IGNORE


def test_a_deadline_that_has_passed_ends_the_call_and_nothing_else(shared_endpoint: Endpoint):
    for _ in range(20):
        with pytest.raises(grpc.RpcError) as refused:
            shared_endpoint.send(AUTHENTICATE.path, NOBODY, seconds=-1)
        assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


# --- Memory ---


LONG = 60_000  # MQTT allows 65,535 bytes for a name, a client id and a topic, each
CALLS = 300


@pytest.fixture
def front(database: None) -> Iterator[Front]:
    """A front of the test's own, whose facts are kept as if the database did not take them."""
    facts: list[Fact] = []
    provider = new_provider(facts.append)
    provider.directory.load_policies()
    front = Front(provider)
    yield front
    front.close()


def kept(front: Front, requests: Iterator[tuple[Method, bytes]]) -> int:
    """How many bytes are in memory for good after these calls have been answered."""
    # Whatever is made once, at the first call.
    ask(front, AUTHENTICATE, authenticate_request(V3, username="first", password="x").SerializeToString())
    gc.collect()
    tracemalloc.start()
    try:
        for method, request in requests:
            ask(front, method, request)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def ask(front: Front, method: Method, request: bytes) -> bytes:
    reply = front.receive(method, request)
    if isinstance(reply, bytes):
        return reply
    answered: queue.Queue[bytes] = queue.Queue()
    front.later(reply, time.monotonic() + SECONDS, answered.put)
    return answered.get(timeout=SECONDS)


def long_text(number: int) -> str:
    return f"{number:08}" + "x" * (LONG - 8)


def test_names_as_long_as_mqtt_allows_do_not_fill_the_memory(front: Front):
    """Kept as they come, in what waits to be written and what is remembered of strangers and of
    failed logins, they would take gigabytes: nobody needs a password to send one."""

    def requests() -> Iterator[tuple[Method, bytes]]:
        for number in range(CALLS):
            text = long_text(number)
            names: dict[str, Any] = {"clientid": text, "username": text, "peerhost": f"10.0.{number % 250}.1"}
            yield AUTHENTICATE, authenticate_request(V3, **names, password=text).SerializeToString()
            yield AUTHORIZE, authorize_request(V3, text, **names).SerializeToString()

    assert kept(front, requests()) < CALLS * LONG / 2


def test_topics_as_long_as_mqtt_allows_do_not_fill_the_memory(front: Front):
    create_device("pump-17", superuser=True)
    pump: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17"}
    ask(front, AUTHORIZE, authorize_request(V3, "first", **pump).SerializeToString())
    requests = (
        (AUTHORIZE, authorize_request(V3, long_text(number), **pump).SerializeToString())
        for number in range(CALLS)
    )
    assert kept(front, requests) < CALLS * LONG / 4


# --- Raw HTTP/2 ---


def test_two_hundred_calls_without_a_body_delay_nobody(shared_endpoint: Endpoint):
    """EMQX opens such calls for a password that is not UTF-8, so anybody can have them opened.

    On a server that gives each call a thread the others would wait until these are over: ten minutes,
    longer than any of the others has.
    """
    with RawClient(shared_endpoint.port) as client:
        streams = [client.open(AUTHENTICATE.path, timeout="10M") for _ in range(200)]
        # One connection's calls arrive in order: when this one is answered, those have arrived.
        last = client.open(AUTHENTICATE.path)
        client.send(last, framed(NOBODY), end=True)
        client.wait_for_end(last)
        for _ in range(50):
            assert shared_endpoint.send(AUTHENTICATE.path, NOBODY) == DENY
            name = os.urandom(8).hex()
            stranger = authorize_request(V3, "a/b", clientid=name, username=name).SerializeToString()
            assert shared_endpoint.send(AUTHORIZE.path, stranger) == DENY
        client.read(0.01)
        assert not client.ended & set(streams)


def test_a_call_without_a_body_is_ended_at_its_deadline(shared_endpoint: Endpoint):
    with RawClient(shared_endpoint.port) as client:
        stream = client.open(AUTHENTICATE.path, timeout="200m")
        ended = client.wait_for_end(stream)
    deadline_exceeded = str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
    assert ended.get("grpc-status") == deadline_exceeded or "reset" in ended


def test_a_connection_with_calls_left_open_goes_on_serving(shared_endpoint: Endpoint):
    """EMQX keeps eight connections: the devices that hang on one of them share it with the attack."""
    with RawClient(shared_endpoint.port) as client:
        for _ in range(50):
            client.open(AUTHENTICATE.path, timeout="60S")
        half = client.open(AUTHENTICATE.path, timeout="60S")
        client.send(half, framed(NOBODY)[:7])
        for _ in range(5):
            stream = client.open(AUTHENTICATE.path)
            client.send(stream, framed(NOBODY), end=True)
            assert client.wait_for_end(stream)["grpc-status"] == "0"
            assert client.data[stream] == framed(DENY)
        client.send(half, framed(NOBODY)[7:], end=True)
        client.wait_for_end(half)
        assert client.data[half] == framed(DENY)


def test_a_flood_of_resets_is_survived(shared_endpoint: Endpoint):
    with RawClient(shared_endpoint.port) as client:
        for _ in range(500):
            try:
                client.reset(client.open(AUTHENTICATE.path))
            except OSError:
                break  # it hung up on us, which is its right


def test_many_streams_are_announced(shared_endpoint: Endpoint):
    """EMQX ignores the limit and denies the devices whose calls are refused above it."""
    with RawClient(shared_endpoint.port) as client:
        client.read(5)
        assert client._h2.remote_settings.max_concurrent_streams >= 100_000


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="a body without a message"),
        pytest.param(b"\x00\x00\x00\x00\x05ab", {}, id="a message cut short"),
        pytest.param(b"\x01" + framed(NOBODY)[1:], {}, id="said to be compressed, and is not"),
        pytest.param(b"\x07" + framed(NOBODY)[1:], {}, id="a flag that does not exist"),
        pytest.param(b"\x00\xff\xff\xff\xff", {}, id="announced to be four gigabytes"),
        pytest.param(framed(NOBODY), {"grpc_encoding": "brotli"}, id="an encoding nobody has"),
        pytest.param(framed(NOBODY), {"grpc_timeout": "soon"}, id="a deadline that is none"),
        pytest.param(framed(NOBODY), {"content_type": "text/plain"}, id="not gRPC by its content type"),
        pytest.param(framed(NOBODY) * 2, {}, id="two messages where one belongs"),
    ],
)
def test_bodies_that_grpc_does_not_know_are_ended_somehow(
    shared_endpoint: Endpoint, body: bytes, headers: dict[str, str]
):
    with RawClient(shared_endpoint.port) as client:
        stream = client.open(AUTHENTICATE.path, timeout=headers.pop("grpc_timeout", "1S"), **headers)
        client.send(stream, body, end=True)
        client.wait_for_end(stream)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", id="HTTP/1.1"),
        pytest.param(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc", id="MQTT"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, id="HTTP/2 that goes wrong"),
        pytest.param(b"\x00" * 65536, id="zeros"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_connections_that_do_not_speak_grpc(shared_endpoint: Endpoint, garbage: bytes):
    sockets = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", shared_endpoint.port), timeout=30)
        sockets.append(connection)
        with suppress(OSError):  # it may have hung up already
            connection.sendall(garbage)
    assert shared_endpoint.send(AUTHENTICATE.path, NOBODY) == DENY
    for connection in sockets:
        connection.close()
