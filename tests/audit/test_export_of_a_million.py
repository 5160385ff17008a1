"""A million events, little memory, and a process that is killed again and again. For ``make torture``."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.audit.many_events import store_many
from tests.endpoint import child_environment
from tests.programs import ROOT

MANY = 1_000_000
MEMORY_BYTES = 256 * 1024 * 1024
KILLED_AT = [0.1, 0.3, 0.6, 0.85]
"""Parts of the file, of about 500 bytes an event."""
END_SECONDS = 600


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def export(path: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "manage.py", "audit_export", "jsonl", "--resume", "--output", str(path)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=limited)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.torture
@pytest.mark.django_db(transaction=True)
def test_a_million_events_are_exported_in_little_memory_whatever_kills_the_process(tmp_path: Path) -> None:
    store_many(1, MANY)
    path, part = tmp_path / "events.jsonl", tmp_path / "events.jsonl.part"
    environment = {**os.environ, **child_environment(tmp_path / "var")}
    for share in KILLED_AT:
        with export(path, environment) as process:
            while process.poll() is None and size(part) < share * MANY * 500:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
        assert not path.exists()
    with export(path, environment) as process:
        assert process.wait(END_SECONDS) == 0
    count = 0
    with path.open() as lines:
        for line in lines:
            count += 1
            assert json.loads(line)["topic"] == f"dev/{count}/state"
    assert count == MANY
    assert sorted(tmp_path.glob("events.jsonl*")) == [path]
