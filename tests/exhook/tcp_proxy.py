"""A TCP proxy that can misbehave as networks and poolers do."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Rewrite = Callable[[bytes], bytes]


class Proxy:
    """Passes bytes on between ``port`` and a server. ``freeze`` keeps connections open and silent."""

    def __init__(self, server: tuple[str, int], rewrite: Rewrite) -> None:
        self._server = server
        self._rewrite = rewrite
        self._flows = threading.Event()
        self._flows.set()
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        for each in (self._listening, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for source, target, rewrite in ((client, server, bytes), (server, client, self._rewrite)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, rewrite), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, rewrite: Rewrite) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(rewrite(data))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # Whose end was reset has gone. The server would wait for him for ever, with all his locks.
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_before(server: tuple[str, int], rewrite: Rewrite = bytes) -> Iterator[Proxy]:
    """A running proxy. ``rewrite`` is applied to what the server sends."""
    proxy = Proxy(server, rewrite)
    try:
        yield proxy
    finally:
        proxy.close()
