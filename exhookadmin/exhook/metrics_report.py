"""A worker's report, once a second: its condition, and what it has counted."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts.core.decision import Reason
from acl.rulesets import PolicyBook
from audit.recorder import Recorder
from exhookadmin.exhook.feed import Feed, FeedState
from exhookadmin.exhook.front import Front
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.logins import Need
from exhookadmin.exhook.metrics import Samples, Value
from exhookadmin.exhook.metrics_tally import CallTally, Durations
from exhookadmin.exhook.status import Condition, judged
from exhookadmin.exhook.tls import ServerTls, expiry_warning
from exhookadmin.exhook.versions import Method

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
STANDARD_OUTPUT = 1

DECISIONS = (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE)
ABOUT_A_DEVICE = (*DECISIONS, Hook.CLIENT_CONNECTED, Hook.CLIENT_DISCONNECTED)
# With these the endpoint says that it could not decide.
BROKE = {Reason.INTERNAL_ERROR, Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED}
NEEDS = {Need.DEVICE: "device", Need.HASH: "hash", Need.DUMMY_HASH: "dummy_hash"}


@dataclass(frozen=True)
class Sources:
    """What a worker is made of and can be asked about."""

    front: Front
    recorder: Recorder
    feed: Feed
    tls: ServerTls | None = None


class Reporter:
    """Writes a line of JSON to standard output every second, and tells the transport whether it may serve.

    A thread of its own does so: a supervisor that does not read must not hold up the calls.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._ok: dict[Method, int] = {}
        self._book: PolicyBook | None = None
        self._book_read_at = 0.0
        self._asked_at: float | None = None
        self._lag = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, mirror: Callable[[bool], Awaitable[None]]) -> None:
        """From within the event loop; ``mirror`` is called on it with what health checks are to hear."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._run, args=(loop, mirror), name="metrics-report", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Before the event loop ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * EVERY_SECONDS)

    def write(self) -> None:
        """Writes one report. Raises OSError when nobody reads any more."""
        line = json.dumps({"condition": asdict(self.condition()), "samples": self.samples()}) + "\n"
        data = line.encode()
        while data:
            # Not print(): what it could not write it would try to write again when Python ends.
            data = data[os.write(STANDARD_OUTPUT, data) :]

    def write_last(self) -> None:
        """The report of all that was; given up when nobody reads it."""

        def write() -> None:
            with contextlib.suppress(OSError):  # The supervisor may be what died.
                self.write()

        thread = threading.Thread(target=write, name="last-report", daemon=True)
        thread.start()
        thread.join(EVERY_SECONDS)

    def condition(self) -> Condition:
        """How this worker judges itself."""
        directory, tls = self._sources.front.provider.directory, self._sources.tls
        warning = ""
        if tls is not None:
            warning = expiry_warning(tls.current.expires_at, tls.current.expiring, datetime.now(UTC))
        return judged(
            policies_loaded=directory.book is not None,
            policies_too_old=not directory.policies_usable,
            database_up=self._database_up(),
            broken_policies=len(directory.book.broken),
            loop_lag=self._loop_lag(),
            certificates=warning,
        )

    def samples(self) -> Samples:
        """What this worker has counted since it started, and what is the case now."""
        front, recorder, tls = self._sources.front, self._sources.recorder, self._sources.tls
        provider, tally = front.provider, front.tally
        directory, logins = provider.directory, provider.logins
        hits = sum(
            tally.quick[method].count + tally.repeated[method]
            for method in tally.methods
            if method.hook in ABOUT_A_DEVICE
        )
        samples: Samples = {
            "exhook_calls_total": self._calls(),
            "exhook_call_duration_seconds": _durations(tally),
            "exhook_refused_calls_total": _labelled(tally.refused),
            "exhook_needs_total": [([NEEDS[need]], count) for need, count in tally.needs.items()],
            "exhook_bulkhead_waiting": [
                ([pool.name], pool.waiting) for pool in (front.hashing, front.loading)
            ],
            "exhook_bulkhead_shed_total": [
                ([pool.name], pool.shed) for pool in (front.hashing, front.loading)
            ],
            "exhook_device_lookups_total": [(["hit"], hits), (["miss"], tally.needs[Need.DEVICE])],
            "exhook_devices_held": [([], directory.held)],
            "exhook_login_memory_hits_total": [
                (["verified"], logins.verified_hits),
                (["failed"], logins.failed_hits),
            ],
            "exhook_throttled_keys": [
                (["identity"], len(logins.by_identity)),
                (["address"], len(logins.by_address)),
            ],
            "exhook_database_up": [([], int(self._database_up()))],
            "exhook_policies": [([], len(directory.book.compiled))],
            "exhook_policies_broken": [([], len(directory.book.broken))],
            "exhook_policies_read_timestamp_seconds": [([], self._policies_read_at())],
            "exhook_facts_recorded_total": _labelled(tally.recorded),
            "exhook_facts_written_total": [([], recorder.written)],
            "exhook_facts_waiting": [([], recorder.waiting)],
            "exhook_facts_dropped_total": [([kind], recorder.dropped[kind]) for kind in tally.recorded],
            "exhook_facts_set_aside_total": [([], recorder.set_aside)],
            "exhook_dead_letters": [([], recorder.dead_letters.number)],
            "exhook_dead_letters_bytes": [([], recorder.dead_letters.size)],
            "exhook_facts_adopted_total": [([], recorder.adopted)],
            "exhook_spool_bytes": [([], recorder.spool_bytes)],
            "exhook_spool_unreadable_total": [([], recorder.unreadable)],
            "exhook_event_loop_lag_seconds": [([], self._loop_lag())],
            "exhook_worker_cpu_seconds_total": [([], time.process_time())],
            "exhook_worker_resident_memory_bytes": [([], _resident_bytes())],
        }
        samples |= self._feed_samples()
        if tls is not None:
            samples["exhook_tls_certificate_expiry_timestamp_seconds"] = [
                ([], tls.current.expires_at.timestamp())
            ]
            samples["exhook_tls_reloads_total"] = [(["ok"], tls.reloads), (["failed"], tls.failed_reloads)]
        return samples

    def _run(self, loop: asyncio.AbstractEventLoop, mirror: Callable[[bool], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            try:
                self._ask(loop)
                asyncio.run_coroutine_threadsafe(_call(mirror, self.condition().ready), loop)
                self.write()
            except OSError:
                return  # The supervisor is gone, and so will this process be.
            except Exception:
                logger.exception("the report of this worker failed")
            self._stop.wait(EVERY_SECONDS)

    def _calls(self) -> list[tuple[list[str], Value]]:
        tally = self._sources.front.tally
        counts: list[tuple[list[str], Value]] = []
        for method in tally.methods:
            hook, protocol = str(method.hook), method.version.name
            if method.hook in DECISIONS:
                for reason, count in tally.allowed[method.request].items():
                    counts.append(([hook, protocol, "allow", str(reason)], count))
                for reason, count in tally.denied[method.request].items():
                    counts.append(([hook, protocol, _refusal(reason), str(reason)], count))
                counts.append(([hook, protocol, "allow", "repeated"], tally.repeated[method]))
                continue
            broke = tally.failed[method]
            for reason, count in broke.items():
                counts.append(([hook, protocol, "error", str(reason)], count))
            answered = tally.quick[method].count + tally.full[method].count - sum(broke.values())
            # A failure is counted a moment before its answer: the difference must not go back.
            self._ok[method] = max(self._ok.get(method, 0), answered)
            outcome = "ignore" if method.hook is Hook.MESSAGE_PUBLISH else "ok"
            counts.append(([hook, protocol, outcome, ""], self._ok[method]))
        return [(labels, count) for labels, count in counts if count]

    def _database_up(self) -> bool:
        return not self._sources.front.provider.directory.database_away

    def _feed_samples(self) -> Samples:
        feed = self._sources.feed
        samples: Samples = {
            "exhook_feed_up": [([], int(feed.state is not FeedState.LOST))],
            "exhook_feed_lag_seconds": [([], feed.lag_seconds)],
            "exhook_feed_changes_total": [([], feed.applied)],
        }
        if feed.applied_at is not None:
            samples["exhook_feed_last_change_timestamp_seconds"] = [([], feed.applied_at)]
        return samples

    def _policies_read_at(self) -> float:
        """By the wall clock, to within the time between two reports."""
        book = self._sources.front.provider.directory.book
        if book is not self._book:
            self._book, self._book_read_at = book, time.time()
        return self._book_read_at

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            loop.call_soon_threadsafe(self._answered)

    def _answered(self) -> None:
        if self._asked_at is not None:
            self._lag = time.monotonic() - self._asked_at
        self._asked_at = None

    def _loop_lag(self) -> float:
        asked_at = self._asked_at
        return self._lag if asked_at is None else max(self._lag, time.monotonic() - asked_at)


async def _call(mirror: Callable[[bool], Awaitable[None]], ready: bool) -> None:
    await mirror(ready)


def _refusal(reason: Reason) -> str:
    if reason in BROKE:
        return "error"
    return "ignore" if reason is Reason.UNKNOWN_DEVICE and settings.EXHOOK_CHAIN_UNKNOWN else "deny"


def _durations(tally: CallTally) -> list[tuple[list[str], Value]]:
    """By hook and path. Answers to repeated questions are counted as fast as can be: the clock
    would take as long as they do."""
    series: dict[tuple[str, str], list[float]] = {}

    def add(method: Method, path: str, durations: Durations, repeated: int = 0) -> None:
        if not repeated and not durations.count:
            return
        value = [durations.buckets[0] + repeated, *durations.buckets[1:], durations.seconds]
        total = series.get((str(method.hook), path))
        series[str(method.hook), path] = (
            [sum(pair) for pair in zip(total, value, strict=True)] if total else value
        )

    for method in tally.methods:
        add(method, "quick", tally.quick[method], tally.repeated[method])
        add(method, "full", tally.full[method])
    return [([hook, path], value) for (hook, path), value in series.items()]


def _labelled(counts: Any) -> list[tuple[list[str], Value]]:
    return [([str(label)], count) for label, count in counts.items()]


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Elsewhere only the largest size so far is known: in kilobytes, on a Mac in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
