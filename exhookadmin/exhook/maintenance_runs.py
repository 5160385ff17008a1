"""When the supervisor has the audit log maintained, and what it heard of it."""

import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from django.conf import settings

from exhookadmin.exhook.metrics_totals import Totals

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "exhookadmin.exhook.maintenance")
# After the start the devices come first: all of them may be connecting.
FIRST_SECONDS = 5.0
EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 300.0
# Several machines that were started together must not go on coming together.
JITTER = 0.1
STOP_SECONDS = 5.0


class MaintenanceRuns:
    """Spawns one run after another; to be asked to ``tick`` often. Nothing here waits for the database."""

    def __init__(
        self, totals: Totals, first_seconds: float = FIRST_SECONDS, command: Sequence[str] = COMMAND
    ) -> None:
        self._totals = totals
        self._command = command
        self._due_at = time.monotonic() + first_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._results = dict.fromkeys(("done", "incomplete", "busy", "failed"), 0)
        self._failed = False
        self._done_at: float | None = None
        self._warnings: tuple[str, ...] = ()
        for result, count in self._results.items():
            self._totals.set("exhook_audit_maintenance_runs_total", (result,), count)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should look at."""
        if not self._failed:
            return self._warnings
        known = self._done_at and f"{datetime.fromtimestamp(self._done_at, UTC):%Y-%m-%d %H:%M} UTC"
        return (
            f"The audit log could not be maintained; the log says why. Last success: {known or 'never'}.",
            *self._warnings,
        )

    def tick(self) -> None:
        """Starts a run that is due, and takes the report of one that has ended."""
        if self._process is None:
            if time.monotonic() >= self._due_at:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=settings.BASE_DIR,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    # As with the workers, Ctrl-C is for the supervisor.
                    process_group=0,
                )
        elif self._process.poll() is not None:
            self._take_report(self._process)
            self._process = None

    def stop(self) -> None:
        """Ends a run in its midst, which does no harm: each of its steps is a transaction."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def _take_report(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.read()
        result = "failed"
        if process.returncode == 0:
            try:
                result = self._read(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                logger.exception("the report of a maintenance run cannot be read")
        else:
            logger.error("maintenance of the audit log failed", extra={"status": process.returncode})
        self._failed = result == "failed"
        self._results[result] += 1
        self._totals.set("exhook_audit_maintenance_runs_total", (result,), self._results[result])
        pause = EVERY_SECONDS if result in ("done", "busy") else AGAIN_SECONDS
        self._due_at = time.monotonic() + pause * random.uniform(1 - JITTER, 1 + JITTER)

    def _read(self, line: bytes) -> str:
        """The result. Raises what a report that is none raises."""
        report = json.loads(line)
        result, done_at = str(report["result"]), report["done_at"]
        if result not in self._results:
            raise ValueError(result)
        self._warnings = tuple(str(text) for text in report["warnings"])
        if done_at is not None:
            self._done_at = float(done_at)
            self._totals.set("exhook_audit_maintenance_success_timestamp_seconds", (), self._done_at)
        for group, count in report["outside"].items():
            self._totals.set("exhook_audit_events_outside_partitions", (group,), int(count))
        return result
