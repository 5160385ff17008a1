"""A load client for HTTP/1.1: connections that are kept, one request at a time on each, as in a pool."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator

from benchmarks.load import CONNECTIONS, Sample, WrongAnswer

SILENCE_SECONDS = 60.0


class Connection:
    """One connection, with at most one request under way; opened again when the server closes it."""

    def __init__(self, port: int, path: str, reply: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._start = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        ).encode()
        self._reply = reply
        self._received = b""
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(self._address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send(self, body: bytes) -> None:
        self._received = b""
        self.socket.sendall(self._start + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def receive(self) -> bool:
        """True when the reply is complete. Raises WrongAnswer when it is not the expected one."""
        part = self.socket.recv(65_536)
        if not part:
            raise WrongAnswer("the server closed a connection instead of answering")
        self._received += part
        head, gap, body = self._received.partition(b"\r\n\r\n")
        if not gap:
            return False
        headers = head.lower()
        length = headers.partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) < int(length or b"0"):
            return False
        if not head.startswith(b"HTTP/1.1 200 ") or body != self._reply:
            raise WrongAnswer(f"a reply was not the expected one: {self._received[:500]!r}")
        return True

    @property
    def closed_by_server(self) -> bool:
        return b"\r\nconnection: close" in self._received.lower()

    def reopen(self) -> None:
        self.socket.close()
        self.socket = self._connect()


def load(
    port: int,
    path: str,
    bodies: Iterator[bytes],
    reply: bytes,
    seconds: float | None = None,
    cpu_seconds: Callable[[], float] = lambda: 0.0,
    connections: int = CONNECTIONS,
) -> Sample:
    """Posts one body after the other, for so long, or until there are none left. Raises WrongAnswer."""
    calls = 0
    underway = 0
    open_ones = [Connection(port, path, reply) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        try:
            cpu, began = cpu_seconds(), time.perf_counter()
            until = began + seconds if seconds is not None else float("inf")
            for connection in open_ones:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                if (body := next(bodies, None)) is not None:
                    connection.send(body)
                    underway += 1
            now, counted, spent = began, 0, 0.0
            while underway:
                ready = selector.select(SILENCE_SECONDS)
                if not ready:
                    raise WrongAnswer(f"the server was silent for {SILENCE_SECONDS:g} s")
                for key, _ in ready:
                    connection = key.data
                    if not connection.receive():
                        continue
                    underway -= 1
                    calls += 1
                    if connection.closed_by_server:
                        selector.unregister(connection.socket)
                        connection.reopen()
                        selector.register(connection.socket, selectors.EVENT_READ, connection)
                    if now < until and (body := next(bodies, None)) is not None:
                        connection.send(body)
                        underway += 1
                if now < until:
                    now, counted, spent = time.perf_counter(), calls, cpu_seconds() - cpu
            return Sample(counted, now - began, spent)
        finally:
            for connection in open_ones:
                connection.socket.close()
