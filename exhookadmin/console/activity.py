"""Connects, refusals and denials by hour, counted so that no length of the log makes a page slow.

Of each hour and kind at most ``MOST_AN_HOUR`` rows are looked at, through the index of a kind's times. A
past hour is counted once and remembered for a while; what time does not suffice for is told as not counted,
and the next look goes on with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.core.cache import cache
from django.db import connection

from audit.fact import Kind
from audit.models import Event
from exhookadmin.console.chart import Amount, Chart, chart_of

HOURS = 24
MOST_AN_HOUR = 10_000
BUDGET_SECONDS = 0.5
AT_ONCE = 4
"""Hours of one query."""
HOUR = timedelta(hours=1)
REMEMBERED_SECONDS = 600
REMEMBERED_SECONDS_NOW = 15
"""The hour that has not ended."""

KINDS = (Kind.CONNECTED, Kind.AUTHENTICATE, Kind.AUTHORIZE)
SERIES = (
    ("connects", "Connects", Kind.CONNECTED),
    ("refusals", "Refused logins", Kind.AUTHENTICATE),
    ("denials", "Denied topics", Kind.AUTHORIZE),
)
Counts = dict[str, tuple[int, bool]]
"""Of one hour: by kind how many, repeats included, and whether there are more."""

# What was allowed is there by sampling only, and is not what these kinds are counted for.
_COUNT = f"""
    SELECT asked.number, asked.kind, (
        SELECT count(*) || ' ' || coalesce(sum(newest.counted), 0)
        FROM (
            SELECT CASE WHEN allowed THEN 0 ELSE 1 + repeats END AS counted
            FROM {Event._meta.db_table} AS event
            WHERE event.kind = asked.kind AND event.time >= asked.since AND event.time < asked.until
            ORDER BY event.time DESC, event.id DESC LIMIT {MOST_AN_HOUR}
        ) AS newest
    )
    FROM (
        SELECT column1 AS number, column2 AS kind, column3 AS since, column4 AS until
        FROM (VALUES {{rows}}) AS given
    ) AS asked
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of what happened, from the oldest hour to this one."""

    name: str
    title: str
    kind: Kind
    chart: Chart


def activity(now: datetime) -> list[Series]:
    """The last ``HOURS`` hours; the last of them is the one that ``now`` is in."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - HOUR * back for back in range(HOURS)]
    counts = _counted(hours)
    return [
        Series(name, title, kind, chart_of([_amount(hour, counts.get(hour), kind) for hour in hours[::-1]]))
        for name, title, kind in SERIES
    ]


def _amount(hour: datetime, counts: Counts | None, kind: Kind) -> Amount:
    value, more = counts[kind.value] if counts else (None, False)
    return Amount(f"{hour:%H}:00", value, more)


def _counted(hours: Sequence[datetime]) -> dict[datetime, Counts]:
    """As many of the hours as time suffices for, those that come first before the others."""
    keys = {f"exhook-activity-{hour:%Y%m%d%H}": hour for hour in hours}
    found = {keys[key]: counts for key, counts in cache.get_many(keys).items()}
    missing = [hour for hour in hours if hour not in found]
    until = monotonic() + BUDGET_SECONDS
    while missing and monotonic() < until:
        fresh = _count(missing[:AT_ONCE])
        found |= fresh
        del missing[:AT_ONCE]
        for hour, counts in fresh.items():
            seconds = REMEMBERED_SECONDS_NOW if hour == hours[0] else REMEMBERED_SECONDS
            cache.set(f"exhook-activity-{hour:%Y%m%d%H}", counts, seconds)
    return found


def _count(hours: Sequence[datetime]) -> dict[datetime, Counts]:
    asked = [(number, kind, hour) for number, hour in enumerate(hours) for kind in KINDS]
    adapt = connection.ops.adapt_datetimefield_value
    values = [
        value
        for number, kind, hour in asked
        for value in (number, kind.value, adapt(hour), adapt(hour + HOUR))
    ]
    rows = ", ".join(["(%s, %s, %s, %s)"] * len(asked))
    counts: dict[datetime, Counts] = {hour: {} for hour in hours}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(rows=rows), values)
        for number, kind, text in cursor.fetchall():
            looked, total = map(int, text.split())
            counts[hours[number]][kind] = (total, looked >= MOST_AN_HOUR)
    return counts
