"""manage.py run_exhook: the gRPC HookProvider that EMQX asks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Runs the gRPC endpoint that EMQX’s ExHook feature asks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="0.0.0.0", help="Address to listen on (default: %(default)s).")
        parser.add_argument("--port", type=int, default=9000, help="Port to listen on (default: %(default)s).")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        # Imported here: grpc must not be loaded by commands that never use it.
        from exhookadmin.exhook.grpcio_transport import PortTaken
        from exhookadmin.exhook.server import run

        try:
            run(host, port)
        except PortTaken:
            raise CommandError(
                f"{host}:{port} is in use: another run_exhook, or another program, listens there already. "
                f"Stop it, or choose another port with --port."
            ) from None
