"""Items of a JSON document of any size, one at a time, each with the line on which it begins.

The document is an array, whose items these are, or an object, of which each member is an item; a member
that is an array gives its items one by one. Memory is bounded by the largest item, not by the document.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, NoReturn

from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.text_lines import LINE_BYTES, text_lines, without_mark
from exhookadmin.fleet.formats.unrepeated import repeated_name

CHUNK_BYTES = 64 * 1024
ITEM_CHARACTERS = 4 * 1024 * 1024
"""The largest item; what is larger is not one device or one list of rules."""

_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Item:
    """A value, the line on which it begins, and the member of the document that it was found in."""

    line: int
    key: str | None
    value: Any


# How near to the end of the window an error may only mean that a word or an escape goes on after it.
_WORD = 16


class _Undecided(Malformed):
    """Wrong as far as it has been read; the rest may put it right."""


class _Duplicate(ValueError):
    """A name that an object has twice: readers differ in which of the two they take."""


class _NotJson(ValueError):
    """NaN or Infinity, which Python would read."""


def json_items(stream: BinaryIO) -> Iterator[Item]:
    """Raises Malformed where the document is not JSON, is cut off, or has a name twice in one object."""
    text = _Text(stream)
    opening = text.peek()
    if opening == "[":
        yield from _array(text, None)
    elif opening == "{":
        yield from _members(text)
    else:
        raise Malformed(text.line, "this is not JSON: it must begin with [ or {")
    if text.peek():
        raise Malformed(text.line, "there is something after the end of the JSON document")


def json_lines(stream: BinaryIO, longest: int = LINE_BYTES) -> Iterator[Item]:
    """One JSON object a line; empty lines are skipped. Raises Malformed."""
    for line, text in text_lines(stream, longest):
        if not text.strip():
            continue
        value, end = _decode(text, 0, partial(_same, line))
        if text[end:].strip():
            raise Malformed(line, "there is something after the end of the JSON value: write one a line")
        if not isinstance(value, dict):
            raise Malformed(line, "each line must be a JSON object")
        yield Item(line, None, value)


def _same(line: int, position: int) -> int:
    return line


def _array(text: "_Text", key: str | None) -> Iterator[Item]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield Item(*text.value(key))
        if text.take(",]") == "]":
            return


def _members(text: "_Text") -> Iterator[Item]:
    text.take("{")
    if text.peek() == "}":
        text.take("}")
        return
    seen: dict[str, None] = {}
    while True:
        line, _, name = text.value(None)
        if not isinstance(name, str):
            raise Malformed(line, "this is not JSON: a member must have a name in double quotes")
        if name in seen:
            raise Malformed(line, repeated_name([*seen, name]))
        seen[name] = None
        text.take(":")
        if text.peek() == "[":
            yield from _array(text, name)
        else:
            yield Item(*text.value(name))
        if text.take(",}") == "}":
            return


class _Text:
    """The document, of which only a window is in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._window = ""
        self._at = 0
        self._counted = 0
        self._line = 1
        self._first = True
        self._ended = False

    @property
    def line(self) -> int:
        self._line += self._window.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._window, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> str:
        """The next character, which must be one of those wanted."""
        found = self.peek()
        if not found:
            raise Malformed(self.line, "the JSON document is cut off")
        if found not in wanted:
            expected = " or ".join(wanted)
            raise Malformed(self.line, f"this is not JSON: expected {expected}")
        self._at += 1
        return found

    def value(self, key: str | None) -> tuple[int, str | None, Any]:
        """Where the next value begins, the key, and the value."""
        if not self.peek():
            raise Malformed(self.line, "the JSON document is cut off")
        begins = self.line
        while True:
            try:
                value, end = _decode(self._window, self._at, self._line_at)
            except _Undecided:
                if not self._more():
                    raise
                continue
            if end - self._at > ITEM_CHARACTERS:
                break
            # Near the end of the window a number might go on, too: “1.5” with “e3”.
            if end + _WORD <= len(self._window) or not self._more():
                self._at = end
                return begins, key, value
        raise self._too_long()

    def _too_long(self) -> Malformed:
        return Malformed(self.line, f"one value is longer than {ITEM_CHARACTERS:,} characters")

    def _line_at(self, position: int) -> int:
        return self.line + self._window.count("\n", self._at, position)

    def _more(self) -> bool:
        """Reads on. Raises Malformed for what is not UTF-8, and for an item that is too large."""
        if self._ended:
            return False
        if len(self._window) - self._at > ITEM_CHARACTERS:
            raise self._too_long()
        self.line  # noqa: B018 - counts the lines that are about to be forgotten
        size = max(CHUNK_BYTES, len(self._window) - self._at)
        raw = self._stream.read(size)
        self._ended = not raw
        if self._first:
            raw, self._first = without_mark(raw), False
        try:
            text = self._decoder.decode(raw, final=self._ended)
        except UnicodeDecodeError as problem:
            before = problem.object[: problem.start].count(b"\n") + self._window.count("\n", self._at)
            raise Malformed(self.line + before, "this is not UTF-8: save the file as UTF-8") from None
        self._window = self._window[self._at :] + text
        self._at = self._counted = 0
        return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Duplicate(repeated_name([name for name, _ in pairs]))
    return made


def _refuse(name: str) -> NoReturn:
    raise _NotJson(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _decode(text: str, at: int, line_at: Callable[[int], int]) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as problem:
        cut = problem.pos >= len(text) or problem.msg.startswith("Unterminated string")
        reason = "the JSON document is cut off" if cut else f"this is not JSON: {problem.msg}"
        undecided = cut or problem.pos + _WORD > len(text)
        raise (_Undecided if undecided else Malformed)(line_at(problem.pos), reason) from None
    except _Duplicate as problem:
        raise Malformed(line_at(at), str(problem)) from None
    except _NotJson as problem:
        raise Malformed(line_at(at), f"this is not JSON: {problem}") from None
    except RecursionError:
        raise Malformed(line_at(at), "this is nested too deeply to be one of these files") from None
    except ValueError:
        # Python refuses to read whole numbers of thousands of digits.
        raise Malformed(line_at(at), "a number is absurdly large") from None
