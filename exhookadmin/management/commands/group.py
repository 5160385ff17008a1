"""manage.py group: sets of devices, from a shell or a script."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Count

from accounts import services
from accounts.models import Device, DeviceGroup
from exhookadmin.api.devices import GroupSerializer
from exhookadmin.cli.commands import CommandWithActions
from exhookadmin.cli.output import NOT_FOUND, NOT_UNDERSTOOD, add_json_option, answer, answer_one
from exhookadmin.cli.rows import named

EXAMPLES = """
examples:
  manage.py group add pumps --description "all pumps"
  manage.py group join pumps pump-17 pump-18
  manage.py group list --json

exit codes: 0 done; 1 there is no such group or device; 2 not understood, and nothing was changed
"""


class Command(CommandWithActions):
    help = "Adds, lists and deletes groups, and puts devices into them."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        calls = parser.add_subparsers(dest="call", required=True, metavar="ACTION")
        add = calls.add_parser("add", help="adds a group")
        add.add_argument("name")
        add.add_argument("--description", default="")
        calls.add_parser("list", help="lists groups with the number of their devices")
        delete = calls.add_parser("delete", help="deletes a group; its devices stay")
        delete.add_argument("name")
        delete.add_argument("--yes", action="store_true", help="Needed: there is no way back.")
        for name, words in (("join", "puts devices into a group"), ("leave", "takes devices out of a group")):
            move = calls.add_parser(name, help=words)
            move.add_argument("name")
            move.add_argument("usernames", nargs="+", metavar="username")
        for parser_of in calls.choices.values():
            add_json_option(parser_of)

    def add(self, options: dict[str, Any]) -> None:
        """Adds a group without devices."""
        group = services.save_group(DeviceGroup(name=options["name"], description=options["description"]))
        answer_one(self.stdout, dict(GroupSerializer(group).data), options["json"])

    def list(self, options: dict[str, Any]) -> None:
        """Lists groups by name."""
        groups = DeviceGroup.objects.annotate(size=Count("devices")).order_by("name")
        rows = [{**GroupSerializer(group).data, "devices": group.size} for group in groups]
        answer(self.stdout, rows, ("name", "devices", "description"), options["json"], "There are no groups.")

    def delete(self, options: dict[str, Any]) -> None:
        """For good; what the group's policies allowed its devices ends at once."""
        group = named(DeviceGroup.objects.all(), options["name"])
        if not options["yes"]:
            raise CommandError("Nothing was deleted: add --yes if you mean it.", returncode=NOT_UNDERSTOOD)
        services.delete_groups(DeviceGroup.objects.filter(pk=group.pk))
        answer_one(self.stdout, {"deleted": group.name}, options["json"])

    def join(self, options: dict[str, Any]) -> None:
        """Effective at once."""
        self._move(options, services.join_group)

    def leave(self, options: dict[str, Any]) -> None:
        """Effective at once."""
        self._move(options, services.leave_group)

    def _move(self, options: dict[str, Any], move: Any) -> None:
        group = named(DeviceGroup.objects.all(), options["name"])
        devices = Device.objects.filter(username__in=options["usernames"])
        missing = set(options["usernames"]) - set(devices.values_list("username", flat=True))
        if missing:
            names = ", ".join(f"“{name}”" for name in sorted(missing))
            raise CommandError(f"There is no device with the username {names}.", returncode=NOT_FOUND)
        answer_one(self.stdout, {"group": group.name, "changed": move(devices, group)}, options["json"])
