"""Throttling of failed logins: token buckets, exact and of bounded memory.

State is kept by each process; with N workers a stranger has at most N times the burst.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures at once, and then one more every ``seconds_each``. A burst of 0 is no limit."""

    burst: int
    seconds_each: float


class Throttle:
    """Counts failures by key. Only keys with failures that are not yet forgiven are held.

    When more keys fail than ``capacity``, the one that failed longest ago is forgotten.
    Times are seconds of any clock that does not go backwards.
    """

    def __init__(self, limit: Limit, capacity: int) -> None:
        self._limit = limit
        self._capacity = capacity
        # Key → (failures that count at that time, that time); the least recent first.
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._failures)

    def blocks(self, key: Hashable, now: float) -> bool:
        """True when this key has failed too often to be heard now."""
        if self._limit.burst == 0:
            return False
        entry = self._failures.get(key)
        return entry is not None and self._counting(entry, now) > self._limit.burst - 1

    def failed(self, key: Hashable, now: float) -> None:
        """Counts one failure. One that comes while the key is blocked need not be reported."""
        if self._limit.burst == 0:
            return
        with self._lock:
            entry = self._failures.pop(key, None)
            counting = self._counting(entry, now) if entry else 0.0
            self._failures[key] = (min(counting + 1, float(self._limit.burst)), now)
            self._forgive(now)

    def succeeded(self, key: Hashable) -> None:
        """Forgives the key everything."""
        if key in self._failures:
            with self._lock:
                self._failures.pop(key, None)

    def _counting(self, entry: tuple[float, float], now: float) -> float:
        failures, at = entry
        return max(0.0, failures - max(0.0, now - at) / self._limit.seconds_each)

    def _forgive(self, now: float) -> None:
        """Drops the oldest keys while they are forgiven or too many: amortised O(1)."""
        for _ in range(2):
            key, entry = next(iter(self._failures.items()))
            if len(self._failures) > self._capacity or self._counting(entry, now) == 0.0:
                del self._failures[key]
            if not self._failures:
                return
