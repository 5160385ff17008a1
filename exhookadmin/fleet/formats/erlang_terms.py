"""Erlang terms as ``file:consult/1`` reads them, one after another, each ended by a full stop.

Of the language this knows what a configuration holds: atoms, integers, strings, binaries, tuples, lists and
comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.text_lines import text_lines

MOST_DEPTH = 50


class Atom(str):
    """An Erlang atom; a plain ``str`` is a string or a binary, which mean the same here."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Atom({str(self)!r})"


@dataclass(frozen=True, slots=True)
class Term:
    """A whole term and the line on which it begins."""

    line: int
    value: object


@dataclass(frozen=True, slots=True)
class _Token:
    line: int
    kind: str
    text: str


_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\f\v]+ | %.*)
  | (?P<binary><<[ ]*"(?:[^"\\]|\\.)*"(?:/utf8)?[ ]*>>)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<quoted>'(?:[^'\\]|\\.)*')
  | (?P<atom>[a-z][A-Za-z0-9_@]*)
  | (?P<integer>[+-]?[0-9]{1,18}(?![0-9\#.][0-9A-Za-z]))
  | (?P<stop>\.(?=[ \t%]|$))
  | (?P<mark>[{}\[\],])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    "b": "\b", "d": "\x7f", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "s": " ", "t": "\t", "v": "\v",
}  # fmt: skip


def erlang_terms(stream: BinaryIO) -> Iterator[Term]:
    """Raises Malformed, with the line."""
    tokens = _Tokens(stream)
    while (token := tokens.next_or_end()) is not None:
        value = _value(tokens, token, 0)
        end = tokens.next("a full stop")
        if end.kind != "stop":
            raise Malformed(end.line, "expected a full stop after the term")
        yield Term(token.line, value)


class _Tokens:
    def __init__(self, stream: BinaryIO) -> None:
        self._tokens = _tokens(stream)
        self._line = 1

    def next_or_end(self) -> _Token | None:
        token = next(self._tokens, None)
        self._line = token.line if token else self._line
        return token

    def next(self, wanted: str) -> _Token:
        token = self.next_or_end()
        if token is None:
            raise Malformed(self._line, f"the file is cut off: {wanted} is missing")
        return token


def _tokens(stream: BinaryIO) -> Iterator[_Token]:
    for line, text in text_lines(stream):
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                open_string = text[at] in "\"'<"
                what = (
                    "a string is not closed"
                    if open_string
                    else f"from column {at + 1} on it is no Erlang term"
                )
                raise Malformed(line, what)
            at = found.end()
            if found.lastgroup != "space":
                yield _Token(line, str(found.lastgroup), found[0])


def _value(tokens: _Tokens, token: _Token, depth: int) -> object:
    if depth > MOST_DEPTH:
        raise Malformed(token.line, "this is nested too deeply")
    match token.kind, token.text:
        case "atom", text:
            return Atom(text)
        case "quoted", text:
            return Atom(_unescaped(text[1:-1], token.line))
        case "string", text:
            return _unescaped(text[1:-1], token.line)
        case "binary", text:
            return _unescaped(text[text.index('"') + 1 : text.rindex('"')], token.line)
        case "integer", text:
            return int(text)
        case "mark", "{":
            return tuple(_elements(tokens, "}", depth + 1))
        case "mark", "[":
            return _elements(tokens, "]", depth + 1)
    raise Malformed(token.line, 'expected a term such as allow, {…}, […] or "…"')


def _elements(tokens: _Tokens, closing: str, depth: int) -> list[object]:
    elements: list[object] = []
    token = tokens.next(closing)
    if token.text == closing and token.kind == "mark":
        return elements
    while True:
        elements.append(_value(tokens, token, depth))
        separator = tokens.next(closing)
        if separator.kind == "mark" and separator.text == closing:
            return elements
        if separator.kind != "mark" or separator.text != ",":
            raise Malformed(separator.line, f"expected “,” or “{closing}” after an element")
        token = tokens.next("a term")


def _unescaped(text: str, line: int) -> str:
    def plain(found: re.Match[str]) -> str:
        escape = found[1]
        if escape[0] == "x" and len(escape) > 1:
            return chr(_code(int(escape.strip("x{}"), 16), line))
        if escape[0] in "01234567":
            return chr(_code(int(escape, 8), line))
        return _ESCAPES.get(escape, escape)

    return _ESCAPE.sub(plain, text) if "\\" in text else text


def _code(code: int, line: int) -> int:
    if not 0 < code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise Malformed(line, "an escape in a string names no character")
    return code
