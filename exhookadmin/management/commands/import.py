"""manage.py import: devices, credentials and rules from the files of other brokers, or our own."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError

from accounts.core.binding import Binding
from accounts.stored_hashes import MACS, SALT_POSITIONS
from accounts.validators import ATTRIBUTE_NAME
from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.cli.output import NOT_UNDERSTOOD, cell
from exhookadmin.fleet.formats.emqx_users import ALGORITHMS
from exhookadmin.fleet.formats.go_auth_hash import SALT_ENCODINGS
from exhookadmin.fleet.formats.known import FORMATS
from exhookadmin.fleet.formats.options import LIST_NAME_CHARACTERS, Options
from exhookadmin.fleet.importing import Choices, ImportRefused, import_fleet
from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.report import Report

SOME_REFUSED = 1
WORDS = {
    Kind.ERROR: "Errors",
    Kind.ALLOW_LOST: "Allows that would be left out (accept with --drop-allows)",
    Kind.DENY_WIDER: "Denies that would become wider (accept with --widen-denies)",
    Kind.REFUSED: "Refused rows",
    Kind.REMARK: "Remarks",
}
EPILOG = """
formats:
{formats}

examples:
  manage.py import emqx-users-csv users.csv --algorithm sha256 --salt-position prefix --dry-run
  manage.py import emqx-acl-conf acl.conf --dry-run
  manage.py import mosquitto-passwords passwd --client-id-binding any --report report.csv
  manage.py import devices-csv devices.csv

exit codes: 0 done; 1 done, but for the rows that were refused; 2 nothing was changed
""".format(formats="\n".join(f"  {name:<27} {one.title}" for name, one in FORMATS.items()))


class Command(CommandWithExamples):
    help = (
        "Imports a file: devices by username, rules as a list. Checks all of it first and changes nothing "
        "where it cannot be read, or would open access. Killed, it goes on when it is called again."
    )

    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("format", choices=FORMATS, metavar="FORMAT", help="See below.")
        parser.add_argument("file", metavar="FILE", help="- for standard input.")
        parser.add_argument("--dry-run", action="store_true", help="Only says what would be done.")
        parser.add_argument("--report", metavar="FILE", help="Writes every row with its outcome, as CSV.")
        parser.add_argument("--name", help="What a list of rules is called. Default: the file's name.")
        parser.add_argument(
            "--priority", type=int, default=0, metavar="N", help="Of a list's first rule (0); then downwards."
        )
        parser.add_argument(
            "--client-id-binding",
            choices=[Binding.EQUALS_USERNAME.value, Binding.ANY.value],
            help="For devices whose file does not bind them to a client id.",
        )
        accept = parser.add_argument_group("what cannot be kept as it is")
        accept.add_argument("--drop-allows", action="store_true", help="Leave out such allows.")
        accept.add_argument(
            "--widen-denies", action="store_true", help="Take such denies without their condition."
        )
        accept.add_argument(
            "--map-attribute",
            action="append",
            default=[],
            metavar="THEIRS=OURS",
            help="${client_attrs.THEIRS} becomes ${attr.OURS}; may be repeated.",
        )
        hashes = parser.add_argument_group("password hashes (EMQX: as its authenticator is configured)")
        hashes.add_argument("--plain", action="store_true", help="The file holds passwords, no hashes.")
        hashes.add_argument("--algorithm", choices=ALGORITHMS, default="")
        hashes.add_argument("--salt-position", choices=SALT_POSITIONS, default="prefix")
        hashes.add_argument("--mac", choices=MACS, default="sha256", help="Of pbkdf2 (sha256).")
        hashes.add_argument("--iterations", type=int, default=4096, help="Of pbkdf2 (4096).")
        hashes.add_argument("--dk-length", type=int, help="Of pbkdf2, in bytes. Default: the MAC's own.")
        hashes.add_argument(
            "--salt-encoding", choices=SALT_ENCODINGS, default="base64", help="Of mosquitto-go-auth."
        )

    def handle(self, *args: Any, **given: Any) -> None:
        options = _options(given)
        choices = Choices(given["drop_allows"], given["widen_denies"], given["dry_run"])
        with _opened(given["file"]) as stream, _report_file(given["report"]) as file:
            report = Report(file)
            progress = _Progress(self.stderr)
            try:
                import_fleet(given["format"], stream, options, choices, report, progress)
            except ImportRefused:
                progress.end()
                self._say(report)
                raise CommandError("Nothing was changed.", returncode=NOT_UNDERSTOOD) from None
            except (IntegrityError, ValidationError) as error:
                progress.end()
                raise CommandError(
                    f"Somebody else changed the same devices meanwhile ({error.__class__.__name__}). "
                    "What was stored stays; call it again to go on.",
                    returncode=NOT_UNDERSTOOD,
                ) from None
            progress.end()
            self._say(report)
        sums = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(report.outcomes.items()))
        self.stdout.write(f"{'Would be: ' if choices.dry_run else ''}{sums or 'Nothing to do'}.")
        if report.outcomes["refused"] or report.kinds[Kind.REFUSED]:
            raise SystemExit(SOME_REFUSED)

    def _say(self, report: Report) -> None:
        for kind, words in WORDS.items():
            findings = [found for found in report.findings if found.kind == kind]
            if findings:
                self.stdout.write(f"{words}:")
            for found in findings:
                self.stdout.write(f"  {cell(str(found))}")
            more = report.kinds[kind] - len(findings)
            if more > 0:
                self.stdout.write(f"  and {more:,} more; --report FILE has them all")


class _Progress:
    """One line that is written again and again, where a person is looking."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._wanted = out.isatty()
        self._next = 0.0

    def __call__(self, doing: str, done: int, total: int) -> None:
        if not self._wanted or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        filled = 30 * done // total if total else 0
        bar = f"[{'#' * filled:<30}] {100 * done // total:>3} %" if total else ""
        self._out.write(f"\r{doing} {bar} {done:,} records ", ending="")

    def end(self) -> None:
        if self._wanted:
            self._out.write("")


def _options(given: dict[str, Any]) -> Options:
    name = given["name"] or ("standard input" if given["file"] == "-" else Path(given["file"]).name)
    if len(name) > LIST_NAME_CHARACTERS:
        raise CommandError(f"--name: at most {LIST_NAME_CHARACTERS} characters.", returncode=NOT_UNDERSTOOD)
    binding = given["client_id_binding"]
    return Options(
        plain=given["plain"],
        algorithm=given["algorithm"],
        salt_position=given["salt_position"],
        mac=given["mac"],
        iterations=given["iterations"],
        dk_length=given["dk_length"],
        salt_encoding=given["salt_encoding"],
        attributes=dict(_mapped(text) for text in given["map_attribute"]),
        binding=Binding(binding) if binding else None,
        priority=given["priority"],
        name=name,
        now=time.time(),
        widen_denies=given["widen_denies"],
    )


def _mapped(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not equals or not theirs or not ATTRIBUTE_NAME.fullmatch(ours):
        raise CommandError(f"--map-attribute: write “{text}” as theirs=ours.", returncode=NOT_UNDERSTOOD)
    return theirs, ours


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """The file; standard input is put into one first, because it is read more than once."""
    if name == "-":
        with tempfile.TemporaryFile() as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            yield spooled
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(name, "rb"))
        except OSError as problem:
            raise CommandError(f"{name}: {problem.strerror}.", returncode=NOT_UNDERSTOOD) from None
        yield file


@contextmanager
def _report_file(name: str | None) -> Iterator[TextIO | None]:
    if name is None:
        yield None
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(name, "w", newline="", encoding="utf-8"))
        except OSError as problem:
            raise CommandError(f"--report: {name}: {problem.strerror}.", returncode=NOT_UNDERSTOOD) from None
        yield file
