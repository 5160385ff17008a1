"""manage.py export: the fleet as a file of another broker, or our own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from accounts.models import Device, DeviceGroup
from accounts.stored_hashes import DIGESTS, MACS, SALT_POSITIONS
from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.cli.output import NOT_UNDERSTOOD, cell
from exhookadmin.fleet.exporting import ExportRefused, ExportReport, export_fleet
from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.stored import stored_fleet
from exhookadmin.fleet.writing.fleet import WriteOptions
from exhookadmin.fleet.writing.known import TARGETS

WORDS = {
    Kind.ERROR: "Errors",
    Kind.REFUSED: "Devices that would be left out",
    Kind.ALLOW_LOST: "What would be left out",
    Kind.DENY_WIDER: "Denies that would become wider",
    Kind.REMARK: "Remarks",
}
EPILOG = """
formats:
{formats}

examples:
  manage.py export emqx-users-csv users.csv --algorithm sha256 --salt-position prefix --any-client-id
  manage.py export emqx-acl-conf acl.conf
  manage.py export fleet-jsonl pumps.jsonl --group pumps

exit codes: 0 done; 2 nothing was written
""".format(formats="\n".join(f"  {name:<27} {one.title}: {one.holds}" for name, one in TARGETS.items()))


class Command(CommandWithExamples):
    help = (
        "Writes the fleet into a new file, readable for you alone, because it may hold hashes. Where the "
        "format cannot hold something as it is, nothing is written and all of it is listed."
    )

    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("format", choices=TARGETS, metavar="FORMAT", help="See below.")
        parser.add_argument("file", metavar="FILE", help="It must not exist yet.")
        parser.add_argument(
            "--device", action="append", default=[], metavar="USERNAME", help="Only these; may be repeated."
        )
        parser.add_argument(
            "--group", action="append", default=[], help="Only devices of these groups; may be repeated."
        )
        parser.add_argument(
            "--partial",
            action="store_true",
            help="Write what the format can hold: less is allowed there, never more.",
        )
        parser.add_argument(
            "--any-client-id",
            action="store_true",
            help="Accept that the target lets devices use any client id, where it cannot bind them.",
        )
        parser.add_argument("--report", metavar="FILE", help="Writes all that is not in the file, as CSV.")
        parser.add_argument(
            "--map-attribute",
            action="append",
            default=[],
            metavar="OURS=THEIRS",
            help="${attr.OURS} becomes ${client_attrs.THEIRS} for EMQX; may be repeated.",
        )
        hashes = parser.add_argument_group("password hashes (EMQX: as its authenticator is configured)")
        hashes.add_argument("--algorithm", choices=(*DIGESTS, "bcrypt", "pbkdf2"), default="")
        hashes.add_argument("--salt-position", choices=SALT_POSITIONS, default="prefix")
        hashes.add_argument("--mac", choices=MACS, default="sha256", help="Of pbkdf2 (sha256).")
        hashes.add_argument("--iterations", type=int, default=4096, help="Of pbkdf2 (4096).")
        hashes.add_argument("--dk-length", type=int, help="Of pbkdf2, in bytes. Default: the MAC's own.")

    def handle(self, *args: Any, **given: Any) -> None:
        for name in TARGETS[given["format"]].asks:
            if not given[name]:
                raise CommandError(f"--{name.replace('_', '-')} must be given.", returncode=NOT_UNDERSTOOD)
        options = WriteOptions(
            algorithm=given["algorithm"],
            salt_position=given["salt_position"],
            mac=given["mac"],
            iterations=given["iterations"],
            dk_length=given["dk_length"],
            attributes=dict(_mapped(text) for text in given["map_attribute"]),
            any_client_id=given["any_client_id"],
            now=time.time(),
        )
        fleet = stored_fleet(_chosen(given["device"], given["group"]))
        with _report_file(given["report"]) as file:
            report = ExportReport(file)
            try:
                export_fleet(
                    given["format"], Path(given["file"]), fleet, options, report, partial=given["partial"]
                )
            except ExportRefused:
                self._say(report)
                accept = "" if report.kinds[Kind.ERROR] else " Accept that with --partial, or change it."
                raise CommandError(f"Nothing was written.{accept}", returncode=NOT_UNDERSTOOD) from None
            except FileExistsError:
                raise CommandError(
                    f"{given['file']} exists: remove it, or choose another name.", returncode=NOT_UNDERSTOOD
                ) from None
            except OSError as problem:
                raise CommandError(
                    f"{given['file']}: {problem.strerror}.", returncode=NOT_UNDERSTOOD
                ) from None
        self._say(report)
        self.stdout.write(f"Written: {report.bytes:,} bytes.")

    def _say(self, report: ExportReport) -> None:
        for kind, words in WORDS.items():
            shown = [found for found in report.shown if found.kind == kind]
            if shown:
                self.stdout.write(f"{words}:")
            for found in shown:
                self.stdout.write(f"  {cell(str(found))}")
            more = report.kinds[kind] - len(shown)
            if more > 0:
                self.stdout.write(f"  and {more:,} more; --report FILE has them all")


def _chosen(usernames: list[str], groups: list[str]) -> QuerySet[Device] | None:
    if not usernames and not groups:
        return None
    rows = Device.objects.none()
    if usernames:
        rows = rows | Device.objects.filter(username__in=usernames)
    if groups:
        rows = rows | Device.objects.filter(
            pk__in=Device.groups.through.objects.filter(devicegroup__name__in=groups).values("device")
        )
    known = set(Device.objects.filter(username__in=usernames).values_list("username", flat=True))
    known_groups = set(DeviceGroup.objects.filter(name__in=groups).values_list("name", flat=True))
    for missing in sorted({*usernames} - known):
        raise CommandError(f"There is no device “{missing}”.", returncode=NOT_UNDERSTOOD)
    for missing in sorted({*groups} - known_groups):
        raise CommandError(f"There is no group “{missing}”.", returncode=NOT_UNDERSTOOD)
    return rows


def _mapped(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals or not ours or not theirs:
        raise CommandError(f"--map-attribute: write “{text}” as ours=theirs.", returncode=NOT_UNDERSTOOD)
    return ours, theirs


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
