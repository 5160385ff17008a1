"""manage.py audit_maintain: partitions ahead of time, and what has expired taken away."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from audit.maintenance import Busy, maintain

EXIT_WARNINGS = 3


class Command(BaseCommand):
    help = (
        "Creates the audit log’s next partitions and takes away what has expired. run_exhook does this every "
        "hour. Exits with 0 when all is well, 1 when it failed, 3 when somebody should look at its warnings."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")
        parser.add_argument(
            "--trust-clock",
            action="store_true",
            help="The database’s clock is right although it has leapt: delete what is old by it.",
        )

    def handle(self, *args: Any, dry_run: bool, trust_clock: bool, **options: Any) -> None:
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            self.stdout.write(text)

        try:
            outcome = maintain(say, dry_run=dry_run, trust_clock=trust_clock)
        except Busy:
            self.stdout.write("Another process is doing this at the moment.")
            return
        except Error as error:
            raise CommandError(f"The database failed: {str(error).strip()}") from error
        for text in outcome.warnings:
            self.stderr.write(self.style.WARNING(f"Warning: {text}"))
        if outcome.problems:
            raise CommandError(" ".join(outcome.problems))
        if not said:
            self.stdout.write("There is nothing to do.")
        if outcome.warnings:
            sys.exit(EXIT_WARNINGS)
