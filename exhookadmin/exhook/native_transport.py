"""The native transport: HTTP/2 in Rust, outside the GIL (pygrpc-native; optional, plaintext only).

Calls reach Python in batches and are answered by id, so Python's time goes into deciding.
"""

import asyncio
import logging
import threading
import time

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from pygrpc_native import EVENT_CALL, NativeGrpcFront

from exhookadmin.exhook.front import DEFAULT_SECONDS, Front
from exhookadmin.exhook.transport import MAX_MESSAGE_BYTES, MAX_STREAMS, PortTaken
from exhookadmin.exhook.versions import VERSIONS, Method

logger = logging.getLogger(__name__)

BATCH = 256
HEALTH_CHECK = "/grpc.health.v1.Health/Check"

# gRPC status codes, as numbers because that is what the front takes.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
INTERNAL = 13


class NativeTransport:
    """All three versions and health checks, answered on one thread."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._methods: list[Method] = [method for version in VERSIONS for method in version.methods.values()]
        self._native: NativeGrpcFront | None = None
        self._ready = True
        self._underway = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="native-front", daemon=True)

    async def start(self, address: str) -> int:
        paths = [(method.path, False) for method in self._methods] + [(HEALTH_CHECK, False)]
        try:
            self._native = NativeGrpcFront(
                address,
                paths,
                io_threads=1,
                max_concurrent_streams=MAX_STREAMS,
                reuse_port=True,
            )
            self._native.start()
        except (OSError, RuntimeError) as error:
            raise PortTaken(address) from error
        self._thread.start()
        return self._native.bound_port

    async def mirror(self, ready: bool) -> None:
        self._ready = ready

    async def stop(self, grace: float) -> None:
        self._ready = False
        until = time.monotonic() + grace
        while self._underway and time.monotonic() < until:
            await asyncio.sleep(0.01)
        if self._native is not None:
            self._native.close()
            await asyncio.to_thread(self._thread.join, grace)

    def _run(self) -> None:
        assert self._native is not None
        health_check = len(self._methods)
        while (events := self._native.recv_batch(BATCH)) is not None:
            for kind, call_id, method_id, payload, _ in events:
                if kind != EVENT_CALL:
                    continue  # A cancelled call is answered into the void.
                try:
                    if method_id == health_check:
                        self._check_health(call_id, payload or b"")
                    else:
                        self._answer(call_id, self._methods[method_id], payload or b"")
                except Exception:
                    # An exception that left this loop would end the worker's service.
                    logger.exception("a call could not be answered")
                    self._native.fail(call_id, INTERNAL, "internal error")

    def _answer(self, call_id: int, method: Method, payload: bytes) -> None:
        native = self._native
        assert native is not None
        if len(payload) > MAX_MESSAGE_BYTES:
            self._front.tally.refused["too_large"] += 1
            native.fail(call_id, RESOURCE_EXHAUSTED, f"messages end at {MAX_MESSAGE_BYTES} bytes")
            return
        try:
            reply = self._front.receive(method, payload)
        except DecodeError:
            native.fail(call_id, INVALID_ARGUMENT, f"these bytes are no message that {method.name} takes")
            return
        if isinstance(reply, bytes):
            native.respond(call_id, reply)
            return
        with self._lock:
            self._underway += 1

        def done(late_reply: bytes) -> None:
            with self._lock:
                self._underway -= 1
            native.respond(call_id, late_reply)

        self._front.later(reply, time.monotonic() + DEFAULT_SECONDS, done)

    def _check_health(self, call_id: int, payload: bytes) -> None:
        assert self._native is not None
        service = health_pb2.HealthCheckRequest.FromString(payload).service
        if service and service not in {version.service for version in VERSIONS}:
            self._native.fail(call_id, NOT_FOUND, "no such service")
            return
        state = health_pb2.HealthCheckResponse
        status = state.SERVING if self._ready else state.NOT_SERVING
        self._native.respond(call_id, state(status=status).SerializeToString())
