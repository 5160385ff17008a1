"""The grpcio transport: gRPC's own server on an event loop.

``grpc.aio`` waits for a request's body without holding a thread, so calls that were opened
and never sent (anybody can make EMQX do that) cost the others nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from exhookadmin.exhook.front import DEFAULT_SECONDS, Front
from exhookadmin.exhook.transport import MAX_MESSAGE_BYTES, MAX_STREAMS, PortTaken
from exhookadmin.exhook.versions import VERSIONS, Method

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # EMQX sends a PING every 60 s, also when it has nothing to ask; grpc would take offence.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # The workers share the port; the supervisor keeps others away from it.
    ("grpc.so_reuseport", 1),
]


class GrpcioTransport:
    """All three versions, health and reflection."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = health.aio.HealthServicer()
        names = [version.service for version in VERSIONS] + [health.SERVICE_NAME, reflection.SERVICE_NAME]
        for version in VERSIONS:
            handlers: dict[str, Any] = {
                name: grpc.unary_unary_rpc_method_handler(self._handler(method))
                for name, method in version.methods.items()
            }
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(version.service, handlers),)
            )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str) -> int:
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise PortTaken(address) from error
        await self._server.start()
        for name in ["", *(version.service for version in VERSIONS)]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    def _handler(
        self, method: Method
    ) -> Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[bytes]]:
        front = self._front

        async def handle(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            try:
                reply = front.receive(method, data)
            except DecodeError:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"these bytes are no message that {method.name} takes"
                )
            if isinstance(reply, bytes):
                return reply
            loop = asyncio.get_running_loop()
            answered: asyncio.Future[bytes] = loop.create_future()

            def done(late_reply: bytes) -> None:
                loop.call_soon_threadsafe(_settle, answered, late_reply)

            seconds = context.time_remaining()
            deadline = time.monotonic() + (DEFAULT_SECONDS if seconds is None else seconds)
            front.later(reply, deadline, done)
            return await answered

        return handle


def _settle(answered: "asyncio.Future[bytes]", reply: bytes) -> None:
    if not answered.done():  # The caller may have given up.
        answered.set_result(reply)
