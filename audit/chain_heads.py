"""Heads of hash chains: kept where nobody can reach both, they show whether a chain still goes as far."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from django.db.models import QuerySet

from audit.models import Chain

CHAINS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Head:
    """How long a chain was at some moment, and the digest of its last link then."""

    day: date
    writer: str
    method: str
    count: int
    digest: str

    def __str__(self) -> str:
        """A line of JSON."""
        parts = [self.day.isoformat(), self.writer, self.method, self.count, self.digest]
        return json.dumps(parts, ensure_ascii=False)


def read_head(line: str) -> Head:
    """Raises ValueError for what no head was written as."""
    try:
        day, writer, method, count, digest = json.loads(line)
        return Head(date.fromisoformat(day), str(writer), str(method), int(count), str(digest))
    except (ValueError, TypeError):
        raise ValueError("it is no head, as --save-heads writes one a line.") from None


def heads(chains: "QuerySet[Chain]") -> Iterator[Head]:
    """Where the chains stand now."""
    for chain in chains.order_by("day", "writer", "method").iterator(CHAINS_AT_ONCE):
        yield Head(chain.day, chain.writer, chain.method, chain.count, chain.digest)
