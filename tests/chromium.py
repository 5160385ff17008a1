"""Finds the Chromium of the browser tests. ``python -m tests.chromium`` prints its path, or fails.

``CHROMIUM`` names one outright; ``CHROMIUM=none`` leaves the browser tests out.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The first browser that runs: ``CHROMIUM``, then the system's, then Playwright's own download."""
    named = os.environ.get("CHROMIUM")
    candidates = [named] if named else _installed()
    return next((path for path in candidates if _runs(path)), None)


def _installed() -> Iterator[str]:
    for name in NAMES:
        path = shutil.which(name)
        # A snap sees neither the tests' temporary directories nor another user's home.
        if path and "snap" not in Path(path).resolve().parts:
            yield path
    # Asked of the command line, whose Node a minimal system may lack a library for.
    asked = subprocess.run(
        [sys.executable, "-m", "playwright", "install", "--dry-run", "chromium"],
        capture_output=True,
        text=True,
    )
    for directory in re.findall(r"Install location: +(\S.*)", asked.stdout):
        yield from (str(path) for path in Path(directory).glob("chrome-linux*/chrome"))


def _runs(path: str) -> bool:
    # Without the snap that Ubuntu's /usr/bin/chromium-browser stands for, it only prints advice and fails.
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "Chrom" in answer.stdout


if __name__ == "__main__":
    found = find_chromium()
    if found is None:
        sys.exit("No Chromium found.")
    print(found)
