"""A client that speaks raw HTTP/2, and so may also leave things out, as EMQX and attackers do."""

import socket
import time
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

Headers = dict[str, str]


class RawClient:
    """One connection. ``open`` begins a call; what comes after that is up to the test."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()
        self.headers: dict[int, Headers] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def open(self, path: str, timeout: str = "60S", **more: str) -> int:
        """Sends the headers that EMQX sends, and no body. Answers the stream's number."""
        stream: int = self._h2.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "127.0.0.1",
            "grpc-timeout": timeout,
            "content-type": "application/grpc+proto",
            "user-agent": "grpc-erlang/0.1.0",
            "grpc-encoding": "identity",
            "te": "trailers",
        } | {name.replace("_", "-"): value for name, value in more.items()}
        self._h2.send_headers(stream, list(headers.items()))
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        self._h2.send_data(stream, data, end_stream=end)
        self._flush()

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream)
        self._flush()

    def wait_for_end(self, stream: int, seconds: float = 60.0) -> Headers:
        """The answer's headers and trailers. Fails when the stream does not end in time."""
        until = time.monotonic() + seconds
        while stream not in self.ended:
            assert time.monotonic() < until, "the stream was left open"
            self.read(until - time.monotonic())
        return self.headers.get(stream, {})

    def read(self, seconds: float) -> None:
        """Takes in what has come, waiting so long for something to come."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            received = self._socket.recv(65536)
        except TimeoutError:
            return
        assert received, "the server hung up"
        for event in self._h2.receive_data(received):
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self.headers.setdefault(event.stream_id, {}).update({str(n): str(v) for n, v in event.headers})
        elif isinstance(event, DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.headers.setdefault(event.stream_id, {})["reset"] = str(int(event.error_code))
            self.ended.add(event.stream_id)

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def framed(message: bytes) -> bytes:
    """A message as gRPC puts it into a body: not compressed, its length, itself."""
    return b"\x00" + len(message).to_bytes(4, "big") + message
