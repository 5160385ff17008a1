"""Somebody else on the same database, in the midst of a transaction."""

import threading

from django.db import connection, transaction


class Elsewhere(threading.Thread):
    """Does something on a connection of its own and keeps the transaction open until it is told to end."""

    def __init__(self, statement: str) -> None:
        super().__init__(daemon=True)
        self._statement = statement
        self._holds, self._end = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(self._statement)
                self._holds.set()
                self._end.wait(60)
        finally:
            connection.close()

    def __enter__(self) -> None:
        self.start()
        assert self._holds.wait(60)

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self.join(60)
