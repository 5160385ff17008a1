"""What an import must remember of every row, on disk: its memory stays the same for any number of them."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

CACHE_KIBIBYTES = 4096


class Scratch:
    """Names that a file has used, with their lines; and rows of the database that it still wants."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode=off", "synchronous=off", f"cache_size=-{CACHE_KIBIBYTES}"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE names (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY)")
        self._database.execute("BEGIN")

    def close(self) -> None:
        self._database.close()

    def repeated(self, names: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
        """Notes names with their lines; gives those that were there before: name, line, first line."""
        before = self._database.total_changes
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", names)
        if self._database.total_changes - before == len(names):
            return
        for name, line in names:
            [(first,)] = self._database.execute("SELECT line FROM names WHERE name = ?", (name,))
            if first != line:
                yield name, line, first

    def keep(self, ids: Iterable[int]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((one,) for one in ids))

    def not_kept(self, ids: Sequence[int]) -> list[int]:
        """Those of the ids that were never kept."""
        marks = ",".join("?" * len(ids))
        kept = {row[0] for row in self._database.execute(f"SELECT id FROM kept WHERE id IN ({marks})", ids)}
        return [one for one in ids if one not in kept]


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A Scratch that leaves nothing behind."""
    with tempfile.NamedTemporaryFile(prefix="exhookadmin-import-") as file:
        made = Scratch(file.name)
        try:
            yield made
        finally:
            made.close()
