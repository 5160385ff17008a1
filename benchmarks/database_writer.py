"""Somebody who changes the database: another process, as the web interface is one.

``python -m benchmarks.database_writer`` reads one change a line from standard input, commits it
and answers with the time at which that was done, on the clock that all processes share.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import processes
from benchmarks.databases import Database
from exhookadmin.exhook.lifetime import end_with_parent

RULE = "plant/manual"
"""The topic that the rule of `Writer.set_rule` is about."""


class Writer:
    """The other side of that process. Each method answers when its change was committed."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._log = (directory / "writer.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.database_writer"],
            cwd=processes.ROOT,
            env={**processes.clean_environment(), **database.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def set_enabled(self, device: str, enabled: bool) -> float:
        """Switches a device on or off."""
        return self._do(what="enabled", device=device, on=enabled)

    def set_rule(self, stored: bool) -> float:
        """Adds a rule to the fleet's policy, or deletes it again."""
        return self._do(what="rule", on=stored)

    def _do(self, **change: Any) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(change).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise processes.ProcessFailed(f"the writer ended; its log is {self._log.name}")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(processes.STOP_SECONDS)
        self._process.stdout.close()
        self._log.close()


def serve() -> None:
    """Until standard input ends."""
    import django

    django.setup()
    from accounts.models import Device
    from accounts.services import set_enabled
    from acl.models import Policy, Rule
    from acl.services import create_rule, delete_rule
    from benchmarks.devices import PUMPS

    policy = Policy.objects.get(name=PUMPS.group)
    for line in sys.stdin:
        change = json.loads(line)
        if change["what"] == "enabled":
            set_enabled(Device.objects.filter(username=change["device"]), change["on"])
        elif change["on"]:
            create_rule(policy, "allow", "publish", RULE)
        else:
            delete_rule(Rule.objects.get(topic_filter=RULE))
        print(time.monotonic(), flush=True)


if __name__ == "__main__":
    end_with_parent()
    serve()
