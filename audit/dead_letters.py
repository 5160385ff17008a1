"""Dead letters: facts that the database refused, on disk until somebody has looked at them.

A letter is a line of JSON: when it was set aside, the name of the error, and the spool's record.
All processes with the same spool directory share two files, the older of which is deleted when
the newer one has reached its size.
"""

import fcntl
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.codec import BadRecord, decode
from audit.fact import Fact
from audit.writer import AWAY, write_facts

logger = logging.getLogger(__name__)

NEWER = "dead-letters.jsonl"
OLDER = "dead-letters.old.jsonl"
FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that could not be stored."""

    at: float
    """When it was set aside, in seconds since 1970."""
    error: str
    """The name of the error's class: what an error says may repeat what a stranger said."""
    record: bytes
    """As it was in the spool."""

    @property
    def fact(self) -> Fact | None:
        """None when the record is none that this version can read."""
        try:
            return decode(self.record)
        except BadRecord:
            return None


@dataclass(frozen=True, slots=True)
class Retried:
    """What came of writing all letters again."""

    stored: int
    left: int
    database_away: bool = False


class DeadLetters:
    """The dead letters under a directory. Any process may use them at the same time as others."""

    def __init__(self, root: Path, file_bytes: int = FILE_BYTES) -> None:
        self._newer, self._older = root / NEWER, root / OLDER
        self._file_bytes = file_bytes
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._numbers: dict[Path, int] = {}

    def __iter__(self) -> Iterator[Letter]:
        """Oldest first."""
        for path in (self._older, self._newer):
            yield from _letters(path)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(_stamp(path)[0] for path in (self._older, self._newer))

    @property
    def number(self) -> int:
        """How many letters there are; cheap while none is added."""
        for path in (self._older, self._newer):
            stamp = _stamp(path)
            if self._seen.get(path) != stamp:
                self._numbers[path] = sum(1 for _ in _letters(path))
                self._seen[path] = stamp
        return sum(self._numbers.values())

    def add(self, record: bytes, error: str) -> Counter[str]:
        """Sets a record aside. Raises OSError.

        Answers what had to go for it, by kind.
        """
        line = _line(Letter(time.time(), error, record))
        gone: Counter[str] = Counter()
        with _locked(self._newer) as file:
            size = os.fstat(file).st_size
            if size and size + len(line) > self._file_bytes:
                gone = Counter(
                    letter.fact.kind.value if letter.fact else "" for letter in _letters(self._older)
                )
                os.replace(self._newer, self._older)
                with _locked(self._newer) as beginning:
                    _append(beginning, line)
            else:
                _append(file, line)
        if gone:
            logger.error("the oldest dead letters are deleted", extra={"letters": gone.total()})
        return gone

    def retry(self) -> Retried:
        """Writes all of them to the database again, and keeps those that it refuses again."""
        stored, left = 0, []
        away = False
        with _locked(self._newer):
            for letter in self:
                fact = letter.fact
                if fact is None or away:
                    left.append(letter)
                    continue
                try:
                    write_facts([fact])
                    stored += 1
                except AWAY:
                    away = True
                    left.append(letter)
                except Exception as error:
                    left.append(Letter(letter.at, type(error).__name__, letter.record))
            self._replace(left)
        return Retried(stored, len(left), away)

    def _replace(self, letters: list[Letter]) -> None:
        """Whoever is stopped in between leaves all of them: writing a fact again changes nothing."""
        if letters:
            fresh = self._newer.with_suffix(".new")
            file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            try:
                for letter in letters:
                    _append(file, _line(letter))
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(fresh, self._newer)
        else:
            self._newer.unlink()
        self._older.unlink(missing_ok=True)


def dead_letters(root: Path) -> Iterator[Letter]:
    """All dead letters under a spool directory, oldest first."""
    return iter(DeadLetters(root))


def _line(letter: Letter) -> bytes:
    # What is no UTF-8 comes back as it was, and no line break is in a line of JSON.
    text = letter.record.decode(errors="surrogateescape")
    return json.dumps({"at": letter.at, "error": letter.error, "record": text}).encode() + b"\n"


def _letters(path: Path) -> Iterator[Letter]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                said = json.loads(line)
                record = said["record"].encode(errors="surrogateescape")
                yield Letter(float(said["at"]), str(said["error"]), record)
            except (ValueError, TypeError, KeyError, AttributeError):
                # Torn by a full disk, or written by somebody else: shown, not hidden.
                if line.strip():
                    yield Letter(0.0, "unreadable", line.rstrip(b"\n"))


def _append(file: int, line: bytes) -> None:
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(file, line) != len(line):
        raise OSError("the disk is full")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, opened for appending, with every other process waiting. Raises OSError."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Who had it before may have put another one in its place.
            if _is_at(file, path):
                yield file
                return
        finally:
            os.close(file)
