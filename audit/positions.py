"""How far each spool has been dealt with, in the database: so that each fact is stored exactly once."""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models.functions import Now

from audit.models import SpoolPosition
from audit.spool import Position
from audit.spool_reader import Move

# A spool that nobody has moved for so long is gone with its machine. Living writers touch theirs daily.
KEPT = timedelta(days=90)


class Moved(Exception):
    """A spool is not where its reader believes it to be: a move of which it had no answer was stored."""


def position_of(spool: str) -> Position | None:
    """None when nothing of the spool is stored."""
    found = SpoolPosition.objects.filter(pk=spool).values_list("segment", "offset").first()
    return None if found is None else Position(*found)


def store(move: Move) -> None:
    """To be called in the transaction that stores what the move is about. Raises Moved."""
    values = {"segment": move.after.segment, "offset": move.after.offset, "moved_at": Now()}
    if move.before is None:
        _, moved = SpoolPosition.objects.get_or_create(pk=move.spool, defaults=values)
    else:
        segment, offset = move.before
        stored = SpoolPosition.objects.filter(pk=move.spool, segment=segment, offset=offset)
        moved = stored.update(**values) == 1
    if not moved:
        raise Moved(move.spool)


def forget(spool: str) -> None:
    """To be called once the spool is no longer on disk: without its position it would be read again."""
    SpoolPosition.objects.filter(pk=spool).delete()


def tidy(living: Iterable[str]) -> None:
    """Keeps the positions of these spools, and forgets those of spools that are gone."""
    SpoolPosition.objects.filter(pk__in=list(living)).update(moved_at=Now())
    SpoolPosition.objects.filter(moved_at__lt=Now() - KEPT).delete()
