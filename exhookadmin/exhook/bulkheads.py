"""Bulkheads: a small pool of threads for each kind of slow work, with deadlines.

A storm of password checks fills its own pool only, and never delays an authorization.
Work whose deadline has passed, or would pass before it could be finished, is not started:
an answer that nobody waits for any more takes the time of one that somebody does.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

# How quickly the estimate of what one piece of work costs follows what it did cost.
SMOOTHING = 0.2


@dataclass(slots=True, eq=False)
class _Work:
    run: Callable[[], None]
    shed: Callable[[], None]
    deadline: float


class Bulkhead:
    """``threads`` threads, and at most ``waiting`` pieces of work that wait for one.

    While everything can be served in time the oldest goes first. Under overload (more
    waits than ``crowd``) the newest does, because the oldest is about to be given up by
    its caller; what then does not fit is the oldest. ``nice`` lowers the threads' priority
    where the system allows that for a thread.
    """

    def __init__(self, name: str, threads: int, waiting: int, crowd: int, nice: int = 0) -> None:
        self.name = name
        self.shed = 0
        self._waiting: deque[_Work] = deque()
        self._limit = waiting
        self._crowd = crowd
        self._nice = nice
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
        """Pieces of work that wait for a thread."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """True when new work would be begun at once."""
        return self._running + len(self._waiting) < len(self._threads)

    def submit(self, run: Callable[[], None], shed: Callable[[], None], deadline: float) -> None:
        """Queues ``run``; calls ``shed`` instead when too much waits or the deadline, in
        ``time.monotonic`` seconds, cannot be met. One of the two is called, once."""
        dropped: _Work | None = None
        with self._changed:
            self._waiting.append(_Work(run, shed, deadline))
            if len(self._waiting) > self._limit:
                dropped = self._waiting.popleft()
            self._changed.notify()
        if dropped is not None:
            self._drop(dropped)

    def close(self, seconds: float = 5.0) -> None:
        """Finishes what has begun, drops what waits."""
        with self._changed:
            self._closing = True
            dropped = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for work in dropped:
            self._drop(work)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        while True:
            work = self._next()
            if work is None:
                return
            started = time.monotonic()
            if started + self._cost > work.deadline:
                self._drop(work)
                # Otherwise one estimate that was too high would refuse everything for ever.
                self._cost *= 1 - SMOOTHING
                self._done()
                continue
            self._call(work.run)
            self._cost += SMOOTHING * (time.monotonic() - started - self._cost)
            self._done()

    def _next(self) -> _Work | None:
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            self._running += 1
            return self._waiting.pop() if len(self._waiting) > self._crowd else self._waiting.popleft()

    def _done(self) -> None:
        with self._changed:
            self._running -= 1

    def _drop(self, work: _Work) -> None:
        self.shed += 1
        self._call(work.shed)

    def _call(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:
            # The work answers for its own errors; what comes here must not end the thread.
            logger.exception("work in a bulkhead failed", extra={"bulkhead": self.name})
