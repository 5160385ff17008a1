"""A database that other processes lose and get back: the plug between them and the test's own."""

import contextlib
import socket
import threading
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from tests.endpoint import database_url


class Plug:
    """``url`` is where a child finds the test database, as long as nobody pulls the plug."""

    url: str

    def pull(self) -> None: ...

    def put_back(self) -> None: ...


class LinkPlug(Plug):
    """For SQLite: a link to the directory of the file. SQLite opens the file anew for most requests."""

    def __init__(self, directory: Path) -> None:
        name = Path(str(connection.settings_dict["NAME"]))
        self._link, self._target = directory / "plug", name.parent
        self.url = f"sqlite:///{quote(str(self._link / name.name))}"
        self.put_back()

    def pull(self) -> None:
        self._link.unlink()

    def put_back(self) -> None:
        self._link.symlink_to(self._target)


class PortPlug(Plug):
    """For PostgreSQL: a port that passes everything on, in both directions."""

    def __init__(self) -> None:
        database = connection.settings_dict
        self._target = (database["HOST"], int(database["PORT"]))
        # Bound and not listening: whoever connects is refused, and nobody else is given the port meanwhile.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self._port = self._reservation.getsockname()[1]
        self._changing = threading.Lock()
        self._open: list[socket.socket] = []
        old, new = (f"@{host}:{port}/" for host, port in (self._target, ("127.0.0.1", self._port)))
        assert old in database_url()
        self.url = database_url().replace(old, new)
        self.put_back()

    def pull(self) -> None:
        with self._changing:
            # Closing alone would leave the thread that waits for a connection waiting.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for end in self._open:
                _hang_up(end)
            self._open.clear()

    def put_back(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                with self._changing:
                    # It may have been pulled since this one was accepted.
                    if listener.fileno() < 0:
                        _hang_up(near)
                        _hang_up(far)
                        return
                    self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # Whose end was reset has gone. The server would wait for him for ever, with all his locks.
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def new_plug(directory: Path) -> Plug:
    """One for the database that the tests run on."""
    return PortPlug() if connection.vendor == "postgresql" else LinkPlug(directory)
