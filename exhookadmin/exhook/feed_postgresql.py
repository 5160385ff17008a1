"""The change feed on PostgreSQL: triggers notify, and a connection of the feed's own listens."""

import contextlib
import json
import logging
import os
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator

import psycopg2
from django.db import connection
from psycopg2.extensions import connection as Connection

from exhookadmin.exhook.memory import Change

logger = logging.getLogger(__name__)

CHANNEL = "exhook_changes"

# A server that hangs, or a network that lost us without a word, is noticed after the two together.
HEARTBEAT_SECONDS = 2.0
ANSWER_SECONDS = 3.0

# More devices than this, named one by one, are no longer worth remembering.
MOST_DEVICES = 1_000

EVERYTHING = Change(new_names=True, policies=True, everything=True)


class Listener:
    """Hears what the triggers say. Used by one thread, but for ``wake``."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._selector: selectors.BaseSelector | None = None
        self._bell, self._button = socket.socketpair()

    def open(self) -> None:
        """From now on no change is missed. Raises django.db.Error."""
        with connection.wrap_database_errors:
            self._connection = psycopg2.connect(
                **connection.get_connection_params() | {"application_name": "run_exhook feed"}
            )
            self._connection.autocommit = True
            self._execute(f"LISTEN {CHANNEL}")
            if self._execute("SELECT pg_backend_pid()") != self._connection.info.backend_pid:
                logger.warning(
                    "the change feed reaches PostgreSQL through a connection pooler: notifications pass "
                    "only when it pools by session; otherwise changes take up to EXHOOK_CACHE_SECONDS"
                )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connection, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def wait(self) -> Change | None:
        """All that changed since the last call, as one; None when nothing did for a while.

        Raises django.db.Error when the connection is lost.
        """
        assert self._selector is not None
        with connection.wrap_database_errors:
            if not self._selector.select(HEARTBEAT_SECONDS):
                self._execute("SELECT 1")
            payloads = list(self._received())
        return merged(change_of(payload) for payload in payloads) if payloads else None

    def wake(self) -> None:
        """Ends a wait at once, and every later one; any thread may call it."""
        self._button.send(b"!")

    def close(self) -> None:
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _received(self) -> Iterator[str]:
        assert self._connection is not None
        # One read takes a part of a long burst only; over TLS the rest may not show on the socket.
        while True:
            self._connection.poll()
            if not self._connection.notifies:
                return
            yield from (notify.payload for notify in self._connection.notifies)
            self._connection.notifies.clear()

    def _execute(self, statement: str) -> object:
        """The first value of the answer. Ends the connection when no answer comes in time."""
        assert self._connection is not None
        with _ended_after(ANSWER_SECONDS, self._connection), self._connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@contextlib.contextmanager
def _ended_after(seconds: float, opened: Connection) -> Iterator[None]:
    """libpq itself would wait for an answer for ever."""
    with socket.socket(fileno=os.dup(opened.fileno())) as same_socket:

        def end() -> None:
            with contextlib.suppress(OSError):
                same_socket.shutdown(socket.SHUT_RDWR)

        watchdog = threading.Timer(seconds, end)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


def change_of(payload: str) -> Change:
    """What a notification says. One that cannot be read may say anything: everything."""
    try:
        said = json.loads(payload)
        everything = said["devices"] == "all"
        return Change(
            device_ids=frozenset() if everything else frozenset(said["devices"] or ()),
            new_names=bool(said["new_names"]),
            policies=bool(said["policies"]),
            everything=everything,
        )
    except (ValueError, TypeError, KeyError):
        return EVERYTHING


def merged(changes: Iterable[Change]) -> Change:
    """One change that stands for all of them."""
    changes = tuple(changes)
    device_ids = frozenset[int]().union(*(change.device_ids for change in changes))
    everything = len(device_ids) > MOST_DEVICES or any(change.everything for change in changes)
    return Change(
        frozenset() if everything else device_ids,
        new_names=any(change.new_names for change in changes),
        policies=any(change.policies for change in changes),
        everything=everything,
    )
