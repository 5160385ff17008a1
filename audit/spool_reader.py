"""Reads a spool from the beginning, in batches, and deletes what has been dealt with."""

import logging
from collections.abc import Callable
from pathlib import Path

from audit.codec import BadRecord, decode
from audit.fact import Fact
from audit.spool import Records, segments

logger = logging.getLogger(__name__)


class SpoolReader:
    """``take`` some facts, deal with them, ``release`` them.

    ``settled`` says whether nothing can be appended to a segment any more; ``delete`` is
    called with each segment that is settled and released to its end.
    """

    def __init__(
        self, directory: Path, settled: Callable[[Path], bool], delete: Callable[[Path], None]
    ) -> None:
        self._directory = directory
        self._settled = settled
        self._delete = delete
        self._segment: Path | None = None
        self._records: Records | None = None
        self._taken: list[Fact] = []
        self.released = 0
        """Facts that were dealt with."""
        self.unreadable = 0
        """Pieces that were torn or were no facts, and are skipped."""

    def take(self, most: int) -> list[Fact]:
        """The next facts; those not released come again. Empty when there are none yet.

        Raises OSError when the disk cannot be read.
        """
        while not self._taken:
            if self._segment is None or self._records is None:
                waiting = segments(self._directory)
                if not waiting:
                    break
                self._records = Records(waiting[0], self._skip)
                self._segment = waiting[0]
            # Asked before reading: what is settled now was complete when it is read.
            settled = self._settled(self._segment)
            self._read(self._records, most)
            if not self._taken:
                if not settled:
                    break
                self._records.close()
                self._delete(self._segment)
                self._segment = self._records = None
        return list(self._taken)

    def release(self, count: int) -> None:
        """The first so many of the facts that were taken are dealt with."""
        del self._taken[:count]
        self.released += count

    def _read(self, records: Records, most: int) -> None:
        while len(self._taken) < most and (record := records.next()) is not None:
            try:
                self._taken.append(decode(record))
            except BadRecord:
                self._skip()

    def _skip(self) -> None:
        self.unreadable += 1
        logger.error("a piece of the audit spool cannot be read and is skipped")
