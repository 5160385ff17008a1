"""The port for those who watch: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for probes.

Served by the supervisor. It tells numbers and states, no names of devices and no secrets,
and it takes nothing; even so it belongs in a network of one's own.
"""

import json
import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from exhookadmin.exhook.status import Verdict

logger = logging.getLogger(__name__)

# Who opens connections and says nothing may hold so many threads, and for so long.
CONNECTIONS = 16
IDLE_SECONDS = 5.0

TEXT = "text/plain; charset=utf-8"


class AddressProblem(Exception):
    """The address cannot be listened on; the text is for whoever chose it."""


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[HOST]:PORT``. Raises AddressProblem."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressProblem(
            f"EXHOOK_METRICS (--metrics): “{text}” is no address. Write HOST:PORT, for example "
            "127.0.0.1:9001, or nothing to switch it off."
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


class MetricsServer:
    """Serves until closed, on threads of its own. ``port`` is what it got when 0 was asked for."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        health: Callable[[], Verdict],
        ready: Callable[[], Verdict],
    ) -> None:
        """Listens. Raises AddressProblem."""
        self.host, port = parse_address(address)

        class Handler(_Handler):
            pages: ClassVar[dict[str, Callable[[str], tuple[HTTPStatus, str, bytes]]]] = {
                "/metrics": lambda accept: _metrics(registry, accept),
                "/healthz": lambda _: _verdict(health()),
                "/readyz": lambda _: _verdict(ready()),
            }

        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            self._server = _Server((self.host, port), Handler, family)
        except OSError as error:
            raise AddressProblem(
                f"The metrics cannot be served on {address} ({error.strerror or error}). Choose another "
                "address with --metrics HOST:PORT or EXHOOK_METRICS, or switch them off with --metrics ''."
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 4 * CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type["_Handler"], family: int) -> None:
        self.address_family = family
        self._free = threading.Semaphore(CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks its address up in the DNS, which can take long.
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Mostly somebody who went away before the answer was written.
        logger.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_SECONDS
    pages: ClassVar[dict[str, Callable[[str], tuple[HTTPStatus, str, bytes]]]] = {}

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            known = ", ".join(self.pages)
            answer = HTTPStatus.NOT_FOUND, TEXT, f"Here are {known}.\n".encode()
        else:
            try:
                answer = page(self.headers.get("Accept", ""))
            except Exception:
                logger.exception("metrics cannot be shown", extra={"path": self.path[:100]})
                answer = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"This failed; the log says why.\n"
        status, content_type, body = answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def version_string(self) -> str:
        return "exhookadmin"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe asks every few seconds."""


def _metrics(registry: CollectorRegistry, accept: str) -> tuple[HTTPStatus, str, bytes]:
    encode, content_type = choose_encoder(accept)
    return HTTPStatus.OK, content_type, encode(registry)


def _verdict(verdict: Verdict) -> tuple[HTTPStatus, str, bytes]:
    body = {"ok": verdict.good, "problems": [*verdict.problems], "warnings": [*verdict.warnings]}
    status = HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n"
