"""manage.py audit_export: events as JSON lines or CSV, however many."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.export import CannotExport, Progress, export_to_file, export_to_stream
from audit.export_formats import FORMATS
from audit.search import Search
from audit.search_options import add_search_options, asked_in, search_of

INTERRUPTED = 130
SECONDS_BETWEEN_LINES = 0.2


class Command(BaseCommand):
    help = (
        "Writes events of the audit log, oldest first, as lines of JSON or as CSV. An export into a file "
        "that was interrupted, whatever by, goes on with --resume. docs/audit.md describes both formats."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("format", choices=sorted(FORMATS), help="jsonl or csv")
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="Where to. Without, to standard output."
        )
        parser.add_argument(
            "--resume",
            action="store_true",
            help="Go on with an interrupted export; give the same options. Begins one if there is none.",
        )
        add_search_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = asked_in(options)
        search = until_now(search_of(asked, timezone.now()))
        path: Path | None = options["output"]
        if options["resume"] and path is None:
            raise CommandError("Only a file can be gone on with: use --resume with --output.")
        teller = _Teller()
        try:
            if path is None:
                self._to_standard_output(options["format"], search, teller)
                return
            done = export_to_file(path, options["format"], asked, search, options["resume"], teller.tell)
        except CannotExport as problem:
            raise CommandError(str(problem)) from None
        except OSError as problem:
            raise CommandError(f"{problem.filename or path}: {problem.strerror}.") from None
        except KeyboardInterrupt:
            teller.end()
            self.stderr.write("Interrupted." + (" Go on with --resume." if path else ""))
            raise SystemExit(INTERRUPTED) from None
        teller.end()
        self.stderr.write(f"{done.events:,} events are in {path}.")

    def _to_standard_output(self, format: str, search: Search, teller: "_Teller") -> None:
        out: Any = self.stdout
        try:
            export_to_stream(search, format, out.buffer, teller.tell)
        except BrokenPipeError:
            # Whoever read it has seen enough, as “head” does; Python itself would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        teller.end()


def until_now(search: Search) -> Search:
    """Without an end of its own an export would run after a log that grows."""
    now = timezone.now()
    if search.until is None and (search.since is None or search.since < now):
        return replace(search, until=now)
    return search


class _Teller:
    """A line that says how far it is, for whoever watches a terminal; nothing otherwise."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._told: float | None = None

    def tell(self, progress: Progress) -> None:
        now = monotonic()
        if not self._watched or (self._told is not None and now - self._told < SECONDS_BETWEEN_LINES):
            return
        self._told = now
        moment = f", up to {timezone.localtime(progress.time):%Y-%m-%d %H:%M:%S}" if progress.time else ""
        sys.stderr.write(f"\r\x1b[K{progress.events:,} events{moment}")
        sys.stderr.flush()

    def end(self) -> None:
        if self._told is not None:
            sys.stderr.write("\r\x1b[K")
            self._told = None
