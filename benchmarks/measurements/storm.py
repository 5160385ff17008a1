"""Everything connects at once, with passwords that each take a slow hash.

The logins are of devices that the worker has not met, with the right password. Capacity is what the
worker admits when a few of them wait for each other; the storm brings ten times as many, and does not wait.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice

from benchmarks import http2_client, processes
from benchmarks.bench import Bench
from benchmarks.checks import ALLOW, require
from benchmarks.devices import (
    AUTHENTICATE,
    AUTHORIZE,
    PASSWORD,
    VALVES,
    Newcomers,
    authenticate,
    fleet_questions,
    logins,
)
from benchmarks.figures import Figure, alternate, at_least, clock_ratio
from benchmarks.load import Sample
from benchmarks.measurements.authorize import TOPICS_OF_A_FLEET
from benchmarks.processes import Child

OVERLOAD = 10


def measure(bench: Bench) -> list[Figure]:
    """Goodput first, then authorizations with and without the storm."""
    figures = []
    for transport in bench.plan.transports:
        with bench.servers() as servers:
            endpoint = servers.endpoint(bench.fleet, transport)
            device = VALVES.device(0)
            require(endpoint.port, AUTHENTICATE, authenticate(device, PASSWORD), allow=True)
            require(endpoint.port, AUTHENTICATE, authenticate(device, "a wrong one"), allow=False)
            numbers = Newcomers(1, bench.plan.valves)
            goodput, rate = _goodput(bench, endpoint, transport, numbers)
            figures += [_beside(bench, endpoint, transport, numbers, rate), goodput]
    return figures


def _goodput(bench: Bench, endpoint: Child, transport: str, numbers: Newcomers) -> tuple[Figure, float]:
    plan = bench.plan
    seconds = plan.storm_seconds / plan.storm_halves
    capacity, overload = [], []
    for _ in range(plan.storm_halves):
        capacity.append(_capacity(endpoint, numbers, seconds))
        rate = OVERLOAD * capacity[-1].rate
        overload.append(_overload(bench, endpoint, numbers, rate, seconds))
        time.sleep(plan.calm_seconds)
    text = f"logins admitted in time, at {OVERLOAD} × overload ÷ at capacity, {transport}"
    rate = OVERLOAD * statistics.median(sample.rate for sample in capacity)
    return clock_ratio(text, at_least(0.9), overload, capacity), rate


def _capacity(endpoint: Child, numbers: Newcomers, seconds: float) -> Sample:
    return http2_client.load(
        endpoint.port,
        AUTHENTICATE,
        logins(VALVES, numbers),
        ALLOW,
        seconds,
        endpoint.cpu_seconds,
        connections=2,
        streams=2,
    )


def _overload(bench: Bench, endpoint: Child, numbers: Newcomers, rate: float, seconds: float) -> Sample:
    # The first ones find nobody waiting before them; by then everybody does.
    with _storm(bench, endpoint, numbers, rate, bench.plan.calm_seconds, seconds) as storm:
        assert storm.process.stdout is not None
        said = json.loads(storm.process.stdout.read())
    return Sample(said["allowed"], said["seconds"])


def _beside(bench: Bench, endpoint: Child, transport: str, numbers: Newcomers, rate: float) -> Figure:
    questions = fleet_questions(bench.plan.pumps, TOPICS_OF_A_FLEET)
    bench.ask_each(endpoint, AUTHORIZE, iter(questions))
    ask = partial(bench.ask, endpoint, AUTHORIZE, cycle(questions))

    def in_a_storm() -> Sample:
        with _storm(bench, endpoint, numbers, rate, 0.0, 3600.0):
            time.sleep(bench.plan.seconds)
            return ask()

    def alone() -> Sample:
        time.sleep(bench.plan.calm_seconds)
        return ask()

    rounds = range(bench.plan.rounds)
    # Not to and fro as elsewhere: after each storm there has to be calm.
    samples = [alternate(1, {"alone": alone, "storm": in_a_storm}) for _ in rounds]
    return clock_ratio(
        f"authorize during a storm of logins ÷ alone, {transport}",
        at_least(0.5),
        [sample["storm"][0] for sample in samples],
        [sample["alone"][0] for sample in samples],
    )


@contextmanager
def _storm(
    bench: Bench, endpoint: Child, numbers: Newcomers, rate: float, settle: float, seconds: float
) -> Iterator[Child]:
    first = next(numbers)
    arguments = [endpoint.port, rate, first, settle, seconds]
    began = time.monotonic()
    storm = processes.start(
        [sys.executable, "-m", "benchmarks.login_storm", *map(str, arguments)],
        bench.directory / "storm.log",
        [bench.load_core],
    )
    try:
        yield storm
    finally:
        processes.stop(storm)
        # What it may have asked about, counted generously, is not new to the next.
        begun = int(rate * min(time.monotonic() - began, settle + seconds)) + 1
        for _ in islice(numbers, begun):
            pass
