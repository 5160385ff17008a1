"""The supervisor: N endpoint processes on one port, and optionally the web interface.

It decides nothing and serves nothing, so it has nothing to crash on. It restarts what
dies, passes signals on, and takes everything down with it.
"""

import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from prometheus_client.registry import CollectorRegistry

from exhookadmin.exhook.lifetime import EXIT_PORT_TAKEN
from exhookadmin.exhook.maintenance_runs import MaintenanceRuns
from exhookadmin.exhook.metrics import build
from exhookadmin.exhook.metrics_http import AddressProblem, MetricsServer
from exhookadmin.exhook.metrics_totals import Totals
from exhookadmin.exhook.status import Condition, Verdict, WorkerView, liveness, readiness

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
# A child that lived so long did not die of starting: it is restarted without delay.
SETTLED_SECONDS = 30.0
STOP_SECONDS = 20.0
TICK_SECONDS = 0.1
STOPPING_TICK_SECONDS = 0.02
WARN_AGAIN_SECONDS = 24 * 3600.0


class PortTaken(Exception):
    """Something listens on this address already."""


@dataclass
class Child:
    """One process that should run: how to start it, and how its starts went."""

    name: str
    command: Sequence[str]
    number: int | None = None
    """Of a worker, which reports on its standard output; other children say nothing."""
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started_at: float = 0.0
    start_again_at: float = 0.0
    deaths: int = 0
    restarts: int = 0
    heard_at: float = 0.0
    condition: Condition | None = None
    heard: bytes = field(default=b"", repr=False)

    def start(self) -> None:
        self.ready = self.number is None
        self.condition = None
        self.heard = b""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.number is not None else None,
            # Ctrl-C reaches the supervisor alone, which stops its children in order; by themselves they
            # would end in the midst of their imports, each with a traceback.
            process_group=0,
        )
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)

    def listen(self) -> Iterator[bytes]:
        """The lines that the child has written since the last time."""
        if self.process is not None and self.process.stdout is not None:
            *lines, self.heard = (self.heard + (self.process.stdout.read() or b"")).split(b"\n")
            yield from lines

    def signal(self, signum: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)


class Supervisor:
    """Runs children until told to stop. ``run`` answers the exit status."""

    def __init__(self, host: str, port: int, workers: int, web: str | None, metrics: str = "") -> None:
        """Takes the port, and listens on ``metrics`` unless it is empty. Raises PortTaken, AddressProblem."""
        self._host, self._workers = host, workers
        self._ticked_at = time.monotonic()
        self._totals = Totals()
        self._totals.set("exhook_workers", (), workers)
        self._totals.set("exhook_build_info", build(), 1)
        self._stopping = self._reload = False
        self._has_terminal = _terminal_is_there()
        self._announced = False
        self._warned_at: dict[str, float] = {}
        self._lock, self._reservation, self.port = reserve(host, port)
        command = [sys.executable, "-m", "exhookadmin.exhook.worker", host, str(self.port)]
        self._children = [Child(f"worker {number}", command, number) for number in range(1, workers + 1)]
        if web:
            self._children.append(Child("web", [sys.executable, "-m", "exhookadmin.exhook.web", web]))
        for child in self._children:
            self._totals.set("exhook_process_restarts_total", (child.name,), 0)
        self._maintenance: MaintenanceRuns | None = None
        self._metrics: MetricsServer | None = None
        if metrics:
            registry = CollectorRegistry()
            registry.register(self._totals)
            self._metrics = MetricsServer(metrics, registry, self._liveness, self._readiness)

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            for child in self._children:
                child.start()
            while not self._stopping:
                self._tick()
                time.sleep(TICK_SECONDS)
        finally:
            self._stop_children()
            if self._maintenance is not None:
                self._maintenance.stop()
            if self._metrics is not None:
                self._metrics.close()
            self._reservation.close()
            if self._lock is not None:
                self._lock.close()
        logger.info("endpoint stopped")
        return 0

    def _tick(self) -> None:
        self._ticked_at = time.monotonic()
        if self._reload:
            self._reload = False
            if self._has_terminal and not _terminal_is_there():
                # SIGHUP's first meaning: the window was closed, and nobody is left to stop this.
                self._stopping = True
                return
            for child in self._children:
                if child.number is not None:
                    child.signal(signal.SIGHUP)
        for child in self._children:
            self._hear(child)
            self._keep_alive(child)
        for view in self._views():
            ready = view.listening and view.condition is not None and view.condition.ready
            self._totals.set("exhook_worker_ready", (view.name.removeprefix("worker "),), int(ready))
        if self._maintenance is not None:
            self._maintenance.tick()
            self._warn(self._maintenance.warnings)
        if not self._announced and all(child.ready for child in self._children):
            self._announced = True
            self._maintenance = MaintenanceRuns(self._totals)
            logger.info(
                "endpoint listens",
                extra={
                    "host": self._host,
                    "port": self.port,
                    "workers": self._workers,
                    "hooks": settings.EXHOOK_HOOKS,
                    "metrics": f"{self._metrics.host}:{self._metrics.port}" if self._metrics else None,
                },
            )

    def _hear(self, child: Child) -> None:
        for line in child.listen():
            if line.startswith(b"ready "):
                child.ready = True
                child.heard_at = time.monotonic()
            else:
                self._take_report(child, line)

    def _take_report(self, child: Child, line: bytes) -> None:
        try:
            report = json.loads(line)
            condition = {name: tuple(texts) for name, texts in report["condition"].items()}
            child.condition = Condition(**condition)
            self._totals.heard(str(child.number), report["samples"])
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning(
                "a process wrote what is no report",
                extra={"child": child.name, "line": line[:500].decode(errors="replace")},
            )
            return
        child.heard_at = time.monotonic()
        self._warn(child.condition.warnings)

    def _warn(self, warnings: Sequence[str]) -> None:
        """Logs a warning when it appears, and once a day while it stays."""
        now = time.monotonic()
        for text in warnings:
            if now - self._warned_at.get(text, float("-inf")) > WARN_AGAIN_SECONDS:
                self._warned_at[text] = now
                logger.warning(text)

    def _views(self) -> list[WorkerView]:
        now = time.monotonic()
        return [
            WorkerView(
                child.name, child.ready and child.process is not None, now - child.heard_at, child.condition
            )
            for child in self._children
            if child.number is not None
        ]

    def _readiness(self) -> Verdict:
        others = self._maintenance.warnings if self._maintenance is not None else ()
        return readiness(self._views(), self._stopping, others)

    def _liveness(self) -> Verdict:
        return liveness(self._views(), time.monotonic() - self._ticked_at)

    def _keep_alive(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_again_at:
                child.start()
            return
        status = child.process.poll()
        if status is None:
            return
        self._hear(child)
        if child.process.stdout is not None:
            child.process.stdout.close()
        child.process, child.ready = None, False
        if child.number is not None:
            self._totals.ended(str(child.number))
        if status == EXIT_PORT_TAKEN:
            raise PortTaken
        child.deaths = 0 if now - child.started_at > SETTLED_SECONDS else child.deaths + 1
        delay = BACK_OFF_SECONDS[min(child.deaths, len(BACK_OFF_SECONDS) - 1)]
        child.start_again_at = now + delay
        child.restarts += 1
        self._totals.set("exhook_process_restarts_total", (child.name,), child.restarts)
        logger.error(
            "a process died and is started again",
            extra={"child": child.name, "status": status, "in_seconds": delay},
        )

    def _stop_children(self) -> None:
        for child in self._children:
            child.signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        running = [child for child in self._children if child.process is not None]
        while running and time.monotonic() < until:
            for child in running:
                # Its last reports must not fill the pipe: it would wait for somebody to read them.
                self._hear(child)
            running = [child for child in running if child.process and child.process.poll() is None]
            time.sleep(STOPPING_TICK_SECONDS)
        for child in running:
            if child.process is not None:
                logger.error("a process did not stop in time and is killed", extra={"child": child.name})
                child.process.kill()
                child.process.wait()

    # Signal handlers run inside the main thread between two instructions: they may only set a bool.
    def _on_stop(self, signum: int, frame: object) -> None:
        self._stopping = True

    def _on_reload(self, signum: int, frame: object) -> None:
        self._reload = True


def _terminal_is_there() -> bool:
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True


def reserve(host: str, port: int) -> tuple[socket.socket | None, socket.socket, int]:
    """Takes the port for this process tree: a lock, a bound socket that shares it, and its number.

    The workers share the port by SO_REUSEPORT, which a second ``run_exhook`` could do just
    as silently: so sharing is tried without first. Raises PortTaken, or AddressProblem for an address
    that is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    lock = _lock(port) if port else None
    try:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))
            # Bound sockets may share an address under SO_REUSEADDR; listening ones may not.
            alone.listen(1)
            port = alone.getsockname()[1]
        shared = socket.socket(family, socket.SOCK_STREAM)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((host, port))
    except OSError as error:
        if lock is not None:
            lock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken from error
        raise AddressProblem(
            f"{host}:{port} cannot be listened on: {error.strerror or error}. Give --host an address of this "
            "machine, or 0.0.0.0 for all of them, and --port one that you may use."
        ) from None
    return lock, shared, port


def _lock(port: int) -> socket.socket | None:
    """An abstract Unix socket: gone with its process, and as wide as the network namespace
    that the port belongs to."""
    if sys.platform != "linux":
        return None
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0exhookadmin-{port}")
    except OSError as error:
        lock.close()
        raise PortTaken from error
    return lock
