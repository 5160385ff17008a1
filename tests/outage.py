"""The database really goes away: its address turns dead, and its connections are cut."""

import time
from pathlib import Path
from typing import Any

from django.db import connection, connections

# Nothing listens there, and nothing can: ports below 1024 are for those who ask.
DEAD_PORT = 1
LOOKS = 10
LOOK_AGAIN_SECONDS = 0.03


class Outage:
    """An outage as every thread but the test's own sees it; the test may go on using its connection."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = connections.settings["default"]
        self._address = {name: self._settings[name] for name in ("NAME", "PORT")}

    def begin(self) -> None:
        """Nobody can connect any more, and on PostgreSQL those who are connected are thrown out.

        On SQLite every request connects anew.
        """
        connection.ensure_connection()
        if connection.vendor == "postgresql":
            self._settings["PORT"] = DEAD_PORT
            with connection.cursor() as cursor:
                # More than once: who was just connecting is not listed yet, and would go on.
                for _ in range(LOOKS):
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    time.sleep(LOOK_AGAIN_SECONDS)
        else:
            self._settings["NAME"] = str(Path(self._address["NAME"]).parent / "unplugged" / "disk.sqlite3")

    def end(self) -> None:
        """It is back, with all its rows."""
        self._settings.update(self._address)
