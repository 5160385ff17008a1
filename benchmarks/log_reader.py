"""Somebody who looks at the audit log: another process, as the web interface is one.

``python -m benchmarks.log_reader EVENTS`` fills a database with events, then reads what to look at, a line
each, from standard input, and answers with how many pages it took in how many seconds.
"""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import processes
from benchmarks.databases import Database
from benchmarks.load import Sample
from exhookadmin.exhook.lifetime import end_with_parent


class LogReader:
    """The other side of that process."""

    def __init__(self, database: Database, events: int, log: Path) -> None:
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.log_reader", str(events)],
            cwd=processes.ROOT,
            env={**processes.clean_environment(), **database.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._answer()

    def pages(self, what: str, seconds: float) -> Sample:
        """Looks at first pages for so long: the ``newest``, or those of one ``device`` after the other."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, seconds]).encode() + b"\n")
        self._process.stdin.flush()
        calls, taken = json.loads(self._answer())
        return Sample(calls, taken)

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise processes.ProcessFailed(f"the reader ended; its log is {self._log.name}")
        return answer

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


def serve(events: int) -> None:
    """Until standard input ends."""
    import django

    django.setup()
    from django.utils import timezone

    from audit.paging import page
    from audit.search import Search
    from benchmarks.events import fill

    devices = itertools.cycle(range(fill(events, timezone.now())))
    print("ready", flush=True)
    for line in sys.stdin:
        what, seconds = json.loads(line)
        calls, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            search = Search() if what == "newest" else Search(device=f"device-{next(devices)}")
            found = page(search.listing())
            if not found.rows or found.newer:
                raise RuntimeError(f"no first page: {search}")
            calls += 1
        print(json.dumps([calls, time.perf_counter() - began]), flush=True)


if __name__ == "__main__":
    end_with_parent()
    serve(int(sys.argv[1]))
