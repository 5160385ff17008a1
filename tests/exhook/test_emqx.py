"""Playing EMQX: what is sent at every hook of every version says what translate reads back."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from accounts.core.client import Client
from exhookadmin.exhook.emqx import Node, Target, headers_of, open_channel
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.translate import client_of, connecting_client_of
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.endpoint import wait_until

CLIENT = Client(
    client_id="c-17",
    username="pump-17",
    password="secret",
    address="192.0.2.7",
    port=50123,
    listener_port=8883,
    protocol="mqtt",
    mountpoint="mp/",
    cn="meter.example",
    dn="CN=meter.example,O=Example",
    node="emqx@10.0.0.1",
)
ABOUT_THE_NODE = {Hook.PROVIDER_LOADED, Hook.PROVIDER_UNLOADED, Hook.MESSAGE_PUBLISH, Hook.MESSAGE_DROPPED}
ABOUT_THE_CONNECTION = {Hook.CLIENT_CONNECT, Hook.CLIENT_CONNACK}


@pytest.fixture(params=VERSIONS, ids=[version.name for version in VERSIONS])
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
def node(version: Version) -> Node:
    return Node(version, name="emqx@10.0.0.1", cluster="plant")


@pytest.mark.parametrize("hook", Hook)
def test_every_hook_tells_node_and_client(hook: Hook, node: Node) -> None:
    method, request = node.request(hook, None if hook in ABOUT_THE_NODE else CLIENT)
    assert method.hook == hook
    assert method.version is node.version
    message = method.parse(request)
    assert (message.meta.node, message.meta.cluster_name) == ("emqx@10.0.0.1", "plant")
    # v1 does not tell the device's port.
    sent = CLIENT if node.version.name != "v1" else CLIENT._replace(port=0)
    if hook in ABOUT_THE_CONNECTION:
        told = connecting_client_of(message.conninfo)
        assert told == sent._replace(password="", protocol="mqtt 4", mountpoint="", cn="", dn="")
    elif hook not in ABOUT_THE_NODE:
        password = "secret" if hook == Hook.CLIENT_AUTHENTICATE else ""
        assert client_of(message.clientinfo) == sent._replace(password=password)


def test_the_other_fields_come_as_given(node: Node) -> None:
    method, request = node.request(Hook.CLIENT_AUTHORIZE, CLIENT, type=1, topic="a/#")
    message = method.parse(request)
    assert (message.type, message.topic) == (1, "a/#")
    assert method.name == ("OnClientCheckAcl" if node.version.name == "v1" else "OnClientAuthorize")


def test_the_broker_tells_its_uptime_in_its_version_s_way(node: Node) -> None:
    method, request = node.request(Hook.PROVIDER_LOADED)
    uptime = method.parse(request).broker.uptime
    assert uptime == "0 seconds" if node.version.name == "v1" else 0 <= uptime < 60_000


def test_topic_filters_carry_their_qos(node: Node) -> None:
    _, request = node.request(Hook.CLIENT_SUBSCRIBE, CLIENT, topic_filters=node.filters([("a/+", 1)]))
    (told,) = node.method(Hook.CLIENT_SUBSCRIBE).parse(request).topic_filters
    assert told.name == "a/+"
    assert (told.qos if node.version.name == "v1" else told.subopts.qos) == 1


def test_a_message_names_its_publisher(node: Node) -> None:
    told = node.message(CLIENT, "a/b", b"\x00\xff", 1, "0" * 32)
    method, request = node.request(Hook.MESSAGE_PUBLISH, message=told)
    message = method.parse(request).message
    assert (getattr(message, "from"), message.topic, message.payload) == ("c-17", "a/b", b"\x00\xff")
    assert dict(message.headers) == {"username": "pump-17", "protocol": "mqtt", "peerhost": "192.0.2.7"}


@contextmanager
def heard_headers() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An HTTP/2 server that only listens. Yields its address and the headers of each request."""
    heard: list[dict[str, str]] = []

    def listen() -> None:
        connection, _ = listening.accept()
        # The client may hang up at any moment.
        with connection, suppress(OSError):
            http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
            http2.initiate_connection()
            connection.sendall(http2.data_to_send())
            while data := connection.recv(65535):
                for event in http2.receive_data(data):
                    if isinstance(event, RequestReceived):
                        heard.append({str(name): str(value) for name, value in event.headers})
                connection.sendall(http2.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", heard
        thread.join(5)


def test_the_headers_are_emqx_s_as_far_as_grpc_allows(node: Node) -> None:
    method, request = node.request(Hook.CLIENT_CONNECTED, CLIENT)
    with heard_headers() as (address, heard), open_channel(Target(address)) as channel:
        rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method.path)
        call = rpc.future(request, timeout=120, metadata=headers_of(method))
        wait_until(lambda: heard)
        call.cancel()
    (headers,) = heard
    assert headers[":path"] == f"/emqx.exhook.{node.version.name}.HookProvider/OnClientConnected"
    assert headers["grpc-message-type"] == f"emqx.exhook.{node.version.name}.ClientConnectedRequest"
    assert headers["grpc-encoding"] == "identity"
    assert headers["te"] == "trailers"
    assert headers["content-type"].startswith("application/grpc")
    assert headers["user-agent"].startswith("grpc-erlang/0.1.0")
