"""How commands answer: tables for people, JSON for programs, and exit codes that mean something."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from rest_framework.utils.encoders import JSONEncoder

NOT_FOUND = 1
NOT_UNDERSTOOD = 2


class Writer(Protocol):
    """Where a command writes to."""

    def write(self, msg: str = ...) -> Any: ...


def add_json_option(parser: CommandParser) -> None:
    """The option that every command with an answer has."""
    parser.add_argument("--json", action="store_true", help="One JSON object a line, for programs.")


def answer(
    out: Writer, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool, empty: str = ""
) -> None:
    """Writes rows as a table of these columns, or whole as JSON. ``empty`` is said where there are none."""
    if as_json:
        for row in rows:
            out.write(json.dumps(row, cls=JSONEncoder, ensure_ascii=False))
        return
    table = [[cell(row[column]) for column in columns] for row in rows]
    if not table:
        out.write(empty)
        return
    titles = [column.replace("_", " ").upper() for column in columns]
    widths = [max(len(line[at]) for line in [titles, *table]) for at in range(len(columns))]
    for line in [titles, *table]:
        out.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def answer_one(out: Writer, row: Mapping[str, Any], as_json: bool) -> None:
    """Writes one thing: a field a line, or as JSON."""
    if as_json:
        answer(out, [row], [], as_json)
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        out.write(f"{name.replace('_', ' ').ljust(width)}  {cell(value)}".rstrip())


def problem(error: ValidationError) -> CommandError:
    """What a service refused, with each field, as the error of a command."""
    if not hasattr(error, "error_dict"):
        return CommandError(" ".join(error.messages), returncode=NOT_UNDERSTOOD)
    lines = [
        f"{'' if field == '__all__' else f'{field}: '}{' '.join(texts)}"
        for field, texts in error.message_dict.items()
    ]
    return CommandError("\n".join(lines), returncode=NOT_UNDERSTOOD)


def cell(value: Any) -> str:
    """A value as one short text for a terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={text}" for name, text in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value) or "-"
    # A name that a stranger chose must not steer the terminal.
    return "".join(each if each.isprintable() else "\ufffd" for each in str(value))
