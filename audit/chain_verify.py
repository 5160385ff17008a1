"""Verifying the hash chains: what was changed, removed, inserted or cut off, in constant memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Min, QuerySet, Sum

from audit.chain import UNKEYED, Method, beginning, content_of, digest_of, seal_of
from audit.chain_heads import Head
from audit.fact import Kind
from audit.models import Chain, ChainLink, Event
from audit.rows import COLUMNS

LINKS_AT_ONCE = 1_000
DAY = timedelta(days=1)

Horizon = Callable[[str], datetime | None]
"""For a kind, before when its events have expired; None while they are kept for ever."""


class Problem(StrEnum):
    """What is wrong, in words for people."""

    CHANGED = "the event was changed after it was stored"
    REMOVED = "the event was removed"
    INSERTED = "the event has no link: it was inserted past the writer, or its link was removed"
    LINK_REMOVED = "a link was removed here"
    LINK_CHANGED = "the link was changed, or made without the key"
    CUT = "the chain’s end was cut off here"
    SEAL = "the chain’s length or last digest was changed, or written without the key"
    NO_KEY = "it was made with a key that is not given here"
    UNKEYED = "it was made without a key, although there is one"
    GONE = "the chain is gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing wrong with a chain, or with a day's events."""

    problem: Problem
    day: date
    chain: str = ""
    number: int | None = None
    event_id: UUID | None = None
    event_time: datetime | None = None

    def __str__(self) -> str:
        where = [str(self.day)]
        if self.chain:
            where.append(f"chain of {self.chain}")
        if self.number is not None:
            where.append(f"link {self.number}")
        if self.event_id is not None and self.event_time is not None:
            where.append(f"event {self.event_id} of {self.event_time.astimezone(UTC).isoformat()}")
        return f"{', '.join(where)}: {self.problem}."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a chain. Of ``links``, ``expired`` tell of events that retention has deleted."""

    day: date
    chain: str
    links: int = 0
    expired: int = 0
    finding: Finding | None = None


def kept_for_ever(kind: str) -> None:
    """The horizon where nothing expires."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows the keys, as ``methods`` by name, and what has expired.

    ``keyed`` is whether a key is in use: then chains without one are accepted up to ``unkeyed_until`` only.
    """

    methods: Mapping[str, Method]
    keyed: bool = False
    unkeyed_until: date | None = None
    horizon: Horizon = kept_for_ever

    def verdict(self, chain: Chain) -> Verdict:
        """Follows a chain from its first link to its last, or to the first that is wrong."""
        name = f"{chain.writer} ({chain.method})"
        if self.has_expired(chain.day):
            return Verdict(chain.day, name, chain.count, chain.count)
        method = self.methods.get(chain.method)
        problem = self._objection(chain, method)
        if method is None or problem is not None:
            problem = problem or Problem.NO_KEY
            return Verdict(chain.day, name, finding=Finding(problem, chain.day, name))
        links, expired, before = 0, 0, beginning(chain.writer, chain.day, method)
        for batch in _batches(chain):
            stored = _events_of(batch)
            for link in batch:
                row = stored.get(link.event_id)
                wrong = _wrong_link(link, links, before, method) or self._wrong_event(link, row, method)
                if wrong is Problem.LINK_REMOVED:
                    return Verdict(chain.day, name, links, expired, Finding(wrong, chain.day, name, links))
                if wrong is not None:
                    finding = Finding(wrong, chain.day, name, links, link.event_id, link.event_time)
                    return Verdict(chain.day, name, links, expired, finding)
                links += 1
                expired += row is None
                before = link.digest
        if links < chain.count:
            return Verdict(chain.day, name, links, expired, Finding(Problem.CUT, chain.day, name, links))
        if before != chain.digest:
            return Verdict(chain.day, name, links, expired, Finding(Problem.SEAL, chain.day, name))
        return Verdict(chain.day, name, links, expired)

    def has_expired(self, day: date) -> bool:
        """Whether retention may delete all of a day: events of every kind, and then their links."""
        horizons = [self.horizon(kind) for kind in Kind]
        return all(horizon is not None and _begin(day + DAY) <= horizon for horizon in horizons)

    def wrong_head(self, head: Head) -> Finding | None:
        """Whether the chain does not go as far any more as when the head was kept.

        Says nothing of the links before: verify their chain as well.
        """
        if self.has_expired(head.day) or head.count == 0:
            return None
        name = f"{head.writer} ({head.method})"
        links = ChainLink.objects.filter(day=head.day, writer=head.writer, method=head.method)
        digests = dict(links.filter(number=head.count - 1).values_list("number", "digest"))
        if digests.get(head.count - 1) == head.digest:
            return None
        if digests:
            return Finding(Problem.LINK_CHANGED, head.day, name, head.count - 1)
        last = links.order_by("-number").values_list("number", flat=True).first()
        return Finding(Problem.GONE if last is None else Problem.CUT, head.day, name, last)

    def _objection(self, chain: Chain, method: Method | None) -> Problem | None:
        if method is None:
            return Problem.NO_KEY
        accepted = self.unkeyed_until is not None and chain.day <= self.unkeyed_until
        if self.keyed and chain.method == UNKEYED and not accepted:
            return Problem.UNKEYED
        return None if chain.seal == seal_of(chain, method) else Problem.SEAL

    def _wrong_event(self, link: ChainLink, row: Sequence[Any] | None, method: Method) -> Problem | None:
        if row is not None:
            return None if content_of(row, method) == link.content else Problem.CHANGED
        horizon = self.horizon(link.event_kind)
        if horizon is not None and link.event_time < horizon:
            return None
        # With another time it is not where its link says that it is.
        return Problem.CHANGED if Event.objects.filter(pk=link.event_id).exists() else Problem.REMOVED


def _wrong_link(link: ChainLink, number: int, before: str, method: Method) -> Problem | None:
    if link.number != number:
        return Problem.LINK_REMOVED
    told = (link.event_id, link.event_time, link.event_kind, link.content)
    return None if link.digest == digest_of(before, number, *told, method) else Problem.LINK_CHANGED


def _batches(chain: Chain) -> Iterator[list[ChainLink]]:
    """The links that the chain had when it was read, in order; the writer may be adding more."""
    number = -1
    while True:
        links = ChainLink.objects.filter(day=chain.day, writer=chain.writer, method=chain.method)
        batch = list(
            links.filter(number__gt=number, number__lt=chain.count).order_by("number")[:LINKS_AT_ONCE]
        )
        if not batch:
            return
        yield batch
        number = batch[-1].number


def _events_of(links: Sequence[ChainLink]) -> dict[UUID, tuple[Any, ...]]:
    """The events of the links, where the links say that they are; the times are for the partitions."""
    times = [link.event_time for link in links]
    rows = Event.objects.filter(
        time__gte=min(times), time__lte=max(times), pk__in=[link.event_id for link in links]
    )
    return {row[0]: row for row in rows.values_list(*COLUMNS)}


def days(chains: "QuerySet[Chain]", since: date, until: date) -> Iterator[date]:
    """The days, from one to another (included), that have chains, or events while chains were made."""
    began = beginning_of_chains()
    day: date | None = since
    while day is not None and day <= until:
        chained: date | None = chains.filter(day__gte=day).aggregate(Min("day"))["day__min"]
        found = [] if chained is None else [chained]
        if began is not None:
            stored = Event.objects.filter(time__gte=max(began, _begin(day))).order_by("time")
            found += [moment.astimezone(UTC).date() for moment in stored.values_list("time", flat=True)[:1]]
        day = min(found, default=None)
        if day is not None and day <= until:
            yield day
            day = day + DAY


def beginning_of_chains() -> datetime | None:
    """Since when chains are made, as far as is still known: events before that may have no link."""
    moment: datetime | None = Chain.objects.aggregate(Min("started_at"))["started_at__min"]
    return moment


def verify_day(verifier: Verifier, chains: "QuerySet[Chain]", day: date, whole: bool) -> Iterator[Verdict]:
    """A verdict on each of the chains that are of the day; last, one with what has no link, if anything has.

    The last is for ``whole`` days only: when the chains are those of all writers.
    """
    said, stored = _links_said(day), _events_stored(day)
    there = 0
    for chain in chains.filter(day=day).order_by("writer", "method"):
        verdict = verifier.verdict(chain)
        there += verdict.links - verdict.expired
        yield verdict
    began = beginning_of_chains()
    if not whole or began is None or verifier.has_expired(day) or _begin(day + DAY) <= began:
        return
    # Counting suffices where nothing was stored meanwhile, and every event is of a time with chains.
    if stored == there and _links_said(day) == said and began <= _begin(day):
        return
    finding = first_without_link(day)
    if finding is not None:
        yield Verdict(day, "", finding=finding)


def _links_said(day: date) -> int:
    """How many links the day's chains say that they have."""
    return Chain.objects.filter(day=day).aggregate(Sum("count"))["count__sum"] or 0


def _events_stored(day: date) -> int:
    return Event.objects.filter(time__gte=_begin(day), time__lt=_begin(day + DAY)).count()


def first_without_link(day: date) -> Finding | None:
    """The day's first event, since chains are made, that no link tells of. Reads the whole day."""
    began = beginning_of_chains()
    begin = _begin(day) if began is None else max(began, _begin(day))
    events = Event.objects.filter(time__gte=begin, time__lt=_begin(day + DAY)).order_by("time", "pk")
    linked = ChainLink.objects.filter(day=day, event_time__gte=begin).order_by("event_time", "event_id")
    each = events.values_list("time", "pk").iterator(LINKS_AT_ONCE)
    event = next(each, None)
    # Begun after the events were: what is stored meanwhile has a link here or nothing, never an event alone.
    links = linked.values_list("event_time", "event_id").iterator(LINKS_AT_ONCE)
    link = next(links, None)
    while event is not None:
        while link is not None and link < event:
            link = next(links, None)
        if link != event:
            return Finding(Problem.INSERTED, day, event_id=event[1], event_time=event[0])
        event = next(each, None)
    return None


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
