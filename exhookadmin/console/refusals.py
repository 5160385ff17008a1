"""Refusals read from the audit log: the newest of a while, and never more of them than a page can bear."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from accounts.core.identity import IdentitySource
from audit.fact import Kind
from audit.paging import Effort, walk
from audit.search import Search
from exhookadmin.console.strangers import FIELDS, Refusal

SEARCHED = {
    IdentitySource.USERNAME: "username",
    IdentitySource.CLIENT_ID: "client_id",
    IdentitySource.CERTIFICATE_CN: "cn",
}
"""By which parameter of a search the events of an identity are found."""
KINDS = (Kind.AUTHENTICATE, Kind.CONNACK)
EFFORT = Effort(seconds=0.3)
"""For each kind, where allowed logins are recorded too and refusals are few among them."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Newest first. ``complete`` is False where older ones were not looked at."""

    found: list[Refusal]
    complete: bool


def newest_refusals(since: datetime, most: int) -> Refusals:
    """Refused logins and connections since then, at most so many rows of each kind."""
    found: list[Iterable[Refusal]] = []
    complete = True
    for kind in KINDS:
        search = Search(kinds=(kind.value,), allowed=False, since=since)
        walked = walk(search.listing(), most + 1, effort=EFFORT, read=lambda rows: rows.values_list(*FIELDS))
        complete = complete and walked.stopped is None and len(walked.rows) <= most
        found.append(Refusal(*row) for row in walked.rows[:most])
    newest = sorted(chain(*found), key=lambda refusal: refusal.time, reverse=True)
    return Refusals(newest, complete)
