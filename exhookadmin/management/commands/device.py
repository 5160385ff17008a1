"""manage.py device: devices and their credentials, from a shell or a script."""

import sys
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts import services
from accounts.models import BINDINGS, Credential, Device, DeviceGroup
from acl.models import Policy
from acl.services import attach_policies
from exhookadmin.api.credentials import CredentialSerializer
from exhookadmin.api.devices import DeviceSerializer
from exhookadmin.cli.commands import CommandWithActions
from exhookadmin.cli.durations import duration
from exhookadmin.cli.output import NOT_FOUND, NOT_UNDERSTOOD, add_json_option, answer, answer_one
from exhookadmin.cli.rows import named

COLUMNS = ("username", "enabled", "groups", "policies", "client_id_binding", "last_seen_at", "description")
CREDENTIAL_COLUMNS = ("id", "kind", "label", "enabled", "expires_at", "last_used_at")
EXAMPLES = """
examples:
  manage.py device add pump-17 --group pumps --attribute site=berlin --token
  manage.py device list --group pumps
  manage.py device show pump-17 --json
  manage.py device disable pump-17 pump-18
  manage.py device rotate pump-17 --overlap 7d
  manage.py device revoke pump-17 --credential 42

exit codes: 0 done; 1 there is no such device; 2 not understood, and nothing was changed
"""


class Command(CommandWithActions):
    help = "Adds, shows, switches and deletes devices, and gives them credentials."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        calls = parser.add_subparsers(dest="call", required=True, metavar="ACTION")

        add = calls.add_parser("add", help="adds a device")
        add.add_argument("username")
        add.add_argument("--description", default="")
        add.add_argument("--disabled", action="store_true", help="It may not connect yet.")
        add.add_argument(
            "--superuser", action="store_true", help="It may publish and subscribe to everything."
        )
        add.add_argument("--group", action="append", default=[], help="A group's name; may be repeated.")
        add.add_argument("--policy", action="append", default=[], help="A policy's name; may be repeated.")
        add.add_argument("--client-id-binding", choices=[value for value, _ in BINDINGS])
        add.add_argument("--client-id", default="", help="The bound client id, or its prefix.")
        add.add_argument("--network", action="append", default=[], metavar="CIDR", help="May be repeated.")
        add.add_argument("--cn", default="", help="The common name of its certificate.")
        add.add_argument("--attribute", action="append", default=[], metavar="NAME=TEXT")
        add.add_argument("--token", action="store_true", help="Makes a token and prints it, once.")
        add.add_argument("--password-file", metavar="FILE", help="Sets the password in it; - reads one line.")

        found = calls.add_parser("list", help="lists devices")
        found.add_argument("--group", help="Only of this group.")
        state = found.add_mutually_exclusive_group()
        state.add_argument("--enabled", dest="enabled", action="store_true", default=None)
        state.add_argument("--disabled", dest="enabled", action="store_false", default=None)
        found.add_argument("--like", default="", metavar="TEXT", help="Only with this in the username.")
        found.add_argument("--limit", type=int, default=1000, metavar="N", help="The first N (1,000).")

        shown = calls.add_parser("show", help="shows a device with its credentials")
        shown.add_argument("username")

        for name, words in (("enable", "admits devices again"), ("disable", "shuts devices out")):
            calls.add_parser(name, help=words).add_argument("usernames", nargs="+", metavar="username")

        delete = calls.add_parser("delete", help="deletes devices with their credentials and rules")
        delete.add_argument("usernames", nargs="+", metavar="username")
        delete.add_argument("--yes", action="store_true", help="Needed: there is no way back.")

        token = calls.add_parser("token", help="gives a device a further token, and prints it once")
        rotate = calls.add_parser("rotate", help="puts a new token in the place of the live credentials")
        for parser_of in (token, rotate):
            parser_of.add_argument("username")
            parser_of.add_argument("--label", default="")
            parser_of.add_argument("--expires-in", type=duration, metavar="90d")
        rotate.add_argument("--overlap", type=duration, default="0s", metavar="7d",
                            help="For how long the old ones are still accepted (0s).")  # fmt: skip
        rotate.add_argument("--credential", type=int, metavar="ID", help="Only this one.")

        revoke = calls.add_parser("revoke", help="switches credentials off")
        revoke.add_argument("username")
        which = revoke.add_mutually_exclusive_group(required=True)
        which.add_argument("--credential", type=int, metavar="ID")
        which.add_argument("--all", action="store_true")

        for parser_of in calls.choices.values():
            add_json_option(parser_of)

    def add(self, options: dict[str, Any]) -> None:
        """Adds a device, with what it needs, or nothing at all."""
        fields = {
            "description": options["description"],
            "enabled": not options["disabled"],
            "superuser": options["superuser"],
            "client_id": options["client_id"],
            "networks": "\n".join(options["network"]),
            "certificate_cn": options["cn"],
            "attributes": dict(_pair(text) for text in options["attribute"]),
        }
        if options["client_id_binding"]:
            fields["client_id_binding"] = options["client_id_binding"]
        groups = [named(DeviceGroup.objects.all(), name) for name in options["group"]]
        device = services.create_device(options["username"], groups=groups, **fields)
        attach_policies(device, [named(Policy.objects.all(), name) for name in options["policy"]])
        if options["password_file"]:
            services.add_password(device, _password(options["password_file"]))
        shown = dict(DeviceSerializer(device).data)
        if options["token"]:
            shown["token"] = services.create_token(device)[1]
        answer_one(self.stdout, shown, options["json"])

    def list(self, options: dict[str, Any]) -> None:
        """Lists devices by username."""
        devices = Device.objects.prefetch_related("groups", "policies").order_by("username")
        if options["group"]:
            devices = devices.filter(groups=named(DeviceGroup.objects.all(), options["group"]))
        if options["enabled"] is not None:
            devices = devices.filter(enabled=options["enabled"])
        if options["like"]:
            devices = devices.filter(username__icontains=options["like"])
        rows = DeviceSerializer(devices[: max(0, options["limit"])], many=True).data
        answer(self.stdout, rows, COLUMNS, options["json"], "There is no such device.")

    def show(self, options: dict[str, Any]) -> None:
        """Shows a device and its credentials, never a secret."""
        device = _device(options["username"])
        shown = dict(DeviceSerializer(device).data)
        credentials = CredentialSerializer(device.credentials.order_by("pk"), many=True).data
        if options["json"]:
            answer_one(self.stdout, {**shown, "credentials": credentials}, True)
            return
        answer_one(self.stdout, shown, False)
        self.stdout.write("")
        answer(self.stdout, credentials, CREDENTIAL_COLUMNS, False, "It has no credentials.")

    def enable(self, options: dict[str, Any]) -> None:
        """Effective at once."""
        self._switch(options, True)

    def disable(self, options: dict[str, Any]) -> None:
        """Effective at the next publish, also of connections that live."""
        self._switch(options, False)

    def _switch(self, options: dict[str, Any], enabled: bool) -> None:
        devices = [_device(username) for username in options["usernames"]]
        changed = services.set_enabled(
            Device.objects.filter(pk__in=[device.pk for device in devices]), enabled
        )
        answer_one(self.stdout, {"devices": len(devices), "changed": changed}, options["json"])

    def delete(self, options: dict[str, Any]) -> None:
        """For good."""
        devices = [_device(username) for username in options["usernames"]]
        if not options["yes"]:
            raise CommandError("Nothing was deleted: add --yes if you mean it.", returncode=NOT_UNDERSTOOD)
        deleted = services.delete_devices(Device.objects.filter(pk__in=[device.pk for device in devices]))
        answer_one(self.stdout, {"deleted": deleted}, options["json"])

    def token(self, options: dict[str, Any]) -> None:
        """A further token; the others stay live."""
        self._made(
            *services.create_token(_device(options["username"]), options["label"], _end(options)), options
        )

    def rotate(self, options: dict[str, Any]) -> None:
        """One new token for all live credentials, or for the one that is named."""
        live = _live(_device(options["username"]), options["credential"])
        made = services.rotate_token(live[0], options["overlap"], options["label"], _end(options))
        for credential in live[1:]:
            services.end_credential(credential, options["overlap"])
        self._made(*made, options)

    def _made(self, credential: Credential, token: str, options: dict[str, Any]) -> None:
        answer_one(self.stdout, {**CredentialSerializer(credential).data, "token": token}, options["json"])

    def revoke(self, options: dict[str, Any]) -> None:
        """Connections that live stay until they end."""
        live = _live(_device(options["username"]), options["credential"])
        for credential in live:
            services.switch_credential(credential, False)
        answer_one(self.stdout, {"revoked": len(live)}, options["json"])


def _device(username: str) -> Device:
    return named(Device.objects.all(), username, "username")


def _live(device: Device, number: int | None) -> list[Credential]:
    rows = device.credentials.filter(enabled=True).order_by("-pk")
    live = [
        row
        for row in (rows if number is None else rows.filter(pk=number))
        if row.expires_at is None or row.expires_at > timezone.now()
    ]
    if not live:
        which = "live credential" if number is None else f"live credential with the id {number}"
        raise CommandError(f"“{device}” has no {which}; see: device show", returncode=NOT_FOUND)
    return live


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--attribute: “{text}” has no “=”; write site=berlin.", returncode=NOT_UNDERSTOOD)
    return name, value


def _end(options: dict[str, Any]) -> datetime | None:
    return None if options["expires_in"] is None else timezone.now() + options["expires_in"]


def _password(name: str) -> str:
    if name == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with open(name, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--password-file: {error}", returncode=NOT_UNDERSTOOD) from None
