"""Bulkheads: a small bounded pool of threads per kind of slow work.

A storm of password checks then fills its own pool only, and never delays an authorization.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")


class Full(Exception):
    """As much work waits as can be done in useful time."""


class Bulkhead:
    """A pool of threads with a bounded queue. ``nice`` lowers their priority where Linux allows."""

    def __init__(self, name: str, threads: int, waiting: int, nice: int = 0) -> None:
        self.name = name
        self._limit = threads + waiting
        self._underway = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=partial(_be_nice, nice) if nice else None
        )

    @property
    def underway(self) -> int:
        """Work started or waiting."""
        return self._underway

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Starts the work when a thread is free. Raises Full when too much waits already."""
        with self._lock:
            if self._underway >= self._limit:
                raise Full(self.name)
            self._underway += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Finishes what has begun, drops what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, _: object) -> None:
        with self._lock:
            self._underway -= 1


def _be_nice(nice: int) -> None:
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
