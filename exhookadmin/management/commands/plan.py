"""manage.py plan: what a declared state would change, without changing it."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.declared.differences import Changes, lines
from exhookadmin.declared.document import Declared, NotUnderstood, read_document, write_document
from exhookadmin.declared.state import current_state, plan

DIFFERENT = 1
EXAMPLES = """
examples:
  manage.py plan --current > policies.yaml
  manage.py plan policies.yaml
  manage.py apply policies.yaml --yes

exit codes: 0 nothing would change; 1 something would; 2 not understood
"""


class Command(CommandWithExamples):
    help = "Shows what must change so that groups, policies and rules are as a YAML file declares them."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("file", nargs="?", help="The YAML file; - for standard input.")
        what.add_argument("--current", action="store_true", help="Prints the present state as such a file.")
        add_prune_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["current"]:
            self.stdout.write(write_document(current_state()), ending="")
            return
        changes = planned(read_file(options["file"]), options["prune"])
        for line in lines(changes):
            self.stdout.write(line)
        if changes:
            raise SystemExit(DIFFERENT)
        self.stdout.write("Nothing would change.")


def add_prune_option(parser: CommandParser) -> None:
    """Of plan and apply."""
    parser.add_argument(
        "--prune", action="store_true", help="Deletes the groups and policies that the file does not name."
    )


def read_file(name: str) -> Declared:
    """Raises CommandError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        return read_document(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name}: {error}", returncode=2) from None
    except NotUnderstood as problem:
        raise CommandError(f"{name}: nothing was changed.\n{problem}", returncode=2) from None


def planned(declared: Declared, prune: bool) -> Changes:
    """Raises CommandError."""
    try:
        return plan(declared, prune)
    except NotUnderstood as problem:
        raise CommandError(f"Nothing was changed.\n{problem}", returncode=2) from None
