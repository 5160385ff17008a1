"""Lines of text from bytes: UTF-8, numbered from 1, of bounded length, whatever their line ends."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from exhookadmin.fleet.formats.malformed import Malformed

LINE_BYTES = 256 * 1024
"""The longest line; a longer one is no row of any of these formats, and would cost its length in memory."""

_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
}


def text_lines(stream: BinaryIO, longest: int = LINE_BYTES) -> Iterator[tuple[int, str]]:
    """Each line with its number and without its end. A byte order mark is skipped.

    Raises Malformed for what is not UTF-8, holds NUL, or is longer than ``longest`` bytes.
    """
    number = 0
    while raw := stream.readline(longest + 1):
        number += 1
        if len(raw) > longest:
            raise Malformed(number, f"the line is longer than {longest:,} bytes")
        if number == 1:
            raw = without_mark(raw)
        yield number, decoded(raw, number).rstrip("\r\n")


def without_mark(start: bytes) -> bytes:
    """The beginning of a file without UTF-8's byte order mark. Raises Malformed for another encoding's."""
    for mark, name in _FOREIGN_MARKS.items():
        if start.startswith(mark):
            raise Malformed(1, f"the file is {name}: save it as plain UTF-8 text")
    return start.removeprefix(codecs.BOM_UTF8)


def decoded(raw: bytes, line: int) -> str:
    """One line's text. Raises Malformed."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as problem:
        raise Malformed(line, f"byte {problem.start + 1} is not UTF-8: save the file as UTF-8") from None
    if "\0" in text:
        raise Malformed(line, "it holds the character NUL, which no text file has")
    return text
