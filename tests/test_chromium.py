"""The browser tests find a Chromium that works, and pass by what only looks like one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import find_chromium

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

WORKS = "#!/bin/sh\necho Chromium 150.0\n"
# What Ubuntu installs as /usr/bin/chromium-browser.
ONLY_ADVISES = "#!/bin/sh\necho 'requires the chromium snap to be installed' >&2\nexit 1\n"


def program(path: Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def bare_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))


def test_none_is_there() -> None:
    assert find_chromium() is None


def test_the_first_that_runs_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "chromium-browser", ONLY_ADVISES)
    chrome = program(tmp_path / "bin" / "google-chrome", WORKS)
    assert find_chromium() == chrome


def test_a_snap_is_passed_by(tmp_path: Path) -> None:
    snap = program(tmp_path / "snap" / "chromium", WORKS)
    (tmp_path / "bin").mkdir()
    os.symlink(snap, tmp_path / "bin" / "chromium")
    assert find_chromium() is None


def test_playwrights_own_download_is_found(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "chromium-browser", ONLY_ADVISES)
    asked = subprocess.run(
        [sys.executable, "-m", "playwright", "install", "--dry-run", "chromium"],
        capture_output=True,
        text=True,
    )
    directory = next(
        line.split(":", 1)[1].strip() for line in asked.stdout.splitlines() if "Install location" in line
    )
    chrome = program(Path(directory) / "chrome-linux64" / "chrome", WORKS)
    assert find_chromium() == chrome


def test_a_named_one_is_taken_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "chromium", WORKS)
    monkeypatch.setenv("CHROMIUM", program(tmp_path / "mine", WORKS))
    assert find_chromium() == str(tmp_path / "mine")
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "absent"))
    assert find_chromium() is None
