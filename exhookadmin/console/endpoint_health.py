"""What a reading of the endpoint means, in plain words: figures for the page, and what somebody should do.

Pure: a reading in, texts out.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exhookadmin.console.endpoint_reading import Reading
from exhookadmin.console.figures import Figures

LOGINS_WITHOUT_ACCESS = 10
"""So many admitted logins without a single question about a topic are no chance: every client asks at
its first publish or subscription."""
MANY_WAITING = 10_000
"""Facts. The writer takes 5,000 at once: more are a queue."""
SPOOL_SHARE = 0.5
LAG_SECONDS = 10.0
"""A feed that is well has heard of the database in the last few seconds."""
MEGABYTE = 1_000_000

_WORKER = re.compile(r"^worker \d+: ")


@dataclass(frozen=True, slots=True)
class Caution:
    """``grave`` is what devices feel, or what is lost; the rest wants somebody's eye."""

    title: str
    advice: str = ""
    grave: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the endpoint's state."""

    title: str
    text: str
    note: str = ""


def cautions(reading: Reading, spool_megabytes: int) -> list[Caution]:
    """What to look at, gravest first. ``spool_megabytes`` bounds each spool (EXHOOK_SPOOL_MEGABYTES)."""
    if reading.problem:
        return [Caution("Nothing is known of the endpoint", reading.problem)]
    found = [Caution(text, "The endpoint is not ready for calls.", True) for text in _merged(reading.unfit)]
    found += [Caution(text) for text in _merged(reading.cautions)]
    for check in _CHECKS:
        found += check(reading.figures)
    found += _spool(reading.figures, spool_megabytes)
    return sorted(found, key=lambda caution: not caution.grave)


def figures_of(reading: Reading) -> list[Figure]:
    """The state in a few lines; nothing where nothing was read."""
    if reading.problem:
        return []
    figures = reading.figures
    return [
        Figure(
            "Workers ready",
            f"{figures.total('exhook_worker_ready'):.0f} of {figures.total('exhook_workers'):.0f}",
        ),
        _answer_time(figures, "Logins", "client.authenticate"),
        _answer_time(figures, "Publish and subscribe", "client.authorize"),
        _memory(figures),
        Figure(
            "Facts waiting for the database",
            f"{figures.total('exhook_facts_waiting'):,.0f}",
            f"spools take {figures.total('exhook_spool_bytes') / MEGABYTE:,.1f} MB",
        ),
        Figure(
            "Changes",
            "heard at once" if figures.lowest("exhook_feed_up") else "not heard",
            f"certain up to {figures.highest('exhook_feed_lag_seconds') or 0:.1f} s ago",
        ),
        Figure("Database", "answers" if figures.lowest("exhook_database_up") else "away"),
        Figure("Policies in force", f"{figures.highest('exhook_policies') or 0:.0f}"),
    ]


def _answer_time(figures: Figures, title: str, hook: str) -> Figure:
    calls = figures.total("exhook_calls_total", hook=hook)
    end = figures.within("exhook_call_duration_seconds", 0.99, hook=hook)
    if end is None:
        return Figure(title, "none yet")
    within = "more than 5 s" if math.isinf(end) else _seconds(end)
    return Figure(title, f"{calls:,.0f}", f"99 of 100 answered within {within}")


def _memory(figures: Figures) -> Figure:
    lookups = figures.by("exhook_device_lookups_total", "result")
    asked = sum(lookups.values())
    share = f"{lookups.get('hit', 0) / asked:.1%} of questions answered from it" if asked else "not asked yet"
    return Figure("Devices in memory", f"{figures.total('exhook_devices_held'):,.0f}", share)


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"


def _merged(texts: tuple[str, ...]) -> list[str]:
    """What several workers say alike is said once, with how many say it."""
    sayers: dict[str, int] = {}
    for text in texts:
        said = _WORKER.sub("", text)
        sayers[said] = sayers.get(said, 0) + 1
    return [text if number == 1 else f"{text} ({number} workers)" for text, number in sayers.items()]


def _never_asked(figures: Figures) -> Iterator[Caution]:
    admitted = figures.total("exhook_calls_total", hook="client.authenticate", outcome="allow")
    asked = figures.total("exhook_calls_total", hook="client.authorize")
    if admitted >= LOGINS_WITHOUT_ACCESS and not asked:
        yield Caution(
            "Logins arrive, but questions about topics never do: EMQX’s file source answers first",
            f"{admitted:,.0f} logins were admitted since the endpoint was started, and EMQX asked about no "
            "publish or subscription: no rule here is in force. On EMQX 5 and 6: under Access Control → "
            "Authorization switch off “File” (its acl.conf ends in “allow all”), and under Settings set “No "
            "match” to deny. On 4.x: remove “{allow, all}.” from etc/acl.conf.",
            True,
        )


def _dropped(figures: Figures) -> Iterator[Caution]:
    kinds = figures.by("exhook_facts_dropped_total", "kind")
    if kinds:
        listed = ", ".join(f"{kind} {number:,.0f}" for kind, number in sorted(kinds.items()))
        yield Caution(
            f"{sum(kinds.values()):,.0f} facts were dropped since the endpoint was started",
            f"The spool or its disk was full; they are missing in the audit log ({listed}). Make room, and "
            "see that the database keeps up.",
            True,
        )


def _feed(figures: Figures) -> Iterator[Caution]:
    lag = figures.highest("exhook_feed_lag_seconds")
    if figures.lowest("exhook_feed_up") == 0 or (lag is not None and lag > LAG_SECONDS):
        yield Caution(
            "Changes made here may not be in force yet",
            f"A worker has not heard of changes in the database for {lag or 0:,.0f} s. It reconnects by "
            "itself; if it does not, look at the endpoint’s log.",
            True,
        )


def _dead_letters(figures: Figures) -> Iterator[Caution]:
    letters = figures.highest("exhook_dead_letters")
    if letters:
        yield Caution(
            f"{letters:,.0f} facts were refused by the database and set aside",
            "List them, and write them again, with “manage.py audit_dead_letters”.",
        )


def _shed(figures: Figures) -> Iterator[Caution]:
    shed = figures.total("exhook_bulkhead_shed_total")
    if shed:
        yield Caution(
            f"{shed:,.0f} pieces of work were given up under overload since the endpoint was started",
            "Those clients were denied. Prefer tokens to passwords, add workers or cores, or look at the "
            "database.",
        )


def _restarted(figures: Figures) -> Iterator[Caution]:
    restarts = figures.total("exhook_process_restarts_total")
    if restarts:
        yield Caution(
            f"Processes of the endpoint died and were replaced {restarts:,.0f} times",
            "The endpoint’s log says which, and how they ended.",
        )


def _spool(figures: Figures, spool_megabytes: int) -> Iterator[Caution]:
    waiting = figures.total("exhook_facts_waiting")
    largest = figures.highest("exhook_spool_bytes") or 0
    full = largest > SPOOL_SHARE * spool_megabytes * MEGABYTE
    if waiting > MANY_WAITING or full:
        yield Caution(
            f"The spool grows: {waiting:,.0f} facts wait for the database",
            f"The fullest spool takes {largest / MEGABYTE:,.0f} of {spool_megabytes:,} MB; when it is full, "
            "facts are dropped. The database is away, or slower than what is recorded: see EXHOOK_HOOKS.",
            full,
        )


_CHECKS: tuple[Callable[[Figures], Iterator[Caution]], ...] = (
    _never_asked,
    _dropped,
    _feed,
    _dead_letters,
    _shed,
    _restarted,
)
