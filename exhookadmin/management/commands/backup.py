"""manage.py backup: everything about the fleet into one file, from which `restore` makes it again."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exhookadmin.cli.output import NOT_UNDERSTOOD, cell
from exhookadmin.fleet.exporting import ExportRefused, ExportReport, export_fleet
from exhookadmin.fleet.stored import stored_fleet
from exhookadmin.fleet.writing.fleet import WriteOptions


class Command(BaseCommand):
    help = (
        "Writes groups, policies, devices, credentials (as hashes) and rules into a new file, readable for "
        "you alone. The audit log, staff and API keys are not in it: back up the database for those."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="It must not exist yet.")

    def handle(self, *args: Any, **given: Any) -> None:
        report = ExportReport()
        try:
            export_fleet("fleet-jsonl", Path(given["file"]), stored_fleet(), WriteOptions(), report)
        except ExportRefused:
            for found in report.shown:
                self.stdout.write(f"  {cell(str(found))}")
            raise CommandError("Nothing was written.", returncode=NOT_UNDERSTOOD) from None
        except FileExistsError:
            raise CommandError(
                f"{given['file']} exists: remove it, or choose another name.", returncode=NOT_UNDERSTOOD
            ) from None
        except OSError as problem:
            raise CommandError(f"{given['file']}: {problem.strerror}.", returncode=NOT_UNDERSTOOD) from None
        self.stdout.write(f"Written: {report.bytes:,} bytes.")
