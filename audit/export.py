"""Exports: all events of a search, oldest first, into a file that is either whole or can be gone on with.

While it is written the file is called ``NAME.part``, and beside it ``NAME.part.json`` says up to which byte
it is whole and from which event to go on. What follows that byte, torn or not, is written again. So the
process may be killed at any moment. Once whole, the file gets its name.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from audit.export_formats import FORMATS
from audit.paging import Cursor, place_of, read_cursor
from audit.rows import COLUMNS
from audit.search import Search, parse_search

ROWS_AT_ONCE = 1_000
SECONDS_BETWEEN_NOTES = 1.0
"""How much work a kill may cost."""
_TIME, _ID = COLUMNS.index("time"), COLUMNS.index("id")


class CannotExport(Exception):
    """The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is: so many events, the last of which is of this time."""

    events: int = 0
    time: datetime | None = None


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class _Note:
    """Kept beside an unfinished file. ``asked`` is the search as it was given, ``search`` as it is meant."""

    format: str
    asked: Mapping[str, Any]
    search: Mapping[str, Any]
    bytes: int = 0
    events: int = 0
    cursor: str = ""


def batches(search: Search, cursor: Cursor | None) -> Iterator[list[tuple[Any, ...]]]:
    """The events behind the place, oldest first, each as the values of ``COLUMNS``; some at a time."""
    listing = search.listing()
    while True:
        rows = listing.behind(listing.matching, cursor, older=False).values_list(*COLUMNS)[:ROWS_AT_ONCE]
        batch = list(rows)
        if batch:
            yield batch
        if len(batch) < ROWS_AT_ONCE:
            return
        cursor = _place(batch)


def _place(batch: list[tuple[Any, ...]]) -> Cursor:
    return place_of(batch[-1][_TIME], batch[-1][_ID], older=False)


def export_to_stream(search: Search, format: str, stream: BinaryIO, tell: Tell) -> Progress:
    """Writes to what is no file, such as a pipe: nothing can be gone on with."""
    made = FORMATS[format]
    stream.write(made.header)
    progress = Progress()
    for batch in batches(search, None):
        stream.write(made.encode(batch))
        progress = Progress(progress.events + len(batch), batch[-1][_TIME])
        tell(progress)
    stream.flush()
    return progress


def export_to_file(
    path: Path, format: str, asked: Mapping[str, Any], search: Search, resume: bool, tell: Tell
) -> Progress:
    """Writes the file, or goes on with it. ``asked`` is how the search was asked for, with “6h” still in it.

    Raises CannotExport, OSError, django.db.Error.
    """
    unfinished = _Unfinished(path)
    note = unfinished.note() if unfinished.note_path.exists() else None
    if note is not None and not resume:
        raise CannotExport(f"{unfinished.note_path} tells of an unfinished one: --resume it, or remove it.")
    if note is not None and (note.format, note.asked) != (format, asked):
        raise CannotExport(f"{unfinished.note_path} tells of other options: give the same, or remove it.")
    if note is None:
        if path.exists():
            raise CannotExport(f"{path} exists: remove it, or choose another name.")
        note = _Note(format, dict(asked), search.mapping(), len(FORMATS[format].header))
    elif path.exists() and not unfinished.part.exists():
        unfinished.note_path.unlink()  # It was killed between the last two steps.
        return Progress(note.events)
    with unfinished.opened() as file:
        progress = _write(file, unfinished, note, tell)
        os.replace(unfinished.part, path)
    _sync(path.parent)
    unfinished.note_path.unlink()
    return progress


def _write(file: BinaryIO, unfinished: "_Unfinished", note: _Note, tell: Tell) -> Progress:
    if not note.cursor:
        file.seek(0)
        file.write(FORMATS[note.format].header)
        unfinished.keep(note, file)
    if os.fstat(file.fileno()).st_size < note.bytes:
        raise CannotExport(f"{unfinished.part} is shorter than it was: remove it to begin anew.")
    file.truncate(note.bytes)
    file.seek(note.bytes)
    progress, kept = Progress(note.events), monotonic()
    meant = parse_search(note.search, _ANY_TIME)
    for batch in batches(meant, read_cursor(note.cursor) if note.cursor else None):
        file.write(FORMATS[note.format].encode(batch))
        progress = Progress(progress.events + len(batch), batch[-1][_TIME])
        note = replace(note, events=progress.events, bytes=file.tell(), cursor=str(_place(batch)))
        tell(progress)
        if monotonic() - kept >= SECONDS_BETWEEN_NOTES:
            unfinished.keep(note, file)
            kept = monotonic()
    unfinished.keep(note, file)
    return progress


# A note holds no times that count back from now.
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """An export under way to ``path``: its file, and its note."""

    path: Path

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def note_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file, with a lock that ends with the process."""
        with os.fdopen(os.open(self.part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotExport(f"{self.part} is being written by another process.") from None
            yield file

    def note(self) -> _Note:
        try:
            return _Note(**json.loads(self.note_path.read_text()))
        except (ValueError, TypeError):
            raise CannotExport(f"{self.note_path} cannot be read: remove it to begin anew.") from None

    def keep(self, note: _Note, file: BinaryIO) -> None:
        """Makes sure of the file, and only then notes how far it is whole."""
        file.flush()
        os.fsync(file.fileno())
        fresh = self.note_path.with_suffix(".new")
        with fresh.open("w") as written:
            json.dump(asdict(note), written)
            written.flush()
            os.fsync(written.fileno())
        os.replace(fresh, self.note_path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
