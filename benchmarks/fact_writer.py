"""The writer of the audit log alone: from a spool to rows, and what COPY takes for the same rows.

``python -m benchmarks.fact_writer`` reads what to do, a line each, from standard input, and answers with the
seconds it took by the clock and in CPU time of this process and of PostgreSQL's together.
"""

import gc
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import processes
from benchmarks.databases import Database
from benchmarks.load import Sample
from exhookadmin.exhook.lifetime import end_with_parent


class FactWriter:
    """The other side of that process, which runs on the given core."""

    def __init__(self, database: Database, log: Path, core: int) -> None:
        self._log = log.open("wb")
        with processes.pinned_to([core]):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.fact_writer"],
                cwd=processes.ROOT,
                env={**processes.clean_environment(), **database.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
            )

    def write(self, how: str, count: int) -> Sample:
        """Stores so many facts: from a ``spool`` as a worker does, or their rows by ``copy``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([how, count]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise processes.ProcessFailed(f"the writer ended; its log is {self._log.name}")
        seconds, cpu = json.loads(answer)
        return Sample(count, seconds, cpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(processes.STOP_SECONDS)
        self._process.stdout.close()
        self._log.close()


def serve() -> None:
    """Until standard input ends."""
    import django

    django.setup()
    from django.db import connection

    from audit.models import Event

    gc.freeze()  # As a worker does.
    connection.ensure_connection()
    backend: int = connection.connection.info.backend_pid

    def spent() -> tuple[float, float]:
        return time.perf_counter(), time.process_time() + processes.cpu_seconds_of(backend)

    for number, line in enumerate(sys.stdin):
        how, count = json.loads(line)
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE audit_event, audit_spoolposition")
            cursor.execute("CHECKPOINT")
        store = _prepare_spool(count) if how == "spool" else _prepare_copy(count)
        began, cpu = spent()
        store()
        ended, cpu_then = spent()
        if Event.objects.count() != count:
            raise RuntimeError(f"run {number} did not store {count} facts")
        print(json.dumps([ended - began, cpu_then - cpu]), flush=True)


def _prepare_spool(count: int) -> Any:
    from audit.recorder import BATCH_BYTES, BATCH_FACTS
    from audit.spool import Spool
    from audit.spool_reader import SpoolReader
    from audit.writer import Database as Store
    from benchmarks.facts import records

    directory = tempfile.TemporaryDirectory(dir=os.environ["VAR_DIR"])
    spool = Spool(Path(directory.name), 2**40)
    for number, record in enumerate(records(count)):
        spool.append(record)
        if number % 10_000 == 0:
            spool.tend()
    for _ in range(2):  # The first may begin a segment, the second lets go of the one before.
        spool.tend()
    reader = SpoolReader(spool.directory, spool.settled, spool.delete, lambda record, error: None)
    store = Store()

    def move() -> None:
        while facts := reader.take(BATCH_FACTS, BATCH_BYTES):
            store.write(facts, reader.move(len(facts)))
            reader.release(len(facts))
        spool.close(empty=True)
        directory.cleanup()

    return move


def _prepare_copy(count: int) -> Any:
    from django.db import connection

    from audit.copying import NAMES, TABLE
    from audit.event_lines import event_lines
    from audit.folding import Row
    from benchmarks.facts import refusals

    lines = event_lines([Row(fact) for fact in refusals(count)]).encode()

    def copy() -> None:
        with connection.cursor() as cursor:
            cursor.cursor.copy_expert(f"COPY {TABLE} ({NAMES}) FROM STDIN", io.BytesIO(lines), 1024 * 1024)

    return copy


if __name__ == "__main__":
    end_with_parent()
    serve()
