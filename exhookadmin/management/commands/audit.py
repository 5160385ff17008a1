"""manage.py audit: the audit log in a terminal."""

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from audit.models import Event
from audit.paging import page, read_cursor
from audit.search import LATE, Search
from audit.search_options import add_search_options, asked_in, search_of
from exhookadmin.api.audit import EventSerializer
from exhookadmin.cli.commands import CommandWithExamples
from exhookadmin.cli.output import NOT_FOUND, NOT_UNDERSTOOD, add_json_option, answer, cell

PAGE = 500
TAIL_SECONDS = 1.0
COLUMNS = ("time", "kind", "reason", "device", "client_id", "address", "topic", "detail")
EXAMPLES = """
examples:
  manage.py audit query --since 6h --device pump-17
  manage.py audit query --kind client.authorize --address 192.0.2.0/24 --json
  manage.py audit tail --kind client.authenticate

exit codes: 0 events were found; 1 none was; 2 not understood
"""


class Command(CommandWithExamples):
    help = "Searches the audit log, newest first, or follows it."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        calls = parser.add_subparsers(dest="call", required=True, metavar="ACTION")
        query = calls.add_parser("query", help="searches, newest first")
        query.add_argument("--limit", type=int, default=100, metavar="N", help="The newest N (100).")
        tail = calls.add_parser("tail", help="follows the log until Ctrl-C")
        tail.add_argument("--lines", type=int, default=10, metavar="N", help="Begins with the last N (10).")
        tail.add_argument("--seconds", type=float, metavar="S", help="Ends after so long.")
        for parser_of in (query, tail):
            add_search_options(parser_of)
            add_json_option(parser_of)

    def handle(self, *args: Any, **options: Any) -> None:
        search = search_of(asked_in(options), timezone.now(), NOT_UNDERSTOOD)
        getattr(self, options["call"])(search, options)

    def query(self, search: Search, options: dict[str, Any]) -> None:
        """Exit code 1 when nothing was found."""
        events = list(_newest(search, max(0, options["limit"])))
        self._show(events, options["json"], "Nothing was found.")
        if not events:
            raise SystemExit(NOT_FOUND)

    def tail(self, search: Search, options: dict[str, Any]) -> None:
        """Shows each event once, in the order in which they are stored."""
        ends = None if options["seconds"] is None else time.monotonic() + options["seconds"]
        shown: dict[Any, float] = {}
        waiting = list(_newest(search, max(0, options["lines"])))[::-1]
        recent = list(_since(search, LATE))
        shown.update((event.pk, time.monotonic()) for event in recent)
        try:
            while True:
                self._follow(waiting, options["json"])
                if ends is not None and time.monotonic() >= ends:
                    return
                _pause(TAIL_SECONDS)
                waiting = [event for event in _since(search, LATE) if event.pk not in shown]
                now = time.monotonic()
                shown.update((event.pk, now) for event in waiting)
                for key in [key for key, at in shown.items() if now - at > 2 * LATE.total_seconds()]:
                    del shown[key]
        except KeyboardInterrupt:
            return

    def _show(self, events: Iterable[Event], as_json: bool, empty: str) -> None:
        answer(self.stdout, EventSerializer(list(events), many=True).data, COLUMNS, as_json, empty)

    def _follow(self, events: Iterable[Event], as_json: bool) -> None:
        for row in EventSerializer(list(events), many=True).data:
            if as_json:
                answer(self.stdout, [row], COLUMNS, True)
            else:
                self.stdout.write("  ".join(cell(row[name]) for name in COLUMNS if row[name]))
        self.stdout.flush()


_pause = time.sleep


def _newest(search: Search, most: int) -> Iterator[Event]:
    listing, cursor = search.listing(), None
    while most > 0:
        found = page(listing, cursor, min(PAGE, most))
        yield from found.rows
        most -= len(found.rows)
        if not found.older:
            return
        cursor = read_cursor(found.older)


def _since(search: Search, ago: timedelta) -> Iterator[Event]:
    """What happened since so long ago, oldest first."""
    since = timezone.now() - ago
    rows = search.listing().matching.filter(time__gte=since)
    yield from rows.order_by("time", "pk")
