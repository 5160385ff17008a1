"""manage.py apply: makes groups, policies and rules as a YAML file declares them."""

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.declared.differences import lines
from exhookadmin.declared.state import ChangedMeanwhile, apply
from exhookadmin.management.commands.plan import add_prune_option, planned, read_file

EXAMPLES = """
examples:
  manage.py apply policies.yaml            shows the changes and asks
  manage.py apply policies.yaml --yes      for scripts

exit codes: 0 it is as declared; 1 it was not done: somebody said no, or changed something meanwhile;
2 not understood, and nothing was changed
"""


class Command(CommandWithExamples):
    help = "Changes what differs from a YAML file, all of it or nothing; running it again changes nothing."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The YAML file; - for standard input.")
        parser.add_argument("--yes", action="store_true", help="Does not ask.")
        add_prune_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        declared = read_file(options["file"])
        changes = planned(declared, options["prune"])
        for line in lines(changes):
            self.stdout.write(line)
        if not changes:
            self.stdout.write("Nothing to change.")
            return
        if not options["yes"] and not self._agreed(options["file"]):
            raise CommandError("Nothing was changed.")
        try:
            apply(declared, changes, options["prune"])
        except ChangedMeanwhile:
            raise CommandError(
                "Somebody changed something meanwhile; nothing was changed. Run it again."
            ) from None
        self.stdout.write("Done.")

    def _agreed(self, name: str) -> bool:
        if name == "-" or not sys.stdin.isatty():
            raise CommandError("Add --yes to apply without being asked; nothing was changed.", returncode=2)
        return input("Make these changes? [y/N] ").strip().lower() in ("y", "yes")
