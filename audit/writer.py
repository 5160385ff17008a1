"""From facts to rows, in batches. One transaction a batch, in which the spool's position moves as well."""

from collections.abc import Sequence

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError, transaction

from audit import positions
from audit.chain import NOBODY, add_links, chain_is_on
from audit.copying import insert_events, insert_new_events
from audit.counting import count_repeats
from audit.fact import Fact
from audit.folding import Memory, Row, fold
from audit.presence import moves_presence, shows_life
from audit.rows import values_of
from audit.sessions import lock_sessions, move_sessions
from audit.spool import Position
from audit.spool_reader import Move

# The database is away or not migrated: no fact's fault, so that all of them wait.
AWAY = (OperationalError, InterfaceError, ProgrammingError)


class Database:
    """Where a recorder's facts go: the database of this project. Remembers which rows may be repeated."""

    def __init__(self) -> None:
        self._memory = Memory()

    def position(self, spool: str) -> Position | None:
        """How far this spool's facts are stored. Raises django.db.Error."""
        return positions.position_of(spool)

    def write(self, facts: Sequence[Fact], move: Move | None) -> int:
        """Stores the facts and the move. Answers how many facts were new.

        Raises Moved, or django.db.Error; then nothing of the batch was stored.
        """
        return write_facts(facts, move, self._memory)

    def forget(self, spool: str) -> None:
        """A spool that is gone from the disk. Raises django.db.Error."""
        positions.forget(spool)

    def tidy(self, spools: Sequence[str]) -> None:
        """These spools are alive; those of whom nobody has heard for long are forgotten."""
        positions.tidy(spools)


def write_facts(facts: Sequence[Fact], move: Move | None = None, memory: Memory | None = None) -> int:
    """Stores the facts as events, moves the sessions, and the spool's position. Answers how many were new.

    Facts whose ids are stored already change nothing. With a memory, repeats are also folded into rows
    of the batches before. Raises positions.Moved, or django.db.Error; then nothing of the batch was stored.
    """
    if len({fact.id.int for fact in facts}) < len(facts):
        facts = list({fact.id: fact for fact in facts}.values())
    if chain_is_on():
        memory = None  # What is linked is never changed: nothing is added to rows that are stored.
    folded = fold(facts, memory, settings.EXHOOK_FOLD_SECONDS)
    with transaction.atomic():
        if move is not None:
            positions.store(move)
        folded.put_back(count_repeats(folded.additions))
        new = _insert(folded.rows)
        if chain_is_on():
            add_links([values_of(row) for row in new], move.spool if move else NOBODY)
        moving = [row.fact for row in new if moves_presence(row.fact)]
        if moving:
            lock_sessions()
        # A repeated refusal is no new row, but whoever is refused lives.
        move_sessions([*moving, *(fact for fact in facts if shows_life(fact))])
    if memory is not None:
        memory.keep(folded)
    return sum(addition.count for addition in folded.additions) + sum(1 + row.repeats for row in new)


def _insert(rows: Sequence[Row]) -> Sequence[Row]:
    """Answers the rows that were not there yet, each once."""
    if not rows:
        return rows
    try:
        insert_events(rows)
    except IntegrityError:
        # Told again, from a spool whose position was lost.
        new = insert_new_events(rows)
        return list({row.fact.id: row for row in rows if row.fact.id in new}.values())
    return rows
