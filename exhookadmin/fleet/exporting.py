"""A fleet into a file: written beside it, and put in its place once nothing stands against that.

What is written is the database at one moment, whatever is changed meanwhile. Memory is constant.
"""

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from django.db import connection, transaction

from exhookadmin.fleet.formats.csv_rows import is_formula
from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.report import SHOWN_FINDINGS
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions
from exhookadmin.fleet.writing.known import TARGETS
from exhookadmin.fleet.writing.unsaid import Unsaid

COLUMNS = ("name", "kind", "field", "reason")


class ExportRefused(Exception):
    """The format cannot hold everything; the report says what. No file was written."""


@dataclass
class ExportReport:
    """What the file does not hold: sums, the first of each kind, and all of it in a file, where asked for."""

    file: TextIO | None = None
    kinds: Counter[Kind] = field(default_factory=Counter)
    shown: list[Unsaid] = field(default_factory=list)
    bytes: int = 0

    def __post_init__(self) -> None:
        self._rows = csv.writer(self.file) if self.file is not None else None
        if self._rows is not None:
            self._rows.writerow(COLUMNS)

    def unsaid(self, found: Unsaid) -> None:
        """Notes something that the file would not hold."""
        self.kinds[found.kind] += 1
        if self.kinds[found.kind] <= SHOWN_FINDINGS:
            self.shown.append(found)
        if self._rows is not None:
            cells = (found.name, found.kind.value, found.field, found.reason)
            self._rows.writerow([f"'{cell}" if is_formula(cell) else cell for cell in cells])

    def stands_against(self, partial: bool) -> bool:
        """Whether no file may be written."""
        harmless = {Kind.REMARK} if not partial else set(Kind) - {Kind.ERROR}
        return any(self.kinds[kind] for kind in set(Kind) - harmless)


def export_fleet(
    format_name: str,
    path: Path,
    fleet: Fleet,
    options: WriteOptions,
    report: ExportReport,
    *,
    partial: bool = False,
) -> None:
    """Writes the file, readable for its owner alone. Raises ExportRefused, FileExistsError, OSError."""
    if path.exists():
        raise FileExistsError(path)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file, one_moment():
            for written in TARGETS[format_name].write(fleet, options):
                if isinstance(written, Unsaid):
                    report.unsaid(written)
                else:
                    report.bytes += file.write(written)
            if report.stands_against(partial):
                raise ExportRefused
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def one_moment() -> Iterator[None]:
    """Everything that is read inside is of one moment."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
