"""Rows of a CSV file with a header, by column name (RFC 4180).

A cell that a spreadsheet would run as a formula is refused: it was put there for whoever opens the file, or
an export of it, next. Columns that may hold any text (passwords, topic filters) are exempt.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from accounts.core.text import quoted
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.text_lines import text_lines

# “+49 170 1” and “-7” are no formulas to fear, “+cmd|' /C calc'!A0” and “-2+3” are.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9 ]*$)(?=.*[=(!|+*/-])", re.DOTALL)
_FREE = frozenset({"password", "password_hash", "salt", "topic", "topic_filter", "credential", "filter"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it begins, and its cells by column."""

    line: int
    cells: Mapping[str, str]


def is_formula(text: str) -> bool:
    """True for a cell that spreadsheets would calculate instead of show."""
    return _FORMULA.match(text) is not None


def csv_rows(stream: BinaryIO, *, required: Collection[str], optional: Collection[str] = ()) -> Iterator[Row]:
    """The rows after the header. A column that is neither required nor optional is an error; an optional
    name that ends in ``.`` stands for all columns that begin so.

    Raises Malformed.
    """
    numbered = _Numbered(stream)
    reader = csv.reader(numbered, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise Malformed(1, f"the first line must name the columns {', '.join(required)}")
        names = [name.strip() for name in header]
        _check_header(names, required, optional)
        free = [name in _FREE for name in names]
        while True:
            start = numbered.line + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(names):
                raise Malformed(start, f"it has {len(cells)} cells and the header has {len(names)}")
            for name, cell, is_free in zip(names, cells, free, strict=True):
                if cell and not is_free and cell[0] in "=@\t\r+-" and is_formula(cell):
                    raise Malformed(start, "this is a spreadsheet formula: remove its first character", name)
            yield Row(start, dict(zip(names, cells, strict=True)))
    except csv.Error as problem:
        raise Malformed(max(1, numbered.line), f"this is not CSV: {problem}") from None


def _check_header(names: list[str], required: Collection[str], optional: Collection[str]) -> None:
    families = tuple(name for name in optional if name.endswith("."))
    unknown = [
        name
        for name in names
        if name not in required and name not in optional and not (families and name.startswith(families))
    ]
    for name in names:
        if names.count(name) > 1 and name not in unknown:
            first = names.index(name)
            second = names.index(name, first + 1)
            raise Malformed(
                1, f"the column {_shown(name, families)} is there twice: as {first + 1} and {second + 1}"
            )
    for name in required:
        if name not in names:
            raise Malformed(1, f"the column {quoted(name)} is missing: the first line must name the columns")
    if unknown:
        # Not by its name: in a file without a header that is somebody's password.
        place = names.index(unknown[0]) + 1
        raise Malformed(
            1, f"column {place} of the header is not known; known are {', '.join([*required, *optional])}"
        )


def _shown(name: str, families: tuple[str, ...]) -> str:
    """A column that is known by its name, and one of a family by the beginning that is known."""
    return next((quoted(f"{family}…") for family in families if name.startswith(family)), quoted(name))


class _Numbered:
    """Lines for the csv module, and the number of the last one it took."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = text_lines(stream)
        self.line = 0

    def __iter__(self) -> "_Numbered":
        return self

    def __next__(self) -> str:
        self.line, text = next(self._lines)
        return text + "\n"
