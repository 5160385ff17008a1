"""manage.py exhook_probe: acts as EMQX towards a running endpoint."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

PASSWORD_VARIABLE = "EXHOOK_PROBE_PASSWORD"


class Command(BaseCommand):
    help = (
        "Acts as EMQX towards a running endpoint and prints a table of checks. Exit code 0: all is well; "
        "1: a check failed; 2: the endpoint cannot be reached. Creates nothing; its calls are in the audit "
        "log, under the cluster exhook-probe."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--target", default="127.0.0.1:9000", help="The endpoint, host:port (default: %(default)s)."
        )
        parser.add_argument(
            "--protocol", choices=["v1", "v2", "v3"], default="v3", help="Default: %(default)s."
        )
        tls = parser.add_argument_group("TLS")
        tls.add_argument("--tls", action="store_true", help="Connect with TLS.")
        tls.add_argument("--ca", type=Path, help="PEM file with the authority that signed its certificate.")
        tls.add_argument("--cert", type=Path, help="PEM file with a client certificate.")
        tls.add_argument("--key", type=Path, help="PEM file with the client certificate’s key.")
        tls.add_argument("--server-name", default="", help="The name in its certificate, if not the host.")
        device = parser.add_argument_group(
            "a device to try; without one only a stranger’s refusal is checked"
        )
        device.add_argument("--username", default="")
        device.add_argument("--client-id", default="", help="Default: the username.")
        device.add_argument(
            "--address", default="127.0.0.1", help="Where it says to connect from (default: %(default)s)."
        )
        device.add_argument(
            "--password", default="", help="Other users of this machine can see it. Better are:"
        )
        device.add_argument("--password-file", type=Path, help="A file that holds it.")
        device.add_argument(
            "--publish", default="", metavar="TOPIC", help="A topic the device may publish to."
        )
        device.add_argument("--subscribe", default="", metavar="FILTER", help="A filter it may subscribe to.")
        parser.epilog = f"The password can also come in the environment variable {PASSWORD_VARIABLE}."

    def handle(self, *args: Any, **options: Any) -> None:
        # Imported here: grpc must not be loaded by commands that never use it.
        from exhookadmin.exhook.emqx import Target, Unreachable
        from exhookadmin.exhook.probe import Device, probe, table, version_named

        target = Target(
            address=options["target"],
            tls=options["tls"],
            ca=options["ca"],
            cert=options["cert"],
            key=options["key"],
            server_name=options["server_name"],
        )
        files = [name for name in ("ca", "cert", "key", "server_name") if options[name]]
        if files and not target.tls:
            raise CommandError(f"--{files[0].replace('_', '-')} is for TLS: add --tls.", returncode=2)
        if (target.cert is None) != (target.key is None):
            raise CommandError("--cert and --key belong together: give both.", returncode=2)
        device = Device(
            options["client_id"], options["username"], self._password(options), options["address"]
        )
        if device.password and not device.known:
            raise CommandError("Whose password is it? Add --username or --client-id.", returncode=2)
        if (options["publish"] or options["subscribe"]) and not device.known:
            raise CommandError("Who asks? Add --username or --client-id.", returncode=2)
        try:
            checks = list(
                probe(
                    target,
                    version_named(options["protocol"]),
                    device,
                    options["publish"],
                    options["subscribe"],
                )
            )
        except Unreachable as problem:
            raise CommandError(str(problem), returncode=2) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}.", returncode=2) from None
        self.stdout.write(table(checks))
        failed = [check for check in checks if check.passed is False]
        if failed:
            self.stdout.write(f"{len(failed)} of {len(checks)} checks failed: {failed[0].name} …")
            raise SystemExit(1)
        self.stdout.write("All is well.")

    def _password(self, options: dict[str, Any]) -> str:
        if options["password"] and options["password_file"]:
            raise CommandError("Give --password or --password-file, not both.", returncode=2)
        if options["password_file"]:
            try:
                return str(options["password_file"].read_text()).rstrip("\r\n")
            except OSError as problem:
                raise CommandError(f"{problem.filename}: {problem.strerror}.", returncode=2) from None
        return str(options["password"] or os.environ.get(PASSWORD_VARIABLE, ""))
