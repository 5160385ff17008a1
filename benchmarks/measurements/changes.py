"""From a commit to its effect in every worker."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import grpc

from benchmarks import databases, processes
from benchmarks.bench import Bench
from benchmarks.checks import ALLOW, DENY, require
from benchmarks.database_writer import RULE, Writer
from benchmarks.databases import Database
from benchmarks.devices import AUTHORIZE, MANY, PUMPS, RULES, authorize, fleet_topic
from benchmarks.figures import Figure, Target, at_most
from benchmarks.processes import Child

WORKERS = 2
LOST_SECONDS = 30.0
POLL_SECONDS = 0.0005
# Of random length, or every change would meet a poller at the same point of its round.
PAUSE_SECONDS = 0.3


def measure(bench: Bench) -> list[Figure]:
    """On both databases. Workers and writer share both cores: nobody is kept from hearing of it."""
    sqlite, postgresql = bench.small, bench.fleet_on_postgresql
    figures = []
    for name, database in (("SQLite", sqlite), ("PostgreSQL", postgresql)):
        seconds = _on(bench, database)
        both = [*seconds.of_device, *seconds.of_rule]
        median = at_most(50) if name == "PostgreSQL" else None
        text = f"commit → effective in all workers, {name}"
        figures += [
            _figure(f"{text}: 99th percentile", at_most(1000), both, _p99),
            _figure(f"{text}: median", median, both, statistics.median),
        ]
    databases.fill_further(postgresql, {MANY.name: 1})
    seconds = _on(bench, postgresql)
    text = f"the same, PostgreSQL, with {RULES[MANY]:,} other rules: median for"
    return [
        *figures,
        _figure(f"{text} a device", None, seconds.of_device, statistics.median),
        _figure(f"{text} a rule", None, seconds.of_rule, statistics.median),
    ]


@dataclass(frozen=True)
class _Seconds:
    """From each commit to its effect."""

    of_device: Sequence[float]
    of_rule: Sequence[float]


def _figure(
    text: str,
    target: Target | None,
    seconds: Sequence[float],
    choose: Callable[[Sequence[float]], float],
) -> Figure:
    milliseconds = [1000 * each for each in seconds]
    return Figure(
        text,
        target,
        choose(milliseconds),
        unit="ms",
        detail={"changes": len(seconds), "worst": round(max(milliseconds), 2)},
    )


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


@dataclass(frozen=True)
class _Worker:
    """A worker that can be asked by itself: under a supervisor one could not choose whom one asks."""

    call: "grpc.UnaryUnaryMultiCallable[bytes, bytes]"

    def wait_for(self, question: bytes, reply: bytes, until: float) -> float:
        """The time at which the answer has become this one."""
        while time.monotonic() < until:
            # As often as it takes, but leaving the worker time to hear of the change.
            time.sleep(POLL_SECONDS)
            if self.call(question, timeout=LOST_SECONDS) == reply:
                return time.monotonic()
        raise RuntimeError(f"a change did not take effect within {LOST_SECONDS:g} s")


def _on(bench: Bench, database: Database) -> _Seconds:
    device = PUMPS.device(0)
    question, asked_rule = authorize(device, fleet_topic(device, 0)), authorize(device, RULE)
    with bench.servers() as servers, processes.pinned_to(bench.both_cores):
        endpoints = [servers.endpoint(database, "grpcio", bench.both_cores) for _ in range(WORKERS)]
        for endpoint in endpoints:
            require(endpoint.port, AUTHORIZE, question, allow=True)
            require(endpoint.port, AUTHORIZE, asked_rule, allow=False)
        channels = [_channel(endpoint) for endpoint in endpoints]
        workers = [_Worker(channel.unary_unary(AUTHORIZE)) for channel in channels]
        with Writer(database, bench.directory) as writer:
            of_device, of_rule = [], []
            for _ in range(bench.plan.changes // 4):
                # Of the device itself, and of the policy that it shares with all the others.
                for on in (False, True):
                    of_device.append(_time(workers, question, on, partial(writer.set_enabled, device, on)))
                for on in (True, False):
                    of_rule.append(_time(workers, asked_rule, on, partial(writer.set_rule, on)))
        for channel in channels:
            channel.close()
    return _Seconds(of_device, of_rule)


def _time(workers: Sequence[_Worker], question: bytes, allow: bool, commit: Callable[[], float]) -> float:
    """Seconds from the commit to the moment when the last worker answers by it."""
    time.sleep(random.uniform(0, PAUSE_SECONDS))
    reply = ALLOW if allow else DENY
    committed = commit()
    until = committed + LOST_SECONDS
    return max(worker.wait_for(question, reply, until) for worker in workers) - committed


def _channel(endpoint: Child) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{endpoint.port}", [("grpc.use_local_subchannel_pool", 1)])
