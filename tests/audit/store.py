"""A recorder's store that is a function: for tests that want to see, or hold up, what is written."""

from collections.abc import Callable, Sequence

from audit.fact import Fact
from audit.positions import Moved
from audit.spool import Position
from audit.spool_reader import Move


class Told:
    """Calls ``write`` with each batch, and keeps the positions of those that it took."""

    def __init__(self, write: Callable[[Sequence[Fact]], int]) -> None:
        self._write = write
        self.positions: dict[str, Position] = {}

    def position(self, spool: str) -> Position | None:
        return self.positions.get(spool)

    def write(self, facts: Sequence[Fact], move: Move | None) -> int:
        if move is not None and self.positions.get(move.spool) != move.before:
            raise Moved(move.spool)
        count = self._write(facts)
        if move is not None:
            self.positions[move.spool] = move.after
        return count

    def forget(self, spool: str) -> None:
        self.positions.pop(spool, None)

    def tidy(self, spools: Sequence[str]) -> None:
        pass
