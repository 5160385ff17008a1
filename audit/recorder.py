"""Between the hooks and the database: a spool on disk, and the one thread that writes it.

``record`` never waits for the database and never fails. When the spool or the disk is full
facts are dropped and counted by kind, and decisions go on.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import Error, close_old_connections, connection

from audit.codec import encode
from audit.dead_letters import DeadLetters
from audit.fact import Fact
from audit.positions import Moved
from audit.spool import NotStored, Position, Spool, Sync, adopt, remove, segments, spools
from audit.spool_reader import Move, SpoolReader
from audit.writer import AWAY, Database

logger = logging.getLogger(__name__)

BATCH_FACTS = 5000
"""When facts have piled up and none is coming in: usually a batch is what came in ``BATCH_SECONDS``."""
BATCH_BYTES = 2 * 1024 * 1024
BATCH_SECONDS = 0.1
TIDY_SECONDS = 24 * 3600.0
TEND_SECONDS = 1.0
ORPHAN_SECONDS = 5.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
RETRY_SECONDS_CLOSING = 0.2

# So few that waiting for more is worth it, and that whoever waits for this process waits briefly.
LITTLE = 1000
# How much of a processor the writer takes while facts come in: hooks are answered first, and the
# spool waits. Not when it has come to this part of its limit: then room is worth more.
SHARE = 0.2
PATIENT_UNTIL = 0.25


class Store(Protocol):
    """What a recorder writes to: the database, as ``audit.writer.Database`` is."""

    def position(self, spool: str) -> Position | None:
        """How far this spool's facts are stored."""

    def write(self, facts: Sequence[Fact], move: Move | None) -> int:
        """Stores facts and move together or not at all; answers how many facts were new. Raises Moved."""

    def forget(self, spool: str) -> None:
        """A spool that is no longer on disk."""

    def tidy(self, spools: Sequence[str]) -> None:
        """To be called daily with the spools that are alive."""


class DatabaseAway(Exception):
    """What is not written yet must wait."""


@dataclass(frozen=True)
class Orphan:
    """A spool whose process is gone, held by this one."""

    directory: Path
    lock: int
    reader: SpoolReader


class Recorder:
    """Takes facts from any thread; writes them in batches on a thread of its own.

    Spools that other processes left behind under the same root are written too.
    """

    def __init__(
        self, root: Path, limit_bytes: int, sync: Sync = Sync.INTERVAL, store: Store | None = None
    ) -> None:
        self._root = root
        self._spool = Spool(root, limit_bytes, sync)
        self.dead_letters = DeadLetters(root)
        self._reader = SpoolReader(
            self._spool.directory, self._spool.settled, self._spool.delete, self._set_aside
        )
        self._limit_bytes = limit_bytes
        self._busy = False
        self._orphan: Orphan | None = None
        self._no_orphans_until = 0.0
        # Not to be looked at again: names are never given twice.
        self._done_with: set[Path] = set()
        self._orphans_unreadable = 0
        self._store = Database() if store is None else store
        self._tidy_at = 0.0
        self._closing = threading.Event()
        self._close_at = float("inf")
        self._writer = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        # Apart from the writer, which may wait for the database for long.
        self._tender = threading.Thread(target=self._tend, name="audit-spool", daemon=True)
        self._dropping = threading.Lock()
        self.dropped: Counter[str] = Counter()
        self.taken = 0
        self.written = 0
        self.set_aside = 0
        """Facts that became dead letters, and records that were no facts."""
        self.adopted = 0
        """Facts read from the spools of processes that are gone."""
        self.failures = 0

    @classmethod
    def from_settings(cls) -> "Recorder":
        return cls(
            Path(settings.EXHOOK_SPOOL_DIR),
            settings.EXHOOK_SPOOL_MEGABYTES * 1024 * 1024,
            Sync(settings.EXHOOK_SPOOL_SYNC),
        )

    def start(self) -> None:
        """Starts the writer."""
        self._tender.start()
        self._writer.start()

    def record(self, fact: Fact) -> None:
        """Puts a fact into the spool: after this, killing the process does not lose it."""
        try:
            self._spool.append(encode(fact))
        except NotStored as reason:
            # A Counter's first increment of a kind is no single step.
            with self._dropping:
                first = not self.dropped
                self.dropped[fact.kind] += 1
            if first:
                logger.error("facts are dropped", extra={"reason": str(reason)})
        else:
            self.taken += 1

    @property
    def waiting(self) -> int:
        """Facts of this process that are in its spool and not yet in the database."""
        return max(0, self.taken - self._reader.released)

    @property
    def spool_bytes(self) -> int:
        """What this process's spool takes on disk."""
        return self._spool.size

    @property
    def unreadable(self) -> int:
        """Pieces of spools that were torn or were no facts, and are skipped."""
        orphan = self._orphan
        return (
            self._reader.unreadable + self._orphans_unreadable + (orphan.reader.unreadable if orphan else 0)
        )

    def close(self, seconds: float = 10.0) -> int:
        """Writes what is waiting, for at most so long; the rest stays on disk for the next process.

        Answers how many facts that are. To be called when nothing is recorded any more.
        """
        self._close_at = time.monotonic() + seconds
        self._closing.set()
        for thread in (self._writer, self._tender):
            if thread.is_alive():
                thread.join(max(0.0, self._close_at - time.monotonic()) + 5)
        left = self.waiting
        # A writer that hangs in the database goes on holding its spool, until the process ends.
        if not self._writer.is_alive():
            self._release_orphan()
            self._spool.close(empty=left == 0)
        return left

    def _tend(self) -> None:
        while not self._closing.wait(TEND_SECONDS):
            self._spool.tend()

    def _run(self) -> None:
        failures_in_a_row = 0
        while time.monotonic() <= self._close_at:
            moved = 0
            taken, spent = self.taken, time.thread_time()
            try:
                moved = self._move(self._reader)
                if self._closing.is_set():
                    if not moved:
                        break
                else:
                    moved += self._move_orphan()
                    self._tidy()
                failures_in_a_row = 0
            except DatabaseAway:
                failures_in_a_row += 1
            except Exception:
                failures_in_a_row += 1
                logger.exception("the audit spool cannot be moved on, it will be tried again")
            if failures_in_a_row:
                self._nap(RETRY_SECONDS[min(failures_in_a_row, len(RETRY_SECONDS)) - 1])
            else:
                self._busy = self.taken > taken and self._spool.size < self._limit_bytes * PATIENT_UNTIL
                pause = (time.thread_time() - spent) * (1 / SHARE - 1) if self._busy else 0.0
                if moved < LITTLE:
                    pause = max(pause, BATCH_SECONDS)
                self._nap(pause)
        self._end_spool()
        connection.close()

    def _end_spool(self) -> None:
        """Here, because it takes the writer's connection to forget a spool once it is gone."""
        self._tender.join()
        if self._closing.is_set() and not self.waiting:
            self._spool.close(empty=True)
            self._forget(self._reader.spool)

    def _forget(self, spool: str) -> None:
        try:
            self._store.forget(spool)
        except Error:
            logger.info("the position of a spool that is gone is forgotten later", extra={"spool": spool})

    def _tidy(self) -> None:
        now = time.monotonic()
        if now >= self._tidy_at:
            orphan = self._orphan
            try:
                self._store.tidy([self._reader.spool, *([orphan.reader.spool] if orphan else [])])
            except AWAY as error:
                raise DatabaseAway from error
            self._tidy_at = now + TIDY_SECONDS

    def _nap(self, seconds: float) -> None:
        if seconds <= 0:
            return
        if self._closing.is_set():
            time.sleep(min(seconds, RETRY_SECONDS_CLOSING))
        else:
            self._closing.wait(seconds)

    def _move(self, reader: SpoolReader) -> int:
        """Moves one batch from a spool to the database; answers how many facts. Raises DatabaseAway."""
        before = reader.released
        if reader.doubtful:
            self.written += reader.resume(self._position(reader.spool))
        count = len(reader.take(LITTLE if self._busy else BATCH_FACTS, BATCH_BYTES))
        if (count or reader.unstored) and not self._deal_with(reader, count):
            raise DatabaseAway
        return reader.released - before

    def _position(self, spool: str) -> Position | None:
        close_old_connections()
        try:
            return self._store.position(spool)
        except AWAY as error:
            self._failed(error)
            raise DatabaseAway from error

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        logger.error("audit batch not written, it will be tried again", extra={"error": type(error).__name__})

    def _deal_with(self, reader: SpoolReader, count: int) -> bool:
        """Writes the first so many of the facts that were taken, or sets aside those that cannot be written.

        False when the rest has to wait.
        """
        batch = reader.taken(count)
        close_old_connections()
        try:
            self.written += self._store.write(batch, reader.move(count))
        except (*AWAY, Moved) as error:
            # Perhaps it was stored, and only the answer was lost.
            reader.doubtful = True
            self._failed(error)
            return False
        except Exception as error:
            if count == 0:
                raise
            if count > 1:
                middle = count // 2
                return self._deal_with(reader, middle) and self._deal_with(reader, count - middle)
            self.failures += 1
            logger.exception("fact cannot be written and is set aside", extra={"event": str(batch[0].id)})
            if not self._set_aside(encode(batch[0]), type(error).__name__):
                with self._dropping:
                    self.dropped[batch[0].kind] += 1
            reader.release(count, stored=False)
        else:
            reader.release(count)
        return True

    def _move_orphan(self) -> int:
        """Moves one batch only, so that this process's own facts do not wait for all of a spool."""
        while orphan := self._orphan or self._next_orphan():
            self._orphan = orphan
            try:
                moved = self._move(orphan.reader)
            except OSError:
                logger.exception("a spool that was left behind cannot be read and is left alone")
                self._done_with.add(orphan.directory)
                self._release_orphan()
                continue
            if moved:
                self.adopted += moved
                return moved
            remove(orphan.directory)
            self._forget(orphan.reader.spool)
            self._done_with.add(orphan.directory)
            self._release_orphan()
            logger.info(
                "the spool of a process that is gone was written", extra={"facts": orphan.reader.released}
            )
        return 0

    def _next_orphan(self) -> Orphan | None:
        now = time.monotonic()
        if now < self._no_orphans_until:
            return None
        for directory in spools(self._root):
            if directory in self._done_with or (lock := adopt(directory)) is None:
                continue
            reader = SpoolReader(directory, lambda _: True, Path.unlink, self._set_aside)
            # Its process may have stored more than anybody here knows.
            reader.doubtful = True
            return Orphan(directory, lock, reader)
        self._no_orphans_until = now + ORPHAN_SECONDS
        return None

    def _release_orphan(self) -> None:
        if self._orphan is not None:
            self._orphans_unreadable += self._orphan.reader.unreadable
            # Its process may have ended properly, and the lock file be of our own making.
            if not segments(self._orphan.directory):
                remove(self._orphan.directory)
            os.close(self._orphan.lock)
            self._orphan = None

    def _set_aside(self, record: bytes, error: str) -> bool:
        """Also what is no fact: a later version may be able to read it. False when it cannot be kept."""
        try:
            gone = self.dead_letters.add(record, error)
        except OSError:
            logger.exception("what cannot be written cannot be set aside either, and is dropped")
            return False
        self.set_aside += 1
        with self._dropping:
            self.dropped.update(gone)
        return True
