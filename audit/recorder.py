"""Between the hooks and the database: a bounded queue and the one thread that writes it.

``record`` never blocks and never fails: when the queue is full, because the database is
away or too slow, facts are dropped and counted by kind, and decisions go on.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from audit.fact import Fact
from audit.writer import write_facts

logger = logging.getLogger(__name__)

BATCH_FACTS = 1000
BATCH_SECONDS = 0.5
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)


class Recorder:
    """Takes facts from any thread; writes them in batches on a thread of its own."""

    def __init__(self, limit: int, write: Callable[[Sequence[Fact]], int] = write_facts) -> None:
        self._waiting: deque[Fact] = deque()
        self._limit = limit
        self._write = write
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self.dropped: Counter[str] = Counter()
        self.written = 0
        self.failures = 0

    def start(self) -> None:
        """Starts the writer."""
        self._thread.start()

    def record(self, fact: Fact) -> None:
        """Takes a fact. Costs an append: the hook's reply waits for nothing else."""
        if len(self._waiting) >= self._limit:
            self.dropped[fact.kind] += 1
        else:
            self._waiting.append(fact)

    @property
    def waiting(self) -> int:
        """Facts taken and not yet in the database."""
        return len(self._waiting)

    def close(self, seconds: float = 10.0) -> int:
        """Writes what is waiting, for at most so long. Answers how many facts were left behind."""
        self._closing = True
        if self._thread.is_alive():
            self._thread.join(seconds)
        return len(self._waiting)

    def _run(self) -> None:
        failures_in_a_row = 0
        while self._waiting or not self._closing:
            batch = self._next_batch()
            if not batch:
                time.sleep(BATCH_SECONDS / 5)
                continue
            stored = self._store(batch)
            for _ in range(stored):
                self._waiting.popleft()
            if stored == len(batch):
                failures_in_a_row = 0
            else:
                delay = RETRY_SECONDS[min(failures_in_a_row, len(RETRY_SECONDS) - 1)]
                failures_in_a_row += 1
                self._nap(delay)
        connection.close()

    def _next_batch(self) -> list[Fact]:
        # Facts stay in the queue until they are stored: a failed batch is simply taken again.
        return [self._waiting[index] for index in range(min(len(self._waiting), BATCH_FACTS))]

    def _store(self, batch: list[Fact]) -> int:
        """How many facts, from the first, are dealt with; the database is away and they must wait
        when those are not all."""
        close_old_connections()
        try:
            self.written += self._write(batch)
        except (OperationalError, InterfaceError):
            self.failures += 1
            logger.exception("audit batch not written, it will be tried again", extra={"facts": len(batch)})
            return 0
        except Exception:
            if len(batch) > 1:
                middle = len(batch) // 2
                stored = self._store(batch[:middle])
                return stored + (self._store(batch[middle:]) if stored == middle else 0)
            self.failures += 1
            self.dropped[batch[0].kind] += 1
            logger.exception("fact cannot be written and is dropped", extra={"event": str(batch[0].id)})
        return len(batch)

    def _nap(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closing and time.monotonic() < until:
            time.sleep(0.1)
        if self._closing:
            time.sleep(0.1)
