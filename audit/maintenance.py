"""The upkeep of the log: partitions ahead of time, and what has expired taken away.

Done every hour by the supervisor and at will by ``manage.py audit_maintain``. It may be killed at any
moment and run twice at the same time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from django.db import connection
from django.utils import timezone

from audit import expiry
from audit import partitions_postgresql as postgresql
from audit.kept_beside import Kept, kept_beside
from audit.models import Event, Maintenance
from audit.partitions import AHEAD, expired, length_for, missing, outgrown, span_for
from audit.partitions_postgresql import Busy, Locked
from audit.retention import NOTHING_EXPIRES, Horizons, KindGroup, horizons, retention_days
from audit.trusted_clock import DOUBT, ClockRecord, observe

__all__ = ["Busy", "Outcome", "maintain"]

THE_ROW = 1
END_OF_TIME = datetime.max.replace(tzinfo=UTC)

Say = Callable[[str], None]


@dataclass
class Outcome:
    """How a run ended. Problems are what it could not do, warnings what somebody should look at."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)
    """Events in no partition but the default one, by group of kinds; empty on SQLite."""


def maintain(
    say: Say, *, now: datetime | None = None, dry_run: bool = False, trust_clock: bool = False
) -> Outcome:
    """Does what is due ``now`` (by the database's clock) and tells it in plain words; with ``dry_run``
    only tells it.

    ``trust_clock``: the clock is right although it has leapt. Raises Busy when another process does
    the same at this moment, django.db.Error when the database is away.
    """
    if now is None:
        now = postgresql.clock() if _is_partitioned() else timezone.now()
    clock = _observed(now, trust_clock)
    outcome = Outcome()
    if not clock.trusted:
        outcome.warnings.append(_doubt(clock, now))
    limits = horizons(now) if clock.trusted else NOTHING_EXPIRES
    run = _Run(now, limits, outcome, say, dry_run)
    if _is_partitioned():
        for group in KindGroup:
            run.keep_partitions(group)
    else:
        for group in KindGroup:
            run.delete_events(group)
    run.delete_the_rest()
    if clock.trusted:
        for kept, horizon in kept_beside(now):
            run.delete_beside(kept, horizon)
    if not dry_run:
        _remember(clock, outcome, now)
    return outcome


@dataclass(frozen=True)
class _Run:
    now: datetime
    limits: Horizons
    outcome: Outcome
    say: Say
    dry_run: bool

    def keep_partitions(self, group: KindGroup) -> None:
        # First what new events need, then what is only in the way.
        for step in (self._create, self._drop, self._empty_default, self._count_outside):
            try:
                step(group)
            except Locked as problem:
                self.outcome.problems.append(f"{problem} It is tried again at the next run.")

    def delete_events(self, group: KindGroup) -> None:
        if horizon := self.limits.of_groups[group]:
            self._delete(
                f"{group}: events",
                horizon,
                partial(expiry.count_events, group),
                partial(expiry.delete_events, group),
            )

    def delete_the_rest(self) -> None:
        if horizon := self.limits.of_sessions:
            self._delete("ended sessions", horizon, expiry.count_ended_sessions, expiry.delete_ended_sessions)
        if horizon := self.limits.of_everything:
            self._delete(
                "links of the hash chain", horizon, expiry.count_chain_links, expiry.delete_chain_links
            )

    def delete_beside(self, kept: Kept, horizon: datetime) -> None:
        self._delete(
            kept.what,
            horizon,
            lambda before: kept.older_than(before).count(),
            lambda before: expiry.delete_rows(kept.older_than(before)),
        )

    def _create(self, group: KindGroup) -> None:
        existing = [one.span for one in postgresql.partitions(group)]
        moved = 0
        for span in missing(existing, self.now, length_for(retention_days(group))):
            if self.dry_run:
                self.say(f"{group}: would create the partition for {span}")
            else:
                moved += postgresql.attach(group, span, self.say)
        self._tidy(group, moved)

    def _drop(self, group: KindGroup) -> None:
        horizon, length = self.limits.of_groups[group], length_for(retention_days(group))
        existing = postgresql.partitions(group)
        for one in expired(existing, horizon):
            if self.dry_run:
                self.say(f"{group}: would drop the partition for {one.span}")
            else:
                postgresql.drop(group, one)
                self.say(f"{group}: dropped the partition for {one.span}")
        tables = [one.table for one in outgrown(existing, horizon, length)]
        if horizon is not None:
            for table in [*tables, postgresql.default_of(group)]:
                self._delete(
                    f"{group}: events in {table}",
                    horizon,
                    partial(postgresql.count_before, table),
                    partial(postgresql.delete_before, table),
                )

    def _empty_default(self, group: KindGroup) -> None:
        """Creates the partitions that events in the default one belong to, but for those far ahead."""
        length, moved = length_for(retention_days(group)), 0
        since, until = self.limits.of_groups[group], self.now + AHEAD
        while (oldest := postgresql.oldest_outside(group, since, until)) is not None:
            existing = [one.span for one in postgresql.partitions(group)]
            span = span_for(oldest, existing, length)
            if self.dry_run:
                self.say(f"{group}: would create the partition for {span}, with rows from the default one")
                since = span.end
            else:
                moved += postgresql.attach(group, span, self.say)
        self._tidy(group, moved)

    def _count_outside(self, group: KindGroup) -> None:
        count = self.outcome.outside[group] = postgresql.count_outside(group)
        oldest = postgresql.oldest_outside(group, None, END_OF_TIME)
        if oldest is None:
            return
        many = f"{count} or more" if count == postgresql.MOST_COUNTED else str(count)
        if oldest < self.now + AHEAD:
            why = "Maintenance has not moved them yet."
        else:
            why = "The clock of a machine that runs the endpoint is, or was, wrong."
        self.outcome.warnings.append(
            f"{group}: {many} events are outside of all partitions, the first of {_minute(oldest)}. {why}"
        )

    def _tidy(self, group: KindGroup, moved: int) -> None:
        if moved:
            postgresql.tidy_default(group)

    def _delete(
        self,
        what: str,
        horizon: datetime,
        count: Callable[[datetime], int],
        delete: Callable[[datetime], int],
    ) -> None:
        number = count(horizon) if self.dry_run else delete(horizon)
        if number:
            done = "would delete" if self.dry_run else "deleted"
            self.say(f"{what}: {done} {number} from before {_minute(horizon)}")


def _is_partitioned() -> bool:
    return connection.vendor == "postgresql"


def _observed(now: datetime, trust_clock: bool) -> ClockRecord:
    row = Maintenance.objects.filter(pk=THE_ROW).first()
    if trust_clock:
        return ClockRecord(now, now)
    if row is not None:
        return observe(ClockRecord(row.clock_trusted_at, row.clock_seen_at, row.clock_doubted_since), now)
    # At the first run the log itself is the witness.
    newest = Event.objects.order_by("-time", "-id").values_list("time", flat=True).first()
    known = now if newest is None else min(newest, now)
    return observe(ClockRecord(known, known), now)


def _doubt(clock: ClockRecord, now: datetime) -> str:
    return (
        f"The database’s clock says {_minute(now)}, and was trusted last at {_minute(clock.trusted_at)}: "
        "either no maintenance ran in between, or the clock is wrong. Nothing is deleted until it says "
        f"{_minute((clock.doubted_since or now) + DOUBT)}. If it is wrong, correct it before; "
        "if it is right, wait, or run: manage.py audit_maintain --trust-clock"
    )


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _remember(clock: ClockRecord, outcome: Outcome, now: datetime) -> None:
    known: dict[str, object] = {
        "warnings": [*outcome.problems, *outcome.warnings],
        "outside": outcome.outside,
        "clock_trusted_at": clock.trusted_at,
        "clock_seen_at": clock.seen_at,
        "clock_doubted_since": clock.doubted_since,
    }
    if not outcome.problems:
        known["done_at"] = now
    Maintenance.objects.update_or_create(pk=THE_ROW, defaults=known)
