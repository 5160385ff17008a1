"""The supervisor: N endpoint processes on one port, and optionally the web interface.

It decides nothing and serves nothing, so it has nothing to crash on. It restarts what
dies, passes signals on, and takes everything down with it.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings

from exhookadmin.exhook.lifetime import EXIT_PORT_TAKEN

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
# A child that lived so long did not die of starting: it is restarted without delay.
SETTLED_SECONDS = 30.0
STOP_SECONDS = 20.0
TICK_SECONDS = 0.1


class PortTaken(Exception):
    """Something listens on this address already."""


@dataclass
class Child:
    """One process that should run: how to start it, and how its starts went."""

    name: str
    command: Sequence[str]
    announces: bool
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started_at: float = 0.0
    start_again_at: float = 0.0
    deaths: int = 0
    heard: bytes = field(default=b"", repr=False)

    def start(self) -> None:
        self.ready = not self.announces
        self.heard = b""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.announces else None,
        )
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)

    def listen(self) -> None:
        """Reads what the child announces."""
        if self.process is not None and self.process.stdout is not None and not self.ready:
            self.heard += self.process.stdout.read() or b""
            self.ready = b"ready" in self.heard

    def signal(self, signum: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)


class Supervisor:
    """Runs children until told to stop. ``run`` answers the exit status."""

    def __init__(self, host: str, port: int, workers: int, web: str | None) -> None:
        self._host, self._workers = host, workers
        self._stopping = self._reload = False
        self._announced = False
        self._lock, self._reservation, self.port = reserve(host, port)
        command = [sys.executable, "-m", "exhookadmin.exhook.worker", host, str(self.port)]
        self._children = [
            Child(f"worker {number}", command, announces=True) for number in range(1, workers + 1)
        ]
        if web:
            self._children.append(
                Child("web", [sys.executable, "-m", "exhookadmin.exhook.web", web], announces=False)
            )

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
            self._reservation.close()
            if self._lock is not None:
                self._lock.close()
        logger.info("endpoint stopped")
        return 0

    def _tick(self) -> None:
        if self._reload:
            self._reload = False
            for child in self._children:
                if child.announces:
                    child.signal(signal.SIGHUP)
        for child in self._children:
            child.listen()
            self._keep_alive(child)
        if not self._announced and all(child.ready for child in self._children):
            self._announced = True
            logger.info(
                "endpoint listens",
                extra={
                    "host": self._host,
                    "port": self.port,
                    "workers": self._workers,
                    "hooks": settings.EXHOOK_HOOKS,
                },
            )

    def _keep_alive(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_again_at:
                child.start()
            return
        status = child.process.poll()
        if status is None:
            return
        child.listen()
        if child.process.stdout is not None:
            child.process.stdout.close()
        child.process = None
        if status == EXIT_PORT_TAKEN:
            raise PortTaken
        child.deaths = 0 if now - child.started_at > SETTLED_SECONDS else child.deaths + 1
        delay = BACK_OFF_SECONDS[min(child.deaths, len(BACK_OFF_SECONDS) - 1)]
        child.start_again_at = now + delay
        logger.error(
            "a process died and is started again",
            extra={"child": child.name, "status": status, "in_seconds": delay},
        )

    def _stop_children(self) -> None:
        for child in self._children:
            child.signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for child in self._children:
            if child.process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, until - time.monotonic()))
            if child.process.poll() is None:
                logger.error("a process did not stop in time and is killed", extra={"child": child.name})
                child.process.kill()
                child.process.wait()

    # Signal handlers run inside the main thread between two instructions: they may only set a bool.
    def _on_stop(self, signum: int, frame: object) -> None:
        self._stopping = True

    def _on_reload(self, signum: int, frame: object) -> None:
        self._reload = True


def reserve(host: str, port: int) -> tuple[socket.socket | None, socket.socket, int]:
    """Takes the port for this process tree: a lock, a bound socket that shares it, and its number.

    The workers share the port by SO_REUSEPORT, which a second ``run_exhook`` could do just
    as silently: so sharing is tried without first. Raises PortTaken.
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
        raise PortTaken from error
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
