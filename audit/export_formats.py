"""Events as lines of JSON or of CSV, which read back as what they were."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from audit.rows import COLUMNS

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_GUARD = "'"


@dataclass(frozen=True, slots=True)
class Format:
    """``encode`` takes rows of values in the order of ``COLUMNS``; ``header`` stands before all rows."""

    header: bytes
    encode: Callable[[Iterable[Sequence[Any]]], bytes]


def _json_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """An object a line, with every column (https://jsonlines.org)."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    lines = (encode(dict(zip(COLUMNS, map(_plain, row), strict=True))) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """RFC 4180, in UTF-8. Booleans are true and false, what is empty or unknown is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return guarded(value) if isinstance(value, str) else str(_plain(value))


def guarded(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula: devices choose what their topics say.

    Some get an apostrophe before them, those that begin with one too: remove the first apostrophe of a cell
    that begins with one, and each is what it was (OWASP, “CSV Injection”).
    """
    return _GUARD + text if text.startswith((*_FORMULA, _GUARD)) else text


FORMATS = {
    "jsonl": Format(b"", _json_lines),
    "csv": Format((",".join(COLUMNS) + "\r\n").encode(), _csv),
}
