"""A look at a running process tree from outside: its log, its processes, its metrics."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from exhookadmin.exhook.demo.endpoint import Endpoint
from tests.endpoint import wait_until

# Far more than it takes, for a machine that has much else to do.
SECONDS = 60.0


def eventually(holds: Callable[[], Any]) -> None:
    """Waits until it comes true; fails the test when it does not."""
    wait_until(holds, SECONDS)


def log_lines(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Every line of the log so far. One that is no JSON object fails the test."""
    lines = []
    # The last one may be being written.
    for text in endpoint.log.read_text().rpartition("\n")[0].splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        assert isinstance(line, dict), f"this log line is no JSON object: {text}"
        lines.append(line)
    return lines


def said(endpoint: Endpoint, message: str) -> list[dict[str, Any]]:
    """The log lines with this message."""
    return [line for line in log_lines(endpoint) if line["message"] == message]


def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """Status and body of a page on the metrics port."""
    [listens] = said(endpoint, "endpoint listens")
    try:
        with urllib.request.urlopen(f"http://{listens['metrics']}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(endpoint: Endpoint, name: str, **labels: str) -> float:
    """The sum of this metric's series that have these labels."""
    status, text = get(endpoint, "/metrics")
    assert status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def descendants(pid: int) -> set[int]:
    """All processes below this one, as /proc has them."""
    children: dict[int, set[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field is a name in parentheses, which may hold anything.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, set()).add(int(path.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), set()) - found
        found |= below
        waiting += below
    return found


def lives(pid: int) -> bool:
    """False also for a process that ended and that nobody has asked about yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def workers(endpoint: Endpoint) -> set[int]:
    """The worker processes that run now."""
    return {
        pid
        for pid in descendants(endpoint.process.pid)
        if lives(pid) and "exhookadmin.exhook.worker" in command_line(pid)
    }


def web_processes(endpoint: Endpoint) -> tuple[set[int], set[int]]:
    """Of the web interface: gunicorn's own supervisor, and its workers."""
    masters = {
        pid for pid in descendants(endpoint.process.pid) if "exhookadmin.exhook.web" in command_line(pid)
    }
    workers_of = {pid: descendants(pid) & masters for pid in masters}
    below = set[int]().union(*workers_of.values())
    return masters - below, {pid for pid in below if lives(pid)}


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def connections_of(pid: int, port: int) -> int:
    """How many connections to this port a process holds."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets |= set(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
        except OSError:
            continue
    established = "01"
    lines = []
    # gRPC listens on an IPv6 socket that takes IPv4 too.
    for table in ("tcp", "tcp6"):
        lines += Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    held = 0
    for line in lines:
        fields = line.split()
        local, state, inode = fields[1], fields[3], fields[9]
        held += int(local.rpartition(":")[2], 16) == port and state == established and inode in sockets
    return held
