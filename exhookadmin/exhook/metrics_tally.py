"""What a worker counts while it answers: plain integers, no locks, no labels to look up.

Several threads count. An increment like ``counts[key] += 1`` on a plain dictionary or list
is not interrupted in CPython (the interpreter changes threads at calls, function entries
and backward jumps only), which a test holds it to.
"""

from bisect import bisect_left

from accounts.core.decision import Decision, Reason
from audit.fact import Kind
from exhookadmin.exhook.logins import Need
from exhookadmin.exhook.metrics import DURATION_BUCKETS
from exhookadmin.exhook.versions import VERSIONS, Method

REFUSALS = ("malformed", "too_large", "unknown_method", "client_name")

_FIRST = DURATION_BUCKETS[0]


class Durations:
    """How long something took, as counts in buckets and a sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        if seconds <= _FIRST:
            self.buckets[0] += 1
        else:
            # A bucket holds what is less than *or equal to* its bound, as Prometheus has it.
            index = bisect_left(DURATION_BUCKETS, seconds)
            self.buckets[index] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)


class CallTally:
    """The calls of this process since it started.

    Decisions are counted by the class of their request, which stands for hook and version;
    everything else by method.
    """

    def __init__(self) -> None:
        self.methods: tuple[Method, ...] = tuple(
            method for version in VERSIONS for method in version.methods.values()
        )
        self.quick = {method: Durations() for method in self.methods}
        self.full = {method: Durations() for method in self.methods}
        self.repeated = dict.fromkeys(self.methods, 0)
        """Answers that memory gave to the same question again: microseconds each, not timed."""
        self.allowed = {method.request: dict.fromkeys(Reason, 0) for method in self.methods}
        self.denied = {method.request: dict.fromkeys(Reason, 0) for method in self.methods}
        self.failed = {method: dict.fromkeys(Reason, 0) for method in self.methods}
        """Answers to hooks that ask for no decision, where something broke."""
        self.recorded = dict.fromkeys(Kind, 0)
        """Audit facts, whether or not they could be kept."""
        self.needs = dict.fromkeys(Need, 0)
        self.refused = dict.fromkeys(REFUSALS, 0)

    def decided(self, message: object, decision: Decision) -> None:
        """Counts a decision about this request."""
        reasons = (self.allowed if decision.allow else self.denied)[type(message)]
        reasons[decision.reason] += 1
