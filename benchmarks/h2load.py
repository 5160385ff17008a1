"""Load by h2load, where it is installed: one body, as fast as a server can be asked."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.load import CONNECTIONS, STREAMS, Sample, WrongAnswer

installed = shutil.which("h2load") is not None
GRPC_HEADERS = ("content-type: application/grpc+proto", "te: trailers", "grpc-timeout: 5S")


def load(
    port: int,
    path: str,
    body: Path,
    seconds: float,
    cpu_seconds: Callable[[], float],
    options: Sequence[str] = (),
    headers: Sequence[str] = GRPC_HEADERS,
    streams: int = STREAMS,
) -> Sample:
    """Sends the file ``body`` for so long. Raises WrongAnswer for a status that is not 2xx.

    It does not see ``grpc-status`` or the reply: what a server answers is checked before.
    """
    command = [
        "h2load",
        f"-D{round(1000 * seconds)}ms",
        "-c",
        str(CONNECTIONS),
        "-m",
        str(streams),
        "-t1",
        "-d",
        str(body),
    ]
    for header in headers:
        command += ["-H", header]
    before = cpu_seconds()
    done = subprocess.run(
        [*command, *options, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=False
    )
    spent = cpu_seconds() - before
    if done.returncode:
        raise WrongAnswer(f"h2load failed: {done.stderr or done.stdout}")
    return sample_of(done.stdout, spent)


def sample_of(said: str, cpu_seconds: float) -> Sample:
    """What h2load's report says. Raises WrongAnswer when not everything succeeded."""
    finished = re.search(r"finished in ([\d.]+)(m?s), ([\d.]+) req/s", said)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", said)
    if finished is None or codes is None or failed is None:
        raise WrongAnswer(f"h2load's report is not understood: {said}")
    if any(int(number) for number in (*codes.groups()[1:], *failed.groups())):
        raise WrongAnswer(f"not every call succeeded: {codes[0]}; {failed[0]}")
    seconds = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
    return Sample(int(codes[1]), seconds, cpu_seconds)
