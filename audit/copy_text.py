"""Values as PostgreSQL's COPY takes them in its text format.

A line a row, tabs between the values, ``\\N`` for NULL, and a backslash before what would end a value or a
line (https://www.postgresql.org/docs/current/sql-copy.html, “Text Format”).
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

Values = Sequence[object]

_special = re.compile(r"[\\\t\n\r]")
_escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def copy_line(values: Values) -> str:
    """The values as a line that COPY reads back as the same; NUL is in no PostgreSQL text."""
    return "\t".join([_encoders[type(value)](value) for value in values]) + "\n"


def _text(text: str) -> str:
    return _special.sub(_escape, text) if _special.search(text) else text


def _escape(found: re.Match[str]) -> str:
    return _escapes[found[0]]


class _Encoders(dict[type, Callable[[Any], str]]):
    """By the exact type; a subclass, such as an enumeration of texts, as what it derives from."""

    def __missing__(self, kind: type) -> Callable[[Any], str]:
        for base in kind.__mro__:
            if base in self:
                self[kind] = self[base]
                return self[kind]
        raise TypeError(f"no column holds a {kind.__name__}")


_encoders = _Encoders(
    {
        type(None): lambda _: r"\N",
        bool: lambda value: "t" if value else "f",
        int: str,
        str: _text,
        UUID: lambda value: value.hex,
        datetime: datetime.isoformat,
    }
)
