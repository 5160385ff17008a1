"""Folding: the same refusal of the same client again and again is one row that counts.

Pure: facts in; out come the rows to insert, and what to add to rows that are stored. A row covers
at most so many seconds after its first fact, so that whoever goes on being refused is seen to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from uuid import UUID

from msgspec import Struct, msgpack

from audit.fact import Fact, Kind

# A device, or who pretends to be one, can cause any number of these.
FOLDED = frozenset({Kind.AUTHENTICATE, Kind.AUTHORIZE, Kind.CONNACK})
REMEMBERED = 10_000
LONGEST_KEY = 256
"""In bytes. More than a digest has, so that no key can be taken for one."""

Key = bytes

_said = attrgetter(
    "kind", "reason", "device_id", "device", "client_id", "username", "address", "protocol", "cn", "node",
    "cluster", "action", "topic", "rule_id", "rule", "credential_id", "detail", "revision",
)  # fmt: skip
_pack = msgpack.Encoder().encode


class Row(Struct, gc=False):
    """A row to insert: a fact, and how many more facts, the latest of them when, told the same."""

    fact: Fact
    repeats: int = 0
    last_time: float | None = None

    def add(self, fact: Fact) -> None:
        """Counts another fact that tells the same."""
        self.repeats += 1
        self.last_time = fact.time if self.last_time is None else max(self.last_time, fact.time)


class First(Struct, frozen=True, gc=False):
    """What is remembered of a stored row: what it takes to find it again."""

    id: UUID
    time: float
    kind: Kind


@dataclass(slots=True)
class Addition:
    """Facts that a stored row is to count. Should that row be gone, they are the row ``instead``."""

    first: First
    instead: Row

    @property
    def count(self) -> int:
        """How many facts."""
        return self.instead.repeats + 1

    @property
    def last_time(self) -> float:
        """Of the latest of them."""
        instead = self.instead
        return instead.fact.time if instead.last_time is None else max(instead.last_time, instead.fact.time)


@dataclass(slots=True)
class Folded:
    """A batch, folded."""

    rows: list[Row] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    firsts: dict[Key, First] = field(default_factory=dict)
    """The rows of this batch that may be repeated."""

    def put_back(self, missing: set[UUID]) -> None:
        """The stored rows with these ids are gone: what they were to count becomes rows."""
        if not missing:
            return
        by_id = {first.id: key for key, first in self.firsts.items()}
        for addition in self.additions:
            if addition.first.id in missing:
                self.rows.append(addition.instead)
                if (key := by_id.get(addition.first.id)) is not None:
                    fact = addition.instead.fact
                    self.firsts[key] = First(fact.id, fact.time, fact.kind)
        self.additions = [addition for addition in self.additions if addition.first.id not in missing]


class Memory:
    """The rows that were stored last and may be repeated; the least recently repeated are forgotten first."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._firsts: dict[Key, First] = {}

    def __len__(self) -> int:
        return len(self._firsts)

    def get(self, key: Key) -> First | None:
        """The row that may be repeated; None when none is remembered."""
        return self._firsts.get(key)

    def keep(self, folded: Folded) -> None:
        """To be called once the batch is stored, and not before."""
        for key, first in folded.firsts.items():
            # To the end: what is told again is forgotten last.
            self._firsts.pop(key, None)
            self._firsts[key] = first
        for key in list(islice(self._firsts, max(0, len(self._firsts) - self._most))):
            del self._firsts[key]


def fold(facts: Sequence[Fact], memory: Memory | None, seconds: float) -> Folded:
    """Folds a batch, whose ids are distinct, within itself and, with a memory, into what is stored.

    The memory is not changed. Nothing is folded when ``seconds`` is 0.
    """
    folded = Folded()
    if seconds <= 0:
        folded.rows = [Row(fact) for fact in facts]
        return folded
    firsts = folded.firsts
    rows: dict[Key, Row] = {}
    additions: dict[Key, Addition] = {}
    for fact in facts:
        if fact.allowed is not False or fact.kind not in FOLDED:
            folded.rows.append(Row(fact))
            continue
        key = key_of(fact)
        first = firsts.get(key) or (memory.get(key) if memory is not None else None)
        if first is None or not 0 <= fact.time - first.time < seconds:
            additions.pop(key, None)
            rows[key] = row = Row(fact)
            folded.rows.append(row)
            firsts[key] = First(fact.id, fact.time, fact.kind)
        elif key in rows:
            rows[key].add(fact)
        elif key in additions:
            additions[key].instead.add(fact)
        else:
            additions[key] = Addition(first, Row(fact))
            folded.additions.append(additions[key])
            firsts[key] = first
    return folded


def key_of(fact: Fact) -> Key:
    """The same for facts that differ in nothing but when, and between which ports."""
    said = _pack(_said(fact))
    # Strangers choose how long this is, and many are remembered.
    return said if len(said) <= LONGEST_KEY else blake2b(said, digest_size=16).digest()
