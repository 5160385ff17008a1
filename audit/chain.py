"""Evidence of tampering: each event that is stored makes a link, and each link seals all before it.

A chain belongs to one writer, so that writers never wait for each other, and to one day of the *events'*
times, so that what expires with its day takes whole chains along; a late fact lengthens the chain of an
old day. A link holds the event's digest beside its own: chains can be verified after events expired.

With a key (HMAC-SHA-256), whoever can write the database but does not have the key can make no link. Without
one (SHA-256) anybody can make a whole new chain, which only a head that was kept elsewhere gives away.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from audit.copying import insert_rows
from audit.models import Chain, ChainLink, Event
from audit.rows import COLUMNS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKEYED = "sha256"
NOBODY = "direct"
"""The writer of what came from no spool."""
LINK_COLUMNS = (
    "writer", "day", "method", "number", "event_id", "event_time", "event_kind", "content", "digest",
)  # fmt: skip
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_ID, _TIME, _KIND = (COLUMNS.index(name) for name in ("id", "time", "kind"))


@dataclass(frozen=True, slots=True)
class Method:
    """How digests are made. ``name`` tells one key from another, and nothing about it."""

    name: str
    key: bytes = field(default=b"", repr=False)

    def digest(self, *parts: object) -> str:
        """64 hexadecimal digits; which part ends where matters."""
        data = _encode(parts).encode()
        return hmac.digest(self.key, data, "sha256").hex() if self.key else hashlib.sha256(data).hexdigest()


def method_of(key: str) -> Method:
    """The method with this key; without a key for an empty text."""
    if not key:
        return Method(UNKEYED)
    name = hashlib.sha256(b"exhook audit chain key\n" + key.encode()).hexdigest()[:8]
    return Method(f"hmac-{name}", key.encode())


def chain_is_on() -> bool:
    """Whether events are linked as they are stored. Then no stored event is ever changed."""
    return bool(settings.EXHOOK_AUDIT_CHAIN)


def add_links(rows: Sequence[Sequence[Any]], writer: str = NOBODY) -> None:
    """Links events that were stored just now, in the same transaction; their values as in ``COLUMNS``.

    Does nothing where the chain is off.
    """
    if not rows or not chain_is_on():
        return
    method = method_of(settings.EXHOOK_AUDIT_CHAIN_KEY)
    # In order of days, so that two writers of one chain wait for each other and never in a circle.
    for day, of_day in groupby(sorted(rows, key=lambda row: (_day(row), row[_ID])), key=_day):
        _lengthen(writer, day, method, list(of_day))


def _day(row: Sequence[Any]) -> date:
    moment: datetime = row[_TIME]
    return moment.astimezone(UTC).date()


def _lengthen(writer: str, day: date, method: Method, rows: Sequence[Sequence[Any]]) -> None:
    chain, _ = Chain.objects.select_for_update().get_or_create(
        writer=writer,
        day=day,
        method=method.name,
        defaults={"started_at": timezone.now(), "digest": beginning(writer, day, method)},
    )
    links = []
    for number, row in enumerate(rows, chain.count):
        event, moment, kind, content = row[_ID], row[_TIME], row[_KIND], content_of(row, method)
        chain.digest = digest_of(chain.digest, number, event, moment, kind, content, method)
        place = (writer, day.isoformat(), method.name, number)
        links.append((*place, event, moment, kind, content, chain.digest))
    insert_rows(ChainLink._meta.db_table, LINK_COLUMNS, links)
    chain.count += len(links)
    chain.seal = seal_of(chain, method)
    chain.save(update_fields=["count", "digest", "seal"])


def beginning(writer: str, day: date, method: Method) -> str:
    """What stands for the link before the first: no link of one chain fits into another."""
    return method.digest("exhook audit chain, version 1", writer, day.isoformat())


def digest_of(
    before: str, number: int, event_id: UUID, time: datetime, kind: str, content: str, method: Method
) -> str:
    """What a link's digest must be after a link with the digest ``before``."""
    return method.digest("link", before, number, event_id.hex, microseconds(time), kind, content)


def seal_of(chain: Chain, method: Method) -> str:
    """What the chain's seal must be: it says how long the chain is, so that its end cannot be cut off."""
    return method.digest(
        "seal", chain.writer, chain.day.isoformat(), microseconds(chain.started_at), chain.count, chain.digest
    )


def content_of(row: Sequence[Any], method: Method) -> str:
    """The digest of an event's values, which are in the order of ``COLUMNS``.

    What is empty is left out: a column that a later version adds changes no digest of older events.
    """
    empty = _empty_values()
    told = [
        (name, _plain(value))
        for name, value, nothing in zip(COLUMNS, row, empty, strict=True)
        if value != nothing
    ]
    return method.digest("event", sorted(told))


@cache
def _empty_values() -> tuple[Any, ...]:
    fields = {field.attname: field for field in Event._meta.concrete_fields}
    return tuple(fields[name].get_default() for name in COLUMNS)


def _plain(value: Any) -> Any:
    """The same whether it is about to be stored or was read back, from whichever database."""
    if isinstance(value, UUID):
        return value.hex
    return microseconds(value) if isinstance(value, datetime) else value


def microseconds(moment: datetime) -> int:
    """Since the beginning of 1970, UTC."""
    return (moment - EPOCH) // timedelta(microseconds=1)
