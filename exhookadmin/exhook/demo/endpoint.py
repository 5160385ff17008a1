"""An endpoint as a child process, started and stopped the way an operator would."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

# On a machine that is busy with other things a start takes many times as long as usual; the end takes
# as long as the supervisor gives its children, and its own.
START_SECONDS = 120.0
STOP_SECONDS = 60.0


class EndpointFailed(Exception):
    """The child ended or stayed silent; the text holds the end of its log."""


@dataclass(frozen=True)
class Endpoint:
    """A running child. ``address`` is where it listens, ``log`` what it writes."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path


@contextmanager
def running_endpoint(
    log: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Endpoint]:
    """Runs ``manage.py run_exhook`` on a free port of this machine for as long as the block lasts.

    Stops it with SIGTERM, so that it drains and writes its last facts. Raises EndpointFailed
    when it does not come to listen, or does not stop.
    """
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_exhook", "--host", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            # The later of two equal options counts: both ports can be chosen all the same.
            [*command, "--port", "0", "--metrics", "127.0.0.1:0", *arguments],
            cwd=settings.BASE_DIR,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the parent, which stops things in order: devices, broker, endpoint.
            start_new_session=True,
        )
    try:
        yield Endpoint(process, f"127.0.0.1:{_port_once_listening(process, log)}", log)
    finally:
        _stop(process, log)


def _port_once_listening(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        # The last line may be being written.
        for line in log.read_text(errors="replace").rpartition("\n")[0].splitlines():
            if '"endpoint listens"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.05)
    what = "does not listen" if process.poll() is None else f"ended with status {process.returncode}"
    raise EndpointFailed(f"The endpoint {what}. The end of its log:\n{end_of(log)}")


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise EndpointFailed(
            f"The endpoint did not stop within {STOP_SECONDS:g} s. The end of its log:\n{end_of(log)}"
        ) from None


def end_of(log: Path, lines: int = 30) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
