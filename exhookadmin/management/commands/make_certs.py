"""manage.py make_certs: certificates for trying TLS between EMQX and the endpoint."""

import socket
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from exhookadmin.exhook.demo.certificates import issue, new_ca, read_ca

DAYS = 30


class Command(BaseCommand):
    help = (
        "Makes a CA of its own, and with it a certificate for the endpoint and one for EMQX, to try TLS. "
        "In production use your organisation’s CA."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--directory", type=Path, default=None, help="Where to write them (default: certs in VAR_DIR)."
        )
        parser.add_argument(
            "--host",
            action="append",
            metavar="NAME",
            help="Further names or addresses of the endpoint, as EMQX’s url has them. May be repeated.",
        )
        parser.add_argument(
            "--client",
            default="emqx",
            metavar="NAME",
            help="Name (CN) in EMQX’s certificate (default: %(default)s).",
        )
        parser.add_argument(
            "--days",
            type=int,
            default=DAYS,
            help="How long the certificates are valid (default: %(default)s).",
        )

    def handle(
        self,
        *args: Any,
        directory: Path | None,
        host: list[str] | None,
        client: str,
        days: int,
        **options: Any,
    ) -> None:
        if days < 1:
            raise CommandError("--days must be at least 1.")
        directory = directory or settings.VAR_DIR / "certs"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            ca = read_ca(directory)
            kept = ca is not None
            if ca is None:
                # Twice as long, so that what it signs can be renewed under it.
                ca = new_ca(days=2 * days)
                ca.write(directory, "ca")
            names = [*dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), *(host or [])])]
            server = issue(ca, names[0], names, days)
            server.write(directory, "server")
            issue(ca, client, [client], days).write(directory, "client")
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be written: {error.strerror}.") from None
        except ValueError as error:
            raise CommandError(f"A name cannot stand in a certificate: {error}") from None
        until = min(server.certificate.not_valid_after_utc, ca.certificate.not_valid_after_utc)
        self.stdout.write(
            f"""\
Made in {directory}, valid until {until:%Y-%m-%d}, for trying only:
  ca.pem, ca.key          the CA{" (kept from an earlier run)" if kept else ""}
  server.pem, server.key  the endpoint, as {", ".join(names)}
  client.pem, client.key  EMQX, as {client}

The endpoint:
  EXHOOK_TLS_CERT={directory / "server.pem"}
  EXHOOK_TLS_KEY={directory / "server.key"}
and to admit only who has a certificate of this CA, and this name:
  EXHOOK_TLS_CLIENT_CA={directory / "ca.pem"}
  EXHOOK_TLS_CLIENT_NAMES={client}

EMQX 5 and 6 (the provider’s ssl settings; copy the files to where EMQX reads them):
  url = "https://localhost:9000"
  ssl {{ enable = true, verify = verify_peer, cacertfile = "ca.pem", certfile = "client.pem", \
keyfile = "client.key" }}

docs/tls.md has the rest: EMQX 4, the REST call, and how to renew without a restart."""
        )
