"""A JSON array of any length, an item a line."""

import json
from collections.abc import Iterator
from typing import Any


class JsonArray:
    """Spells items one after another; memory is that of one."""

    def __init__(self) -> None:
        self._first = True

    def item(self, value: Any) -> bytes:
        """The next item, with what stands before it."""
        before, self._first = ("[\n" if self._first else ",\n"), False
        return (before + json.dumps(value, ensure_ascii=False)).encode()

    def end(self) -> Iterator[bytes]:
        """What closes it."""
        yield b"[]" if self._first else b"\n]"
