"""The change feed: what is changed in the database takes effect in this process.

How a change comes to be known is the database's: ``feed_postgresql`` hears of it, ``feed_sqlite``
looks for it. What follows from one, and from not hearing any more, is here.
"""

import logging
import threading
import time
from enum import StrEnum
from typing import Protocol

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.memory import Change

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0
MOST_REST_SECONDS = 0.5


class FeedState(StrEnum):
    """How the feed learns of changes; lost: it does not, or not yet."""

    LISTENING = "listening"
    POLLING = "polling"
    LOST = "lost"


class Source(Protocol):
    """Where one kind of database tells of changes.

    ``open`` and ``wait`` raise django.db.Error or OSError when it cannot tell any more; after
    ``close`` it can be opened again. Another thread may call ``wake``, which ends a wait.
    """

    def open(self) -> None: ...

    def wait(self) -> Change | None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


class Feed:
    """Keeps a directory current, on a thread of its own.

    When it may have missed something, after an interruption and at the start, the directory
    is made to doubt all that it holds. While it is interrupted the directory serves what it
    holds, up to the fail-static age.
    """

    def __init__(self, directory: Directory, refresh_seconds: float | None = None) -> None:
        """Even unasked, policies are read anew after ``refresh_seconds``; by default, a setting."""
        self.state = FeedState.LOST
        self.applied = 0
        """How many changes took effect; those that arrived together count as one."""
        self.applied_at: float | None = None
        """When the last one did, as ``time.time()``."""
        self.last_error = ""
        """The class of the error that interrupted the feed last."""
        self.policy_revision = 0
        """How often policies were read."""
        self._directory = directory
        self._refresh_seconds = settings.EXHOOK_CACHE_SECONDS if refresh_seconds is None else refresh_seconds
        self._policies_read_at = time.monotonic()
        self._current_at = time.monotonic()
        self._interrupted = False
        self._source, self._following = _source()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)

    @property
    def lag_seconds(self) -> float:
        """How long ago it was certain that nothing was missing. A few seconds while all is well."""
        return time.monotonic() - self._current_at

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._source.wake()
        self._thread.join(5)

    def _run(self) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        while not self._closing.is_set():
            try:
                self._begin()
                retry_seconds = FIRST_RETRY_SECONDS
                while not self._closing.is_set():
                    self._follow()
            except Exception as error:
                self._lose(error)
                self._closing.wait(retry_seconds)
                retry_seconds = min(2 * retry_seconds, LAST_RETRY_SECONDS)
            finally:
                self._source.close()
        connection.close()

    def _begin(self) -> None:
        # In this order: what changes after the source is open will be told, so all that may
        # have gone unnoticed is what was read before.
        self._source.open()
        self._directory.doubt()
        self._read_policies()
        self._current_at = time.monotonic()
        if self._interrupted:
            logger.warning("the change feed is back; what was held is read again")
        self._interrupted = False
        # Last: whoever sees it sees all of that too.
        self.state = self._following

    def _follow(self) -> None:
        asked_at = self._directory.now()
        change = self._source.wait()
        if change is not None:
            self._apply(change)
        if time.monotonic() - self._policies_read_at > self._refresh_seconds:
            self._read_policies()
        self._directory.confirm(asked_at)
        self._current_at = time.monotonic()

    def _apply(self, change: Change) -> None:
        started = time.monotonic()
        try:
            # First, so that a transaction that changed both takes effect at one moment.
            if change.policies:
                self._read_policies()
        finally:
            self._directory.invalidate(change)
        self.applied_at = time.time()
        self.applied += 1
        # Whoever saves many rules one by one must not keep the interpreter busy compiling.
        self._closing.wait(min(time.monotonic() - started, MOST_REST_SECONDS))

    def _read_policies(self) -> None:
        close_old_connections()
        started = time.monotonic()
        self._directory.load_policies()
        self._policies_read_at = started
        self.policy_revision += 1

    def _lose(self, error: Exception) -> None:
        away = isinstance(error, OperationalError | InterfaceError | OSError)
        # In this order: whoever sees one of these sees the ones before it too.
        self.last_error = type(error).__name__
        self._directory.doubt(database_away=away)
        self.state = FeedState.LOST
        if not self._interrupted:
            logger.error(
                "the change feed has lost the database; devices in memory go on being served",
                extra={"error": str(error).strip()},
                exc_info=None if away else error,
            )
        self._interrupted = True


def _source() -> tuple[Source, FeedState]:
    if connection.vendor == "postgresql":
        # Imported only here: on SQLite nobody needs libpq in memory.
        from exhookadmin.exhook.feed_postgresql import Listener

        return Listener(), FeedState.LISTENING
    from exhookadmin.exhook.feed_sqlite import Poller

    return Poller(), FeedState.POLLING
