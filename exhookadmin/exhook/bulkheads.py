"""Bulkheads: a small pool of threads for each kind of slow work, with deadlines.

A storm of password checks fills its own pool only, and never delays an authorization.
Work whose deadline has passed, or would pass before it could be finished, is not started:
an answer that nobody waits for any more takes the time of one that somebody does.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

# How quickly the estimate of what one run costs follows what it did cost.
SMOOTHING = 0.2


class Bulkhead(Generic[Item]):
    """``threads`` threads that call ``run`` with waiting items, up to ``batch`` of them at once.

    While everything can be served in time the oldest goes first. Under overload (more
    than ``crowd`` wait) the newest does, because the oldest is about to be given up by its
    caller. An item that cannot be served in time, or is the oldest of more than
    ``waiting``, goes to ``shed`` instead. ``nice`` lowers the threads' priority, where the
    system allows that for a thread. Both callables answer for their own errors.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[Item]], None],
        shed: Callable[[Item], None],
        *,
        threads: int,
        waiting: int,
        crowd: int,
        batch: int = 1,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.shed = 0
        self._run_items = run
        self._shed_item = shed
        self._limit = waiting
        self._crowd = crowd
        self._batch = batch
        self._nice = nice
        self._waiting: deque[tuple[Item, float]] = deque()
        self._running = 0
        self._cost = 0.0
        self._closing = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Items that wait for a thread."""
        return len(self._waiting)

    @property
    def backlog_seconds(self) -> float:
        """How long the threads will need for what waits, as far as the past tells."""
        return len(self._waiting) / self._batch * self._cost / len(self._threads)

    @property
    def idle(self) -> bool:
        """True when a new item would be begun at once."""
        return self._running + len(self._waiting) < len(self._threads)

    def submit(self, item: Item, deadline: float) -> None:
        """Queues the item; ``deadline`` is in ``time.monotonic`` seconds. It is run or shed, once."""
        dropped: list[Item] = []
        with self._changed:
            if self._closing:
                dropped = [item]  # No thread may be left to take it.
            else:
                self._waiting.append((item, deadline))
                self._changed.notify()
                if len(self._waiting) > self._limit:
                    dropped = [self._waiting.popleft()[0]]
        for one in dropped:
            self._drop(one)

    def close(self, seconds: float = 5.0) -> None:
        """Finishes what has begun, drops what waits."""
        with self._changed:
            self._closing = True
            dropped = [item for item, _ in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        for item in dropped:
            self._drop(item)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        self._give_way()
        while taken := self._take():
            started = time.monotonic()
            in_time = [item for item, deadline in taken if started + self._cost <= deadline]
            for item, deadline in taken:
                if started + self._cost > deadline:
                    self._drop(item)
            if in_time:
                self._call(lambda items=in_time: self._run_items(items))  # type: ignore[misc]
                self._cost += SMOOTHING * (time.monotonic() - started - self._cost)
            elif any(started <= deadline for _, deadline in taken):
                # Otherwise one estimate that was too high would refuse everything for ever. What was
                # late already says nothing about the estimate.
                self._cost *= 1 - SMOOTHING
            with self._changed:
                self._running -= 1

    def _give_way(self) -> None:
        if self._nice and sys.platform == "linux":  # Elsewhere a priority is a whole process's.
            thread = threading.get_native_id()
            # Whoever is started with a lower priority still may not raise it.
            with suppress(OSError):
                now = os.getpriority(os.PRIO_PROCESS, thread)
                os.setpriority(os.PRIO_PROCESS, thread, max(now, self._nice))

    def _take(self) -> list[tuple[Item, float]]:
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return []
                self._changed.wait()
            self._running += 1
            take = self._waiting.pop if len(self._waiting) > self._crowd else self._waiting.popleft
            return [take() for _ in range(min(self._batch, len(self._waiting)))]

    def _drop(self, item: Item) -> None:
        self.shed += 1
        self._call(lambda: self._shed_item(item))

    def _call(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            # What comes here must not end the thread.
            logger.exception("work in a bulkhead failed", extra={"bulkhead": self.name})
