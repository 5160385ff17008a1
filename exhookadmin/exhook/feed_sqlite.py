"""The change feed on SQLite: triggers move two numbers with each change, and those are polled."""

import os
import threading

from django.db import OperationalError, connection

from exhookadmin.exhook.memory import Change

Numbers = tuple[int, int]

# A look costs 20 µs as long as the connection stays open.
POLL_SECONDS = 0.1


class Poller:
    """Looks at the revision. Used by one thread, but for ``wake``."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._file: tuple[int, int] | None = None
        self._numbers: Numbers | None = None

    def open(self) -> None:
        """From now on no change is missed. Raises django.db.Error or OSError."""
        self._file = _file()
        self._numbers = _numbers()

    def wait(self) -> Change | None:
        """What changed since the last call: devices, policies, both, or nothing.

        Raises django.db.Error or OSError.
        """
        self._woken.wait(POLL_SECONDS)
        if _file() != self._file:
            # A connection would go on reading the file that it has opened.
            raise OperationalError("another file has taken the place of the database")
        before, self._numbers = self._numbers, _numbers()
        if self._numbers == before:
            return None
        if self._numbers is None or before is None:
            return Change(everything=True, policies=True)
        devices, policies = (now != then for now, then in zip(self._numbers, before, strict=True))
        return Change(everything=devices, policies=policies)

    def wake(self) -> None:
        """Ends a wait at once; any thread may call it."""
        self._woken.set()

    def close(self) -> None:
        connection.close()


def _file() -> tuple[int, int]:
    status = os.stat(connection.settings_dict["NAME"])
    return status.st_dev, status.st_ino


def _numbers() -> Numbers | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT devices, policies FROM exhookadmin_revision WHERE id = 1")
        row: Numbers | None = cursor.fetchone()
    return row
