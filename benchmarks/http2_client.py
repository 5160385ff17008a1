"""A load client for unary gRPC calls whose bodies differ, which h2load cannot send.

Each request is the same few bytes of header (everything is in HPACK's table after the first
request) and its body; of a reply only the frames are read. That keeps the client far cheaper
than what it measures. Every reply is compared with the expected one.
"""

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator

from hpack import Encoder

from benchmarks.load import CONNECTIONS, STREAMS, Sample, WrongAnswer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8
END_STREAM, ACK = 0x1, 0x1
FIRST_WINDOW = 65_535
WIDE = (1 << 31) - 1
RECEIVE = 1 << 18
SILENCE_SECONDS = 60.0


class Connection:
    """One HTTP/2 connection that keeps a number of calls under way."""

    def __init__(self, host: str, port: int, path: str, reply: bytes, bodies: Iterator[bytes]) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answered = 0
        self.underway = 0
        self.exhausted = False
        self._bodies = bodies
        self._reply = b"\x00" + len(reply).to_bytes(4, "big") + reply
        self._unread = b""
        self._window = FIRST_WINDOW
        self._held_back: bytes | None = None
        self._stream = 1
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", f"{host}:{port}"),
            ("content-type", "application/grpc+proto"),
            ("user-agent", "grpc-erlang/0.1.0"),
            ("te", "trailers"),
            ("grpc-timeout", "5S"),
        ]
        encoder = Encoder()
        first, later = encoder.encode(headers), encoder.encode(headers)
        self._headers = _headers_of(later)
        self._first_headers = _headers_of(first)
        self.socket.sendall(
            PREFACE
            + _frame(SETTINGS, 0, 0, struct.pack(">HIHI", 2, 0, 4, WIDE))
            + _frame(WINDOW, 0, 0, (WIDE - FIRST_WINDOW).to_bytes(4, "big"))
        )

    def send(self, calls: int) -> None:
        """Begins so many calls, as far as there are bodies left and the server's window lets it."""
        out = bytearray()
        for _ in range(calls):
            body = self._held_back if self._held_back is not None else next(self._bodies, None)
            if body is None:
                self.exhausted = True
                break
            size = len(body) + 5
            if size > self._window:
                self._held_back = body
                break
            self._held_back = None
            self._window -= size
            stream = self._stream.to_bytes(4, "big")
            start, block = self._headers if self._stream > 1 else self._first_headers
            self._stream += 2
            self.underway += 1
            out += b"".join(
                (
                    start, stream, block,
                    size.to_bytes(3, "big"), b"\x00\x01", stream,
                    b"\x00", len(body).to_bytes(4, "big"), body,
                )
            )  # fmt: skip
        if out:
            self.socket.sendall(out)

    def receive(self) -> int:
        """Takes in what has arrived. Answers how many calls it ended. Raises WrongAnswer."""
        received = self.socket.recv(RECEIVE)
        if not received:
            raise WrongAnswer("the server closed a connection")
        data = self._unread + received
        expected = self._reply
        good = ended = 0
        position, end = 0, len(data)
        while position + 9 <= end:
            size = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            begin = position + 9
            following = begin + size
            if following > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            if kind == HEADERS:
                ended += flags & END_STREAM
            elif kind == DATA:
                if data[begin:following] != expected:
                    raise WrongAnswer(f"not the expected reply: {data[begin:following].hex()}")
                good += 1
            else:
                self._control(kind, flags, data[position + 5 : begin], data[begin:following])
            position = following
        self._unread = data[position:]
        self.answered += good
        self.underway -= ended
        if self.answered_wrong():
            raise WrongAnswer("a call ended without a reply")
        return ended

    def answered_wrong(self) -> bool:
        """True once a call has ended without the expected reply."""
        begun = (self._stream - 1) // 2
        return self.answered < begun - self.underway

    def _control(self, kind: int, flags: int, stream: bytes, payload: bytes) -> None:
        if kind == WINDOW:
            if stream == b"\x00\x00\x00\x00":
                self._window += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self.socket.sendall(_frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(_frame(PING, ACK, 0, payload))
        elif kind == RESET:
            raise WrongAnswer(f"the server gave up a call: HTTP/2 error {int.from_bytes(payload, 'big')}")
        elif kind == GOAWAY:
            raise WrongAnswer(f"the server gave up the connection: {payload[4:]!r}")


def load(
    port: int,
    path: str,
    bodies: Iterator[bytes],
    reply: bytes,
    seconds: float | None = None,
    cpu_seconds: Callable[[], float] = lambda: 0.0,
    connections: int = CONNECTIONS,
    streams: int = STREAMS,
) -> Sample:
    """Calls with one body after the other, for so long, or until there are none left.

    Raises WrongAnswer when a reply is not ``reply``.
    """
    open_ones = [Connection("127.0.0.1", port, path, reply, bodies) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for connection in open_ones:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        try:
            cpu, began = cpu_seconds(), time.perf_counter()
            until = began + seconds if seconds is not None else float("inf")
            for connection in open_ones:
                connection.send(streams)
            now = began
            while now < until and any(c.underway or not c.exhausted for c in open_ones):
                ready = selector.select(SILENCE_SECONDS)
                if not ready:
                    raise WrongAnswer(f"the server was silent for {SILENCE_SECONDS:g} s")
                for key, _ in ready:
                    key.data.receive()
                    key.data.send(streams - key.data.underway)
                now = time.perf_counter()
            calls, spent = sum(c.answered for c in open_ones), cpu_seconds() - cpu
            _drain(selector, open_ones)
            return Sample(calls, now - began, spent)
        finally:
            for connection in open_ones:
                connection.socket.close()


def _drain(selector: selectors.BaseSelector, connections: list[Connection]) -> None:
    """Waits for the calls under way, so that the next run does not pay for them."""
    while any(connection.underway for connection in connections):
        ready = selector.select(SILENCE_SECONDS)
        if not ready:
            raise WrongAnswer(f"the server was silent for {SILENCE_SECONDS:g} s")
        for key, _ in ready:
            key.data.receive()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _headers_of(block: bytes) -> tuple[bytes, bytes]:
    """A HEADERS frame around its stream number; END_HEADERS is set, END_STREAM is not."""
    return len(block).to_bytes(3, "big") + bytes((HEADERS, 0x4)), block
