"""What the audit log costs: its writer beside plain COPY, hooks with and without it, a full spool."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audit.spool import Spool
from benchmarks import databases, http2_client
from benchmarks.bench import Bench
from benchmarks.databases import Database
from benchmarks.devices import NODE, PUMPS, V3, client
from benchmarks.fact_writer import FactWriter
from benchmarks.facts import records
from benchmarks.figures import Figure, alternate, at_least, at_most, clock_ratio, ratio
from benchmarks.load import Sample
from benchmarks.processes import Child
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import EMPTY_SUCCESS

HOOKS = {"grpcio": at_least(0.75), "native": at_least(0.5)}
CONNECTED = f"/{V3.service}/OnClientConnected"
DISCONNECTED = f"/{V3.service}/OnClientDisconnected"
QUIET_SECONDS = 0.5
QUIET_CPU_SECONDS = 0.05
ADOPTED_AFTER_SECONDS = 6.0


def measure(bench: Bench) -> list[Figure]:
    """On PostgreSQL, one server for all three."""
    names = ["recording-writer", "recording-hooks", "recording-memory"]
    with databases.empty_postgresql(bench.directory, names) as (writer, hooks, memory):
        return [*_against_copy(bench, writer), *_hooks(bench, hooks), _memory(bench, memory)]


def _against_copy(bench: Bench, database: Database) -> Iterator[Figure]:
    """By the clock, because lines are made while PostgreSQL stores others; and how much both work for it."""
    count = bench.plan.facts
    with FactWriter(database, bench.directory / "fact-writer.log", bench.server_core) as writer:
        writer.write("spool", count)
        runs = {how: partial(writer.write, how, count) for how in ("spool", "copy")}
        samples = alternate(bench.plan.rounds, runs)
    text = "facts, from the spool to rows ÷ plain COPY"
    yield clock_ratio(text, at_least(0.5), samples["spool"], samples["copy"])
    yield ratio(f"{text}, by the CPU time of both processes", None, samples["spool"], samples["copy"])


def _hooks(bench: Bench, database: Database) -> Iterator[Figure]:
    for transport in bench.plan.transports:
        with bench.servers() as servers:
            recording = servers.endpoint(database, transport)
            forgetting = servers.unrecorded(database, transport)
            runs = {
                "with": partial(_come_and_go, bench, recording),
                "without": partial(_come_and_go, bench, forgetting),
            }
            for run in runs.values():
                run()
            samples = alternate(bench.plan.rounds, runs)
        text = f"connected and disconnected hooks, recorded ÷ not, {transport}"
        yield clock_ratio(text, HOOKS[transport], samples["with"], samples["without"])


def _come_and_go(bench: Bench, server: Child) -> Sample:
    """Everybody connects, then everybody goes. Until all is written nobody else is measured."""
    count = bench.plan.hooks // 2
    samples = []
    for path, bodies in ((CONNECTED, _connected(count)), (DISCONNECTED, _disconnected(count))):
        samples.append(http2_client.load(server.port, path, iter(list(bodies)), EMPTY_SUCCESS))
    _wait_until_quiet(server)
    return Sample(2 * count, sum(sample.seconds for sample in samples))


def _connected(count: int) -> Iterator[bytes]:
    return (NODE.request(Hook.CLIENT_CONNECTED, client(PUMPS.device(n)))[1] for n in range(count))


def _disconnected(count: int) -> Iterator[bytes]:
    return (
        NODE.request(Hook.CLIENT_DISCONNECTED, client(PUMPS.device(n)), reason="normal")[1]
        for n in range(count)
    )


def _wait_until_quiet(server: Child) -> None:
    spent = float("-inf")
    while server.cpu_seconds() - spent > QUIET_CPU_SECONDS:
        spent = server.cpu_seconds()
        time.sleep(QUIET_SECONDS)


def _memory(bench: Bench, database: Database) -> Figure:
    """The most that a worker takes while it finds a spool full of facts and writes it."""
    count = bench.plan.waiting_facts
    with bench.servers() as servers:
        endpoint = servers.endpoint(database, "grpcio", EXHOOK_SPOOL_DIR=str(database.var / "spool"))
        _come_and_go(bench, endpoint)
        idle = most = endpoint.memory_bytes()
        left = _left_behind(bench.directory / "left", count)
        left.rename(database.var / "spool" / left.name)
        ends = time.monotonic() + ADOPTED_AFTER_SECONDS
        while time.monotonic() < ends or (database.var / "spool" / left.name).exists():
            most = max(most, endpoint.memory_bytes())
            time.sleep(0.05)
    text = f"memory of a worker with {count:,} facts waiting in the spool ÷ idle"
    return Figure(text, at_most(1.2), most / idle, detail={"idle": idle, "most": most})


def _left_behind(root: Path, count: int) -> Path:
    spool = Spool(root, 2**40)
    for number, record in enumerate(records(count)):
        spool.append(record)
        if number % 10_000 == 0:
            spool.tend()
    spool.close(empty=False)
    return spool.directory
