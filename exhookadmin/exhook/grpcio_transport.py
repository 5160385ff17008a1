"""The grpcio transport: gRPC's own server on an event loop.

``grpc.aio`` waits for a request's body without holding a thread, so calls that were opened
and never sent (anybody can make EMQX do that) cost the others nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from exhookadmin.exhook.front import DEFAULT_SECONDS, Front
from exhookadmin.exhook.metrics_tally import CallTally
from exhookadmin.exhook.tls import Certificates, ServerTls, names_of
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

    def __init__(self, front: Front, tls: ServerTls | None = None) -> None:
        self._front = front
        self._tls = tls
        self._ready: bool | None = None
        only = [OnlyNamed(tls.files.client_names, front.tally)] if tls and tls.files.client_names else []
        self._server = grpc.aio.server(options=OPTIONS, interceptors=only)
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
        self._server.add_generic_rpc_handlers((_CountUnknown(front.tally),))

    async def start(self, address: str) -> int:
        try:
            if self._tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(self._tls))
        except RuntimeError as error:
            raise PortTaken(address) from error
        await self._server.start()
        await self.mirror(True)
        return port

    async def mirror(self, ready: bool) -> None:
        if ready is self._ready:
            return
        self._ready = ready
        state = health_pb2.HealthCheckResponse
        for name in ["", *(version.service for version in VERSIONS)]:
            await self._health.set(name, state.SERVING if ready else state.NOT_SERVING)

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
                with suppress(RuntimeError):  # The loop has ended, and with it everybody who waited.
                    loop.call_soon_threadsafe(_settle, answered, late_reply)

            seconds = context.time_remaining()
            deadline = time.monotonic() + (DEFAULT_SECONDS if seconds is None else seconds)
            front.later(reply, deadline, done)
            return await answered

        return handle


class OnlyNamed(grpc.aio.ServerInterceptor):
    """Refuses every call of a client whose certificate has none of these names.

    Asked at every call, which costs 3 µs: a connection has no place to keep the answer.
    """

    def __init__(self, names: frozenset[str], tally: CallTally) -> None:
        self._names = names
        self._tally = tally
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        guarded = self._guarded.get(path)
        if guarded is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            guarded = self._guarded[path] = self._guard(handler)
        return guarded

    def _guard(self, handler: Any) -> Any:
        """The same method behind the check."""
        if handler.response_streaming:

            async def stream(request: Any, context: Any) -> Any:
                await self._require_name(context)
                replies = (handler.stream_stream or handler.unary_stream)(request, context)
                if hasattr(replies, "__aiter__"):
                    async for reply in replies:
                        yield reply
                else:
                    await replies

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, handler.request_deserializer, handler.response_serializer)

        async def single(request: Any, context: Any) -> Any:
            await self._require_name(context)
            return await (handler.stream_unary or handler.unary_unary)(request, context)

        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(single, handler.request_deserializer, handler.response_serializer)

    async def _require_name(self, context: Any) -> None:
        if self._names.isdisjoint(names_of(context.auth_context())):
            self._tally.refused["client_name"] += 1
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                "no name in the client’s certificate is in EXHOOK_TLS_CLIENT_NAMES",
            )


class _CountUnknown(grpc.GenericRpcHandler):
    """Asked last, about methods that nobody knows; gRPC answers UNIMPLEMENTED itself."""

    def __init__(self, tally: CallTally) -> None:
        self._tally = tally

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        self._tally.refused["unknown_method"] += 1


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Certificates that every new connection asks for anew; those that live keep theirs."""

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        fresh = tls.take_new()
        return None if fresh is None else _configuration(fresh)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(tls.current),
        fetch,  # type: ignore[arg-type]  # None stands for “as before”.
        require_client_authentication=tls.current.client_ca is not None,
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.chain)], root_certificates=certificates.client_ca
    )


def _settle(answered: "asyncio.Future[bytes]", reply: bytes) -> None:
    if not answered.done():  # The caller may have given up.
        answered.set_result(reply)
