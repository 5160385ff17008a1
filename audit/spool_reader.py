"""Reads a spool in batches, says how far each fact reaches, and deletes what has been dealt with."""

import logging
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.codec import BadRecord, decode
from audit.fact import Fact
from audit.spool import Position, Records, number_of, segments

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Move:
    """How far a spool will have been dealt with, and where it stands now."""

    spool: str
    before: Position | None
    """None while nothing of the spool is stored."""
    after: Position


class SpoolReader:
    """``take`` some facts, deal with them, ``release`` them.

    ``settled`` says whether nothing can be appended to a segment any more; ``delete`` is
    called with each segment that is settled and released to its end, ``refuse`` with each record that
    is no fact and the name of the error.
    """

    def __init__(
        self,
        directory: Path,
        settled: Callable[[Path], bool],
        delete: Callable[[Path], None],
        refuse: Callable[[bytes, str], object],
    ) -> None:
        self._directory = directory
        self._settled = settled
        self._delete = delete
        self._refuse = refuse
        self._segment: Path | None = None
        self._records: Records | None = None
        self._taken: list[Fact] = []
        self._ends: list[int] = []
        """Where each of those ends in the segment."""
        self._stored: Position | None = None
        self._reached: Position | None = None
        self._unstored = False
        self.doubtful = False
        """Where the spool stands has to be asked, and told with ``resume``, before more is taken."""
        self.released = 0
        """Facts that were dealt with."""
        self.unreadable = 0
        """Pieces that were torn or were no facts, and are skipped."""

    @property
    def spool(self) -> str:
        """The name of the spool."""
        return self._directory.name

    @property
    def unstored(self) -> bool:
        """True when something was dealt with that no stored move includes."""
        return self._unstored

    def take(self, most: int, most_bytes: int = 2**62) -> list[Fact]:
        """The next facts; those not released come again. Empty when there are none yet.

        Raises OSError when the disk cannot be read.
        """
        while not self._taken:
            if self._segment is None or self._records is None:
                if not self._begin_segment():
                    break
                continue
            # Asked before reading: what is settled now was complete when it is read.
            settled = self._settled(self._segment)
            self._read(self._records, most, most_bytes)
            if not self._taken:
                if not settled:
                    break
                self._records.close()
                self._delete(self._segment)
                self._segment = self._records = None
        return list(self._taken)

    def taken(self, count: int) -> list[Fact]:
        """The first so many of the facts that were taken and not released."""
        return self._taken[:count]

    def move(self, count: int) -> Move | None:
        """What dealing with the first so many of the facts taken moves; None while nothing was read."""
        after = self._after(count)
        return None if after is None else Move(self.spool, self._stored, after)

    def release(self, count: int, *, stored: bool = True) -> None:
        """The first so many of the facts that were taken are dealt with.

        ``stored`` says that their move is, too; otherwise the next one includes it.
        """
        self._reached = self._after(count)
        if stored:
            self._stored = self._reached
        self._unstored = not stored
        del self._taken[:count], self._ends[:count]
        self.released += count

    def resume(self, stored: Position | None) -> int:
        """Begins after what is stored, by a reader before or by a write whose answer was lost.

        Of the facts that were taken, releases those that are stored, and answers how many they are.
        """
        self._stored = stored
        self.doubtful = False
        if stored is None or (self._reached is not None and stored <= self._reached):
            return 0
        count = self._before(stored)
        del self._taken[:count], self._ends[:count]
        self._reached = stored
        self._unstored = False
        self.released += count
        if not self._taken and self._records is not None:
            self._records.leave()
            self._segment = self._records = None
        return count

    def _after(self, count: int) -> Position | None:
        if self._segment is None or self._records is None or (count == 0 and self._taken):
            return self._reached
        # What was skipped after the last fact is dealt with as well.
        end = self._ends[count - 1] if count < len(self._taken) else self._records.offset
        return Position(number_of(self._segment), end)

    def _before(self, stored: Position) -> int:
        """How many of the facts that were taken, all of one segment, lie before."""
        if self._segment is None or stored.segment < (number := number_of(self._segment)):
            return 0
        return len(self._ends) if stored.segment > number else bisect_right(self._ends, stored.offset)

    def _begin_segment(self) -> bool:
        for segment in segments(self._directory):
            number, begin = number_of(segment), 0
            if self._reached is not None and number <= self._reached.segment:
                if number < self._reached.segment:
                    self._delete(segment)
                    continue
                begin = self._reached.offset
            self._records = Records(segment, self._skip, begin)
            self._segment = segment
            return True
        return False

    def _read(self, records: Records, most: int, most_bytes: int) -> None:
        last = records.offset + most_bytes
        taken, ends = self._taken, self._ends
        while len(taken) < most and (record := records.next()) is not None:
            end = records.offset
            try:
                taken.append(decode(record))
            except BadRecord as error:
                self._skip()
                self._refuse(record, type(error).__name__)
            else:
                ends.append(end)
            if end >= last:
                break

    def _skip(self) -> None:
        self.unreadable += 1
        self._unstored = True
        logger.error("a piece of the audit spool cannot be read and is skipped")
