"""The history of what people and programs changed: written when services announce it, read in the admin."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.changes import Actor, Change
from exhookadmin.staff.models import RecordedChange

MEMBERS_KEPT = 100
"""Of a set, so many members that came or went are named; the rest is counted."""

_ROWS_AT_ONCE = 1_000


def record(actor: Actor, changes: Iterable[Change]) -> None:
    """Writes one row for each change, in the transaction that the change is made in."""
    now = timezone.now()
    rows = [_row(actor, change, now) for change in changes]
    RecordedChange.objects.bulk_create(rows, batch_size=_ROWS_AT_ONCE)


def history_of(kind: str, object_id: int) -> QuerySet[RecordedChange]:
    """What was changed of one object and of what belongs to it, newest first."""
    return RecordedChange.objects.filter(part_of_kind=kind, part_of_id=object_id).order_by("-time", "-id")


def _row(actor: Actor, change: Change, now: datetime) -> RecordedChange:
    before, after = _difference(change)
    part_of_kind, part_of_id = change.part_of or (change.kind, change.object_id)
    return RecordedChange(
        time=now,
        actor=actor.name,
        user_id=actor.user_id,
        channel=actor.channel.value,
        address=actor.address,
        verb=change.verb.value,
        kind=change.kind,
        object_id=change.object_id,
        name=change.name,
        part_of_kind=part_of_kind,
        part_of_id=part_of_id,
        before=before,
        after=after,
    )


def _difference(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is worth keeping: of a change what differs, of what came or went what is not empty."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in (change.after if change.after is not None else change.before) or {}:
        was, becomes = change.was(name), change.becomes(name)
        if isinstance(was, frozenset) or isinstance(becomes, frozenset):
            old, new = frozenset(was or ()), frozenset(becomes or ())
            was, becomes = _members(old - new), _members(new - old)
        if was == becomes:
            continue
        if change.before is not None and (change.after is not None or not _is_empty(was)):
            before[name] = was
        if change.after is not None and (change.before is not None or not _is_empty(becomes)):
            after[name] = becomes
    return before, after


def _members(members: frozenset[str]) -> list[str]:
    named = sorted(members)[:MEMBERS_KEPT]
    more = len(members) - len(named)
    return [*named, f"and {more:,} more"] if more else named


def _is_empty(value: object) -> bool:
    return value is None or value == "" or value == [] or value == {}


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a change, in words. Of a set, ``before`` is what was taken out, ``after`` what came in."""

    field: str
    before: str
    after: str


def lines(change: RecordedChange) -> Iterator[Line]:
    """The fields of a recorded change, as people read them."""
    # PostgreSQL keeps the names in an order of its own.
    for name in sorted({**change.before, **change.after}):
        yield Line(name.replace("_", " "), _words(change.before.get(name)), _words(change.after.get(name)))


def _words(value: Any) -> str:
    match value:
        case True:
            return "on"
        case False:
            return "off"
        case None:
            return ""
        case list():
            return ", ".join(value)
        case dict():
            return ", ".join(f"{name}={text}" for name, text in sorted(value.items()))
        case str() if (moment := _moment(value)) is not None:
            return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
    return str(value)


def _moment(text: str) -> datetime | None:
    # Only what JSON made of a moment, which ends in a time zone.
    if len(text) < 20 or "T" not in text:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is not None and timezone.is_aware(moment) else None
