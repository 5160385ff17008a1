"""The web interface under gunicorn, as a child of ``run_exhook --web HOST:PORT``."""

import os
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from exhookadmin.exhook.lifetime import end_with_parent

THREADS = 4


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
        self.cfg.set("loglevel", "warning")

    def load(self) -> Any:
        from exhookadmin.wsgi import application

        return application


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exhookadmin.settings")
    end_with_parent()
    Web(sys.argv[1]).run()
