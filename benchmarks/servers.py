"""Everything that is measured: our endpoint, the bare servers, and what people use today."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from benchmarks import processes
from benchmarks.databases import Database
from benchmarks.processes import Child

Transport = Literal["grpcio", "native"]
TRANSPORTS: tuple[Transport, ...] = ("grpcio", "native")
HOST = "127.0.0.1"


class Servers:
    """Starts servers on given cores and ends them all. Logs go to ``directory``."""

    def __init__(self, directory: Path, cores: Sequence[int]) -> None:
        self._directory = directory
        self._cores = list(cores)
        self._running: list[Child] = []

    def endpoint(
        self, database: Database, transport: Transport, cores: Sequence[int] | None = None, **settings: str
    ) -> Child:
        """One worker of ours."""
        environment = {**database.environment, "EXHOOK_TRANSPORT": transport, **settings}
        command = [sys.executable, "-m", "exhookadmin.exhook.worker", HOST, "0"]
        return self._start(command, f"endpoint-{transport}", environment, cores)

    def unrecorded(self, database: Database, transport: Transport) -> Child:
        """One worker of ours that makes its facts and lets go of them."""
        environment = {**database.environment, "EXHOOK_TRANSPORT": transport}
        command = [sys.executable, "-m", "benchmarks.unrecorded", HOST, "0"]
        return self._start(command, f"unrecorded-{transport}", environment)

    def supervised(
        self, database: Database, transport: Transport, workers: int, cores: Sequence[int]
    ) -> Child:
        """Our supervisor with so many workers on one port."""
        environment = {**database.environment, "EXHOOK_TRANSPORT": transport}
        command = [sys.executable, "manage.py", "run_exhook", "--host", HOST, "--port", "0"]
        command += ["--workers", str(workers), "--metrics", ""]
        return self._start(command, f"workers-{workers}", environment, cores, _port_announced)

    def bare(
        self,
        kind: Literal["asynchronous", "threaded", "native"],
        port: int = 0,
        cores: Sequence[int] | None = None,
    ) -> Child:
        """A servicer in Python that allows everything. Those of grpcio can share a port."""
        command = [sys.executable, "-m", f"benchmarks.bare.{kind}", HOST, str(port)]
        return self._start(command, f"bare-{kind}", cores=cores)

    def go(self, program: Path) -> Child:
        """The one in Go."""
        return self._start([str(program), HOST, "0"], "bare-go")

    def http_view(self, database: Database) -> Child:
        """The Django view under gunicorn: one process, a few threads, connections kept."""
        environment = {**database.environment, "DJANGO_SETTINGS_MODULE": "benchmarks.http_view.settings"}
        command = [sys.executable, "-m", "gunicorn", "benchmarks.http_view.wsgi", "--bind", f"{HOST}:0"]
        command += ["--worker-class", "gthread", "--threads", "4", "--keep-alive", "60"]
        return self._start(command, "http-view", environment, None, _port_of_gunicorn)

    def stop(self, child: Child) -> None:
        """Ends one of them before the others."""
        self._running.remove(child)
        processes.stop(child)

    def close(self) -> None:
        """Ends all."""
        for child in self._running:
            child.process.terminate()
        for child in self._running:
            processes.stop(child)
        self._running.clear()

    def _start(
        self,
        command: Sequence[str],
        name: str,
        environment: Mapping[str, str] | None = None,
        cores: Sequence[int] | None = None,
        port_of: processes.PortOf | None = None,
    ) -> Child:
        log = self._directory / f"{name}-{len(list(self._directory.glob('*.log')))}.log"
        child = processes.start(command, log, cores or self._cores, environment, port_of)
        self._running.append(child)
        return child


@contextmanager
def running(directory: Path, cores: Sequence[int]) -> Iterator[Servers]:
    """Servers that end with the block."""
    servers = Servers(directory, cores)
    try:
        yield servers
    finally:
        servers.close()


def _port_announced(line: str) -> int | None:
    """In the supervisor's log; a line may not have been written to its end."""
    found = re.search(r'"port": (\d+)[,}]', line) if '"endpoint listens"' in line else None
    return int(found[1]) if found else None


def _port_of_gunicorn(line: str) -> int | None:
    found = re.search(r"Listening at: http://[\d.]+:(\d+)", line)
    return int(found[1]) if found else None
