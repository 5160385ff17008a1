"""Throw-away databases, filled."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks import processes
from tests.postgres import throwaway_server


@dataclass(frozen=True)
class Database:
    """One that benchmarks may do with as they like. ``environment`` makes a process work on it."""

    name: str
    url: str
    var: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url,
            "VAR_DIR": str(self.var),
            "SECRET_KEY": "only-for-benchmarks-" + "0" * 40,
            "HTTPS_ONLY": "false",
        }


def sqlite(directory: Path, name: str, counts: dict[str, int]) -> Database:
    """A file with so many devices of each family."""
    var = directory / name
    var.mkdir()
    return _filled(Database(f"SQLite, {name}", f"sqlite:///{var / 'benchmarks.sqlite3'}", var), counts)


@contextmanager
def postgresql(directory: Path, counts: dict[str, int]) -> Iterator[Database]:
    """A server of its own with so many devices of each family."""
    var = directory / "postgresql"
    var.mkdir()
    with throwaway_server() as server:
        yield _filled(Database("PostgreSQL", server.url, var), counts)


@contextmanager
def empty_postgresql(directory: Path, names: Sequence[str]) -> Iterator[list[Database]]:
    """A server of its own with so many databases that hold nothing yet."""
    with throwaway_server() as server:
        made = []
        for name in names:
            var = directory / name
            var.mkdir()
            with closing(psycopg2.connect(server.url)) as own:
                own.autocommit = True
                own.cursor().execute(f'CREATE DATABASE "{name.replace(" ", "_")}"')
            url = f"{server.url.rpartition('/')[0]}/{name.replace(' ', '_')}"
            made.append(_filled(Database(f"PostgreSQL, {name}", url, var), {}))
        yield made


def fill_further(database: Database, counts: dict[str, int]) -> None:
    """Adds families that it does not hold yet."""
    _filled(database, counts)


def _filled(database: Database, counts: dict[str, int]) -> Database:
    arguments = [f"{name}={count}" for name, count in counts.items()]
    processes.run(["-m", "benchmarks.fleet", *arguments], database.environment)
    return database
