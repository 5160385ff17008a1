"""The spool: facts on local disk between the hook and the database.

A fact is in the operating system's hands before its hook is answered, so that killing the
process loses none. Only a power failure can, and ``Sync`` says how much.

A spool is a directory of segments, written by one process and read by one. A record in a
segment is ``MAGIC, length, CRC-32, bytes``; what is torn is skipped up to the next record,
and counted. A segment is deleted once all of it has been dealt with; how far the others have
been is kept with the rows themselves, as a ``Position``.
"""

import contextlib
import fcntl
import logging
import os
import re
import struct
import time
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4
from weakref import WeakValueDictionary

logger = logging.getLogger(__name__)

# Its first byte is in no UTF-8, so that no record can hold it.
MAGIC = b"\xf5XF1"
HEADER = struct.Struct(">4sII")
LONGEST_RECORD = 1024 * 1024
LONGEST_FRAME = HEADER.size + LONGEST_RECORD
SEGMENT_BYTES = 4 * 1024 * 1024
READ_BYTES = 256 * 1024
LOCK_NAME = "lock"
# Seconds since 1970, then chance: what ``Spool`` gives, and what ``spools`` takes for one.
SPOOL_NAME = re.compile(r"\d{12}-[0-9a-f]{12}")

# macOS has no fdatasync.
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class Sync(StrEnum):
    """When what was appended is forced to the disk: what a power failure can take."""

    ALWAYS = "always"
    """Before the hook is answered; nothing is lost, and every hook waits for the disk."""
    INTERVAL = "interval"
    """Every second; at most the last second is lost."""
    NEVER = "never"
    """When the system pleases; about half a minute is lost."""


class Position(NamedTuple):
    """A place in a spool: all that lies before it. Later places are greater."""

    segment: int
    offset: int
    """Bytes from the beginning of the segment."""


class NotStored(Exception):
    """The spool holds as much as it may, or the disk refuses; the text says which."""


class _Tail:
    """A segment that is appended to. It is closed when the last thread lets go of it, no earlier:
    the number of a closed file may be that of a client's socket a moment later."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = 0
        self.refused = False
        """Something did not fit: the room that this segment takes is needed."""

    def __del__(self) -> None:
        os.close(self.descriptor)


class Spool:
    """The spool of one process.

    Any thread may ``append``; no lock is held meanwhile, because a file opened for appending
    takes each ``write`` as one piece. One thread calls ``tend``, and one reads and deletes.
    A disk that is full already when the spool begins is waited for like one that fills up later.
    """

    def __init__(self, root: Path, limit_bytes: int, sync: Sync = Sync.INTERVAL) -> None:
        self.directory = root / f"{int(time.time()):012d}-{uuid4().hex[:12]}"
        self._limit = limit_bytes
        self._sync = sync
        self._lock: int | None = None
        self._number = 0
        self._size = 0
        self._tail: _Tail | None = None
        self._replaced: _Tail | None = None
        self._tails: WeakValueDictionary[int, _Tail] = WeakValueDictionary()
        self._trouble = ""
        self.tend()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._size

    def append(self, record: bytes) -> None:
        """Stores a record. Raises NotStored."""
        tail = self._tail
        if tail is None:
            raise NotStored(self._trouble or "the spool is closed")
        if len(record) > LONGEST_RECORD:
            raise NotStored("the record is too long")
        frame = HEADER.pack(MAGIC, len(record), zlib.crc32(record)) + record
        if self._size + len(frame) > self._limit:
            tail.refused = True
            raise NotStored("the spool has reached its limit")
        try:
            written = os.write(tail.descriptor, frame)
        except OSError as error:
            tail.refused = True
            raise NotStored(error.strerror or "the disk refuses") from error
        # CPython does not change threads within an increment.
        self._size += written
        tail.size += written
        if written != len(frame):
            tail.refused = True
            raise NotStored("the disk is full")
        if self._sync is Sync.ALWAYS:
            _force(tail.descriptor)

    def tend(self) -> None:
        """To be called every second: forces to disk, and begins a new segment when it is time."""
        tail = self._tail
        try:
            if tail is None:
                self._tail = self._begin() if self._lock is None else self._open(self.directory, self._number)
            elif tail.size >= SEGMENT_BYTES or (tail.refused and tail.size):
                self._tail = self._open(self.directory, self._number + 1)
            self._trouble = ""
        except OSError as error:
            trouble = error.strerror or type(error).__name__
            if trouble != self._trouble:
                logger.error("the audit spool cannot begin a segment", extra={"error": trouble})
            self._trouble = trouble
            if tail is not None and tail.refused:
                # There is no room for another one before this one is given up and dealt with.
                self._tail = None
                self._number += 1
        if self._sync is Sync.INTERVAL:
            # What was replaced a second ago may have been appended to a moment longer.
            for each in (self._replaced, tail):
                if each is not None:
                    _force(each.descriptor)
        self._replaced = tail if tail is not self._tail else None

    def settled(self, segment: Path) -> bool:
        """True when nothing can be appended to this segment any more."""
        number = number_of(segment)
        return number < self._number and number not in self._tails

    def delete(self, segment: Path) -> None:
        """Forgets a segment that has been dealt with."""
        with contextlib.suppress(FileNotFoundError):
            size = segment.stat().st_size
            segment.unlink()
            self._size -= size

    def close(self, empty: bool) -> None:
        """Ends the spool; removes it from disk when everything in it has been dealt with."""
        if self._tail is not None and self._sync is Sync.INTERVAL:
            _force(self._tail.descriptor)
        self._tail = self._replaced = None
        if empty:
            remove(self.directory)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self) -> _Tail:
        """Under a hidden name until it is locked: others adopt what nobody has locked."""
        hidden = self.directory.with_name(f".{self.directory.name}")
        hidden.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        hidden.mkdir(exist_ok=True, mode=0o700)
        lock = _lock(hidden)
        try:
            tail = self._open(hidden, 0)
            hidden.rename(self.directory)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        if self._sync is not Sync.NEVER:
            _force_directory(self.directory.parent)
        return tail

    def _open(self, directory: Path, number: int) -> _Tail:
        path = directory / f"{number:012d}.seg"
        tail = _Tail(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        if self._sync is not Sync.NEVER:
            _force_directory(directory)
        # In this order: a segment is settled when its number is past and its tail is gone.
        self._tails[number] = tail
        self._number = number
        return tail


class Records:
    """The records of one segment, which may still grow, from an offset on that lies between two of them.

    ``torn`` is called for each torn piece.
    """

    def __init__(self, segment: Path, torn: Callable[[], None], begin: int = 0) -> None:
        self._file = segment.open("rb", buffering=0)
        self._file.seek(begin)
        self._torn = torn
        self._data = b""
        self._position = 0
        self.offset = begin
        """Bytes of the segment that have been read as records or skipped as torn."""

    def next(self) -> bytes | None:
        """The next whole record; None when there is none yet: its rest may be on its way."""
        while True:
            record = self._whole()
            if record is not None:
                return record
            if len(self._data) - self._position < LONGEST_FRAME and self._read_on():
                continue
            # Records are written one after the other: where one follows, this one is finished.
            following = self._data.find(MAGIC, self._position + 1)
            if following >= 0:
                self._go_to(following)
                self._torn()
            elif not self._read_on():
                return None

    def close(self) -> None:
        """To be called when nothing comes any more: what is left is a torn piece."""
        if self._position < len(self._data):
            self._torn()
        self._file.close()

    def leave(self) -> None:
        """To be called when what is left is somebody else's."""
        self._file.close()

    def _whole(self) -> bytes | None:
        """The record at the position, if all of it is there; goes on behind it."""
        data, start = self._data, self._position + HEADER.size
        if start > len(data):
            return None
        magic, length, checksum = HEADER.unpack_from(data, self._position)
        end = start + length
        if magic != MAGIC or length > LONGEST_RECORD or end > len(data):
            return None
        record = data[start:end]
        if zlib.crc32(record) != checksum:
            return None
        self._go_to(end)
        return record

    def _go_to(self, position: int) -> None:
        self.offset += position - self._position
        self._position = position

    def _read_on(self) -> bool:
        more = self._file.read(READ_BYTES)
        if more:
            self._data = self._data[self._position :] + more
            self._position = 0
        return bool(more)


def segments(directory: Path) -> list[Path]:
    """The segments of a spool, oldest first."""
    return sorted(path for path in directory.glob("*.seg") if path.stem.isdecimal())


def number_of(segment: Path) -> int:
    """Segments of a spool are numbered as they are begun."""
    return int(segment.stem)


def spools(root: Path) -> list[Path]:
    """The spools of all processes, living and gone, oldest first. Whatever else lies there is let alone."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if SPOOL_NAME.fullmatch(path.name) and path.is_dir())


def adopt(directory: Path) -> int | None:
    """Takes over a spool whose process is gone; None when it is alive, or another was faster.

    What is returned holds the spool until it is closed with ``os.close``.
    """
    try:
        return _lock(directory)
    except OSError:
        return None


def remove(directory: Path) -> None:
    """Deletes a spool, which the caller holds."""
    with contextlib.suppress(OSError):
        for path in segments(directory):
            path.unlink()
        (directory / LOCK_NAME).unlink()
        directory.rmdir()


def _lock(directory: Path) -> int:
    """Raises OSError when another process, or another descriptor of this one, has it."""
    path = directory / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it may have removed the spool meanwhile: a lock that nobody else can find is none.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _force(descriptor: int) -> None:
    try:
        _sync_data(descriptor)
    except OSError:
        logger.exception("the audit spool cannot be forced to the disk")


def _force_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        _force(descriptor)
    finally:
        os.close(descriptor)
