"""manage.py restore: what `backup` wrote, into this database, through the import."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = (
        "Makes everything in the file as the file has it; what the file does not name stays. Checks all of "
        "it first. Killed, it goes on when it is called again. Exit codes are those of import."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="- for standard input.")
        parser.add_argument("--dry-run", action="store_true", help="Only says what would be done.")
        parser.add_argument("--report", metavar="FILE", help="Writes every row with its outcome, as CSV.")

    def handle(self, *args: Any, **given: Any) -> None:
        call_command(
            "import",
            "fleet-jsonl",
            given["file"],
            dry_run=given["dry_run"],
            report=given["report"],
            stdout=self.stdout,
            stderr=self.stderr,
        )
