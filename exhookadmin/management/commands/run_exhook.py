"""manage.py run_exhook: the gRPC HookProvider that EMQX asks."""

import os
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from exhookadmin.exhook.metrics_http import AddressProblem
from exhookadmin.exhook.preflight import MOST_PORT, CannotStart, check_settings, check_web_address
from exhookadmin.exhook.supervisor import PortTaken, Supervisor
from exhookadmin.logs import log_the_uncaught


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_PORT:
        raise ArgumentTypeError(f"“{text}” is no port: write a number from 1 to {MOST_PORT}, or 0 for any.")
    return int(text)


class Command(BaseCommand):
    help = "Runs the gRPC endpoint that EMQX’s ExHook feature asks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host",
            default="127.0.0.1",
            help="Address to listen on (default: %(default)s). For an EMQX on another machine: 0.0.0.0, "
            "in a network that only the brokers reach.",
        )
        parser.add_argument(
            "--port", type=_port, default=9000, help="Port to listen on (default: %(default)s)."
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=os.cpu_count() or 1,
            help="Processes that share the port (default: one for each CPU, here %(default)s).",
        )
        parser.add_argument(
            "--web",
            metavar="HOST:PORT",
            help="Also serve the web interface there, for example 127.0.0.1:8000.",
        )

        parser.add_argument(
            "--metrics",
            metavar="HOST:PORT",
            default=settings.EXHOOK_METRICS,
            help="Serve /metrics, /healthz and /readyz there, or nowhere when empty "
            "(default: EXHOOK_METRICS, here “%(default)s”).",
        )

    def handle(
        self,
        *args: Any,
        host: str,
        port: int,
        workers: int,
        web: str | None,
        metrics: str,
        **options: Any,
    ) -> None:
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        try:
            check_settings()
            self._require_migrations()
            supervisor = Supervisor(host, port, workers, web, metrics)
            # Only now: of a second run_exhook the first thing to say is that there is another one.
            if web:
                check_web_address(web)
            log_the_uncaught()
            sys.exit(supervisor.run())
        except (CannotStart, AddressProblem) as problem:
            raise CommandError(str(problem)) from None
        except PortTaken:
            raise CommandError(
                f"{host}:{port} is in use: another run_exhook, or another program, listens there already. "
                "Stop it, or choose another port with --port."
            ) from None

    def _require_migrations(self) -> None:
        try:
            executor = MigrationExecutor(connection)
            pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except Error as error:
            raise CommandError(
                f"The database cannot be reached: {str(error).strip()}. Check DATABASE_URL."
            ) from None
        finally:
            connection.close()
        if pending:
            raise CommandError("The database is not up to date. Run: python manage.py migrate")
