"""manage.py audit_dead_letters: the facts that the database refused, and another try."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from msgspec import structs

from audit.dead_letters import DeadLetters, Letter
from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.cli.output import NOT_FOUND, add_json_option, answer

COLUMNS = ("set_aside", "error", "time", "kind", "client_id", "id")
EXAMPLES = """
examples:
  manage.py audit_dead_letters
  manage.py audit_dead_letters --json | jq .fact
  manage.py audit_dead_letters --retry

exit codes: 0 there are none, or none any more; 1 there are some
"""


class Command(CommandWithExamples):
    help = "Lists the facts of this machine that the database refused, or writes them again."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        add_json_option(parser)
        parser.add_argument("--retry", action="store_true", help="Writes them again; what is stored goes.")
        parser.add_argument(
            "--directory", default=settings.EXHOOK_SPOOL_DIR, help="The spool directory (EXHOOK_SPOOL_DIR)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(options["directory"])
        if not root.is_dir():
            raise CommandError(f"{root} is no directory: name the spool directory with --directory.")
        letters = DeadLetters(root)
        if options["retry"]:
            self._retry(letters, options["json"])
            return
        rows = [_row(letter) for letter in letters]
        answer(self.stdout, rows, COLUMNS, options["json"], "There are no dead letters.")
        if rows:
            raise SystemExit(NOT_FOUND)

    def _retry(self, letters: DeadLetters, as_json: bool) -> None:
        retried = letters.retry()
        if as_json:
            answer(self.stdout, [asdict(retried)], (), as_json)
        else:
            away = " The database is away: try again later." if retried.database_away else ""
            self.stdout.write(f"{retried.stored} stored, {retried.left} left.{away}")
        if retried.left:
            raise SystemExit(NOT_FOUND)


def _row(letter: Letter) -> dict[str, Any]:
    fact = letter.fact
    row: dict[str, Any] = {
        "set_aside": datetime.fromtimestamp(letter.at, UTC),
        "error": letter.error,
        "id": None,
        "time": None,
        "kind": None,
        "client_id": None,
    }
    if fact is None:
        return row | {"record": letter.record.decode(errors="backslashreplace")}
    told = structs.asdict(fact)
    return row | {name: told[name] for name in ("id", "time", "kind", "client_id")} | {"fact": told}
