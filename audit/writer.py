"""From facts to rows, in batches. One transaction a batch, in which the spool's position moves as well."""

from collections.abc import Sequence

from django.db import IntegrityError, transaction

from audit import positions
from audit.copying import insert_events, insert_new_events
from audit.fact import Fact
from audit.presence import moves_presence
from audit.rows import values_of
from audit.sessions import lock_sessions, move_sessions
from audit.spool import Position
from audit.spool_reader import Move


class Database:
    """Where a recorder's facts go: the database of this project."""

    def position(self, spool: str) -> Position | None:
        """How far this spool's facts are stored. Raises django.db.Error."""
        return positions.position_of(spool)

    def write(self, facts: Sequence[Fact], move: Move | None) -> int:
        """Stores the facts and the move. Answers how many facts were new.

        Raises Moved, or django.db.Error; then nothing of the batch was stored.
        """
        return write_facts(facts, move)

    def forget(self, spool: str) -> None:
        """A spool that is gone from the disk. Raises django.db.Error."""
        positions.forget(spool)

    def tidy(self, spools: Sequence[str]) -> None:
        """These spools are alive; those of whom nobody has heard for long are forgotten."""
        positions.tidy(spools)


def write_facts(facts: Sequence[Fact], move: Move | None = None) -> int:
    """Stores the facts as events, moves the sessions, and the spool's position. Answers how many were new.

    Facts that are stored already change nothing. Raises positions.Moved, or django.db.Error; then
    nothing of the batch was stored.
    """
    with transaction.atomic():
        if move is not None:
            positions.store(move)
        fresh = _insert(facts)
        if any(moves_presence(fact) for fact in fresh):
            lock_sessions()
            move_sessions(fresh)
    return len(fresh)


def _insert(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Answers the facts that were not there yet, each once."""
    if not facts:
        return facts
    rows = [values_of(fact) for fact in facts]
    try:
        insert_events(rows)
    except IntegrityError:
        # Told again: by a broker that calls twice, or from a spool whose position was lost.
        new = insert_new_events(rows)
        distinct = {fact.id: fact for fact in facts if fact.id in new}
        return list(distinct.values())
    return facts
