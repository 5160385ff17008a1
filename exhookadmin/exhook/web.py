"""The web interface under gunicorn, as a child of ``run_exhook --web HOST:PORT``."""

import logging
import logging.config
import os
import sys
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from exhookadmin.exhook.lifetime import end_with_parent
from exhookadmin.logs import LOGGING, log_the_uncaught

THREADS = 4


class JsonLogger(Logger):
    """gunicorn's messages, in our log format instead of its own."""

    def setup(self, cfg: Any) -> None:
        self.loglevel = logging.WARNING
        self.error_log.setLevel(self.loglevel)
        self.error_log.propagate = True


class Web(BaseApplication):
    """gunicorn with one process and a few threads: people, not devices, come this way."""

    def __init__(self, bind: str) -> None:
        self._bind = bind
        super().__init__()

    def load_config(self) -> None:
        self.cfg.set("bind", self._bind)
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", THREADS)
        self.cfg.set(
            "control_socket_disable", True
        ) if "control_socket_disable" in self.cfg.settings else None
        self.cfg.set("accesslog", None)
        self.cfg.set("logger_class", JsonLogger)

    def load(self) -> Any:
        from exhookadmin.wsgi import application

        return application


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exhookadmin.settings")
    logging.config.dictConfig(LOGGING)
    log_the_uncaught()
    end_with_parent()
    Web(sys.argv[1]).run()
