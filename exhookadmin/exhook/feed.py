"""The change feed: what is changed in the database takes effect in this process."""

import logging
import threading
import time

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from exhookadmin.exhook.directory import Change, Directory
from exhookadmin.models import Revision

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25


class Feed:
    """Polls the revision row on a thread of its own and refreshes the directory when it moves."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._closing = False
        self._revision: int | None = None
        self._thread = threading.Thread(target=self._run, name="change-feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._thread.join(5)

    def poll(self) -> bool:
        """Looks once. True when something had changed. Raises django.db.Error."""
        revision = Revision.objects.values_list("number", flat=True).get(pk=1)
        if revision == self._revision:
            return False
        self._directory.load_policies()
        self._directory.invalidate(Change(everything=True))
        self._revision = revision
        return True

    def _run(self) -> None:
        away = False
        while not self._closing:
            close_old_connections()
            try:
                self.poll()
                away = False
            except (OperationalError, InterfaceError):
                if not away:
                    logger.exception("the change feed has lost the database; what is known goes on serving")
                away = True
                self._directory.doubt()
            except Exception:
                logger.exception("the change feed stumbled")
            time.sleep(POLL_SECONDS)
        connection.close()
