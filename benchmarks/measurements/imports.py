"""What importing a fleet takes: time, memory, and what an endpoint loses meanwhile."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import psycopg2

from benchmarks import databases, processes
from benchmarks.bench import Bench
from benchmarks.checks import require
from benchmarks.databases import Database
from benchmarks.devices import AUTHORIZE, PUMPS, authorize, fleet_questions, fleet_topic
from benchmarks.figures import Figure, alternate, at_least, at_most, clock_ratio, ratio
from benchmarks.importer import FORMAT, import_once, insert_once, write_fleet
from benchmarks.load import Sample
from benchmarks.measurements.authorize import TOPICS_OF_A_FLEET
from benchmarks.processes import ProcessFailed
from benchmarks.servers import Transport

TRANSPORT: Transport = "grpcio"
"""The one that is used unless another is asked for."""
LOOK_SECONDS = 0.05
START_SECONDS = 600.0
STORED = "SELECT coalesce(max(records), 0) FROM exhookadmin_importrun WHERE finished_at IS NULL"
# Each file has devices of its own, so that all of them are new.
SMALL, LARGE, BESIDE = 2_000_000, 3_000_000, 5_000_000


def measure(bench: Bench) -> list[Figure]:
    """On PostgreSQL, one database for all: its fleet is emptied for the first, and grows after that."""
    with databases.empty_postgresql(bench.directory, ["imports"]) as (database,):
        return [_against_inserts(bench, database), _memory(bench, database), *_beside(bench, database)]


def _against_inserts(bench: Bench, database: Database) -> Figure:
    count = bench.plan.imported
    file = write_fleet(bench.directory / "fleet.jsonl", 0, count)
    runs = {
        "import": partial(import_once, database, file, count),
        "insert": partial(insert_once, database, count),
    }
    with processes.pinned_to([bench.server_core]):
        samples = alternate(bench.plan.import_rounds, runs)
    text = f"import of {count:,} devices with tokens ÷ plain bulk insert of their rows"
    return ratio(text, at_least(0.3), samples["import"], samples["insert"])


def _memory(bench: Bench, database: Database) -> Figure:
    """The most that the command ever took, by the kernel's own count."""
    small, large = bench.plan.small_import, bench.plan.large_import
    least = _peak_bytes(bench, database, write_fleet(bench.directory / "small.jsonl", SMALL, small))
    most = _peak_bytes(bench, database, write_fleet(bench.directory / "large.jsonl", LARGE, large))
    text = f"peak memory of an import of {large:,} devices ÷ of {small:,}"
    return Figure(text, at_most(1.2), most / least, detail={"small": least, "large": most})


def _peak_bytes(bench: Bench, database: Database, file: Path) -> int:
    peak = 0
    with _importing(bench, database, file) as process:
        while process.poll() is None:
            # It never falls, so the last one before the end is what counts.
            peak = processes.peak_resident_bytes(process.pid) or peak
            time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise ProcessFailed(f"the import of {file.name} ended with {process.returncode}")
    return peak


def _beside(bench: Bench, database: Database) -> Iterator[Figure]:
    plan = bench.plan
    databases.fill_further(database, {PUMPS.name: plan.pumps})
    file = write_fleet(bench.directory / "beside.jsonl", BESIDE, plan.import_beside)
    questions = fleet_questions(plan.pumps, TOPICS_OF_A_FLEET)
    with bench.servers() as servers:
        endpoint = servers.endpoint(database, TRANSPORT)
        device = PUMPS.device(0)
        require(endpoint.port, AUTHORIZE, authorize(device, fleet_topic(device, 0)), allow=True)
        require(endpoint.port, AUTHORIZE, authorize(device, "admin/users"), allow=False)
        bench.ask_each(endpoint, AUTHORIZE, iter(questions))
        ask = partial(bench.ask, endpoint, AUTHORIZE, cycle(questions))

        def alone() -> Sample:
            time.sleep(plan.calm_seconds)
            return ask()

        # Not to and fro as elsewhere: after each import there has to be calm.
        samples = [
            alternate(1, {"alone": alone, "beside": partial(_while_storing, bench, database, file, ask)})
            for _ in range(plan.rounds)
        ]
    beside = [sample["beside"][0] for sample in samples]
    quiet = [sample["alone"][0] for sample in samples]
    text = f"authorize during an import of {plan.import_beside:,} devices ÷ alone, {TRANSPORT}"
    yield clock_ratio(text, at_least(0.5), beside, quiet)
    yield ratio(f"the same, for each CPU second, {TRANSPORT}", None, beside, quiet)


def _while_storing(bench: Bench, database: Database, file: Path, ask: partial[Sample]) -> Sample:
    """Asks while rows are stored. Killed then, the next import goes on where this one was."""
    with closing(psycopg2.connect(database.url)) as own:
        own.autocommit = True
        before = _stored(own)
        with _importing(bench, database, file) as process:
            deadline = time.monotonic() + START_SECONDS
            # The whole file is checked before the first row is stored.
            while _stored(own) == before:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ProcessFailed("the import did not begin to store")
                time.sleep(LOOK_SECONDS)
            sample = ask()
            if process.poll() is not None:
                raise ProcessFailed("the import ended before its load did")
    return sample


def _stored(own: psycopg2.extensions.connection) -> int:
    with own.cursor() as cursor:
        cursor.execute(STORED)
        return int((cursor.fetchone() or [0])[0])


@contextmanager
def _importing(bench: Bench, database: Database, file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The command as people call it, on whatever core has room for it; ended with the block."""
    with (
        (bench.directory / "import.log").open("wb") as log,
        processes.pinned_to(bench.cores),
    ):
        process = subprocess.Popen(
            [sys.executable, "manage.py", "import", FORMAT, str(file)],
            cwd=processes.ROOT,
            env={**processes.clean_environment(), **database.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
