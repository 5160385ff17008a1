"""Python programs that a test runs to their end, in an environment of exactly the variables it names."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_python(*arguments: str, umask: int = -1, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs ``python`` with the product's settings; neither a `.env` nor our own variables reach it."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "TEST_RUN", "PYTEST_XDIST_WORKER") or name.startswith("COVERAGE_")
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment},
        capture_output=True,
        text=True,
        umask=umask,
        timeout=120,
        check=False,
    )
