"""The machine that the figures are of, without anything that would name it."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "grpcio",
    "pygrpc-native",
    "protobuf",
    "uvloop",
    "Django",
    "gunicorn",
    "bcrypt",
    "psycopg2-binary",
)


def cores() -> list[int]:
    """The CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def server_and_load_core() -> tuple[int, int]:
    """One CPU for the server and another for the load; the same twice where there is only one.

    Hardware threads of one core are avoided where there is a choice: they would slow each other down.
    """
    available = cores()
    server = available[0]
    siblings = _siblings(server)
    others = [core for core in available if core != server]
    apart = [core for core in others if core not in siblings]
    return server, (apart or others or [server])[0]


def description() -> dict[str, str]:
    """What a reader needs to know to compare: processor, memory, system and versions."""
    found = {
        "processor": _processor(),
        "cores": str(len(cores())),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["h2load"] = _h2load()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _siblings(core: int) -> set[int]:
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
        siblings: set[int] = set()
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            siblings.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return {core}
    return siblings


def _h2load() -> str:
    if shutil.which("h2load") is None:
        return "not installed"
    said = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False).stdout
    return said.split("/")[-1].strip()


def require_linux() -> None:
    """Pinning processes and reading their CPU time and memory is done in Linux's way."""
    if sys.platform != "linux":
        raise SystemExit("The benchmarks pin processes and read /proc: they run on Linux only.")
