"""The real endpoint inside the test process: a transport on port 0 and an event loop of its own.

What the tests speak to it is real gRPC. ``TRANSPORTS`` holds every transport that is installed.
"""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import grpc

from audit.fact import Fact
from exhookadmin.exhook.front import Front
from exhookadmin.exhook.grpcio_transport import GrpcioTransport
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.transport import Transport
from exhookadmin.exhook.versions import VERSIONS, Method, Version

V1, V2, V3 = VERSIONS
SECONDS = 60.0


TRANSPORTS: dict[str, Callable[[Front], Transport]] = {"grpcio": GrpcioTransport}
if find_spec("pygrpc_native"):
    from exhookadmin.exhook.native_transport import NativeTransport

    TRANSPORTS["native"] = NativeTransport


def method_of(version: Version, hook: Hook) -> Method:
    """The RPC that stands for the hook in this version, whatever it is called there."""
    return next(method for method in version.methods.values() if method.hook == hook)


def request_class(method: Method) -> Any:
    """The message that the RPC takes, by the version's own descriptor."""
    service = method.version.pb2.DESCRIPTOR.services_by_name["HookProvider"]
    return getattr(method.version.pb2, service.methods_by_name[method.name].input_type.name)


def response_class(method: Method) -> Any:
    """The message that the RPC answers, by the version's own descriptor."""
    service = method.version.pb2.DESCRIPTOR.services_by_name["HookProvider"]
    return getattr(method.version.pb2, service.methods_by_name[method.name].output_type.name)


def authenticate_request(version: Version, **clientinfo: Any) -> Any:
    """What EMQX asks about a connect. The password is one of ClientInfo's fields."""
    pb2 = version.pb2
    return pb2.ClientAuthenticateRequest(clientinfo=pb2.ClientInfo(**clientinfo))


def authorize_request(version: Version, topic: str, subscribe: bool = False, **clientinfo: Any) -> Any:
    """What EMQX asks about a publish or a subscribe."""
    return request_class(method_of(version, Hook.CLIENT_AUTHORIZE))(
        clientinfo=version.pb2.ClientInfo(**clientinfo), type=int(subscribe), topic=topic
    )


def client_request(version: Version, hook: Hook, clientinfo: dict[str, Any], **fields: Any) -> Any:
    """Any request that is about a client and holds its ClientInfo."""
    return request_class(method_of(version, hook))(clientinfo=version.pb2.ClientInfo(**clientinfo), **fields)


@dataclass
class Endpoint:
    """A running endpoint, and a channel to it."""

    provider: Provider
    front: Front
    port: int
    channel: Any
    """A grpc.Channel, whose types know nothing of bytes for bytes."""
    facts: list[Fact]

    def send(self, path: str, body: bytes, seconds: float = SECONDS) -> bytes:
        """Bytes for bytes, to any path. Raises grpc.RpcError for a status that is not OK."""
        reply: bytes = self.channel.unary_unary(path)(body, timeout=seconds)
        return reply

    def call(self, version: Version, hook: Hook, request: Any, seconds: float = SECONDS) -> Any:
        """The response message to a request message."""
        method = method_of(version, hook)
        return response_class(method).FromString(self.send(method.path, request.SerializeToString(), seconds))

    def admits(self, version: Version = V3, **clientinfo: Any) -> bool:
        """Whether this client may connect. Anything but a clear yes or no fails the test."""
        return _decided(
            self.call(version, Hook.CLIENT_AUTHENTICATE, authenticate_request(version, **clientinfo))
        )

    def grants(self, topic: str, subscribe: bool = False, version: Version = V3, **clientinfo: Any) -> bool:
        """Whether this client may publish, or subscribe. Anything but a clear yes or no fails the test."""
        request = authorize_request(version, topic, subscribe, **clientinfo)
        return _decided(self.call(version, Hook.CLIENT_AUTHORIZE, request))


def _decided(response: Any) -> bool:
    assert response.type == type(response).STOP_AND_RETURN, response
    assert response.WhichOneof("value") == "bool_result", response
    return bool(response.bool_result)


@contextmanager
def running_endpoint(
    transport: str = "grpcio", record: Callable[[Fact], None] | None = None
) -> Iterator[Endpoint]:
    """An endpoint as the settings want it, with the policies of the database, on a free port.

    ``record`` takes the facts; without one they are kept in ``Endpoint.facts``.
    """
    facts: list[Fact] = []
    provider = new_provider(record or facts.append)
    provider.directory.load_policies()
    front = Front(provider)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="endpoint-loop", daemon=True)
    thread.start()

    async def start() -> tuple[Transport, int]:
        # Within the loop: grpc.aio binds a server to the loop that runs.
        server = TRANSPORTS[transport](front)
        return server, await server.start("127.0.0.1:0")

    try:
        server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield Endpoint(provider, front, port, channel, facts)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(1), loop).result(SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()
        front.close()
        # The bulkheads' threads have ended; their database connections end with the last reference.
        gc.collect()
