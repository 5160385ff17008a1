"""Child processes: pinned, announced, measured, and gone when the benchmarks are."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 20.0
PortOf = Callable[[str], int | None]
"""Finds the port in a line of a log."""

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class ProcessFailed(Exception):
    """A child ended or stayed silent; the text holds the end of its log."""


@dataclass(frozen=True)
class Child:
    """A running process that has said ``ready PORT``, and what it said besides."""

    process: "subprocess.Popen[bytes]"
    port: int
    said: str
    log: Path

    def cpu_seconds(self) -> float:
        """CPU time of the process and its living descendants so far."""
        return sum(cpu_seconds_of(pid) for pid in family(self.process.pid))

    def memory_bytes(self) -> int:
        """Resident memory of the process alone."""
        return resident_bytes(self.process.pid)


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """The output of ``python arguments``, run in the project. Raises ProcessFailed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**clean_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProcessFailed(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def start(
    command: Sequence[str],
    log: Path,
    cores: Sequence[int],
    environment: Mapping[str, str] | None = None,
    port_of: PortOf | None = None,
) -> Child:
    """Starts a server and waits until it has announced its port. Raises ProcessFailed.

    ``port_of`` finds the port in a line of the child's log; without one the child writes
    ``ready PORT`` on standard output.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=errors if port_of else subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    try:
        if port_of is None:
            said = _line_of(process)
            port = int(said.split()[1]) if said.startswith("ready ") else None
        else:
            said, port = "", _port_in(log, process, port_of)
        if port is None:
            raise ProcessFailed(f"{command} is not ready:\n{log.read_text(errors='replace')[-3000:]}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return Child(process, port, said, log)


def stop(child: Child) -> None:
    """Ends it politely, and then not so politely."""
    child.process.terminate()
    try:
        child.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
    if child.process.stdout is not None:
        child.process.stdout.close()


@contextmanager
def pinned_to(cores: Sequence[int]) -> Iterator[None]:
    """This process, and what it starts without saying where, runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clean_environment() -> dict[str, str]:
    """The environment without the settings of whoever runs the benchmarks."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EXHOOK_", "DJANGO_", "GUNICORN_")) and name != "DATABASE_URL"
    }
    return {**kept, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}


def errors_in(directory: Path, lines: int = 5) -> list[str]:
    """The last errors that servers logged there, for people who wonder what went wrong."""
    logged = [
        line
        for log in sorted(directory.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if any(level in line for level in ('"ERROR"', '"CRITICAL"', "Error: "))
    ]
    return logged[-lines:]


def family(pid: int) -> list[int]:
    """The process and its descendants that live."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def resident_bytes(pid: int) -> int:
    """The memory of one process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes(pid: int) -> int:
    """The most memory that one process has had in RAM since its program began; 0 when it is gone.

    ``getrusage`` would also count what the parent had when it made the process.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def cpu_seconds_of(pid: int) -> float:
    """CPU time of one process so far; 0 when it is gone."""
    try:
        # The command's name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _line_of(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    # A child that stays silent is killed, which ends the wait for its line.
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        return process.stdout.readline().decode(errors="replace").strip()
    finally:
        timer.cancel()


def _port_in(log: Path, process: "subprocess.Popen[bytes]", port_of: PortOf) -> int | None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            port = port_of(line)
            if port is not None:
                return port
        time.sleep(0.05)
    return None
