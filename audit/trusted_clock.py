"""May what is old by the clock be deleted? Not while the clock may be wrong.

A clock that leaps ten years ahead makes the whole log look expired. So a leap is doubted: nothing is
deleted until the clock has gone on from there for a week, or somebody says that it is right.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# Maintenance runs every hour: a clock that has moved further since the last run has leapt, or nothing ran.
LEAP = timedelta(days=3)
# Time to notice the warning, and to mend the clock.
DOUBT = timedelta(days=7)
# While it is doubted, a leap further than this starts the doubt anew: the clock of who runs maintenance once
# a month is still believed the second time. One that went back so far was wrong before.
LONGEST_REST = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """What is known of the clock from earlier runs. All by the same clock."""

    trusted_at: datetime
    """The latest that it was when it was trusted."""
    seen_at: datetime
    """What it was at the last run."""
    doubted_since: datetime | None = None
    """What it was at the first run after it had leapt."""

    @property
    def trusted(self) -> bool:
        return self.doubted_since is None


def observe(record: ClockRecord, now: datetime) -> ClockRecord:
    """The record after a look at the clock. One that goes back is trusted: it makes nothing look older."""
    if now < record.trusted_at - LONGEST_REST:
        return ClockRecord(now, now)
    if now <= record.trusted_at + LEAP:
        return ClockRecord(max(record.trusted_at, now), now)
    since = record.doubted_since
    if since is None or not since <= now <= record.seen_at + LONGEST_REST:
        since = now
    if now - since >= DOUBT:
        return ClockRecord(now, now)
    return replace(record, seen_at=now, doubted_since=since)
