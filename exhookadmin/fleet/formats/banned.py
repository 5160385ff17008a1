"""EMQX's ban list: CSV with ``as,who,reason,at,until,by``; moments in RFC 3339, or ``infinity``.

A ban for ever of a username disables the device. EMQX itself goes on enforcing its own ban list before it
asks anybody, so every other ban is best left where it is.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from exhookadmin.fleet.formats.csv_rows import Row, csv_rows
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.unrepeated import MOMENT
from exhookadmin.fleet.records import DeviceRecord, Finding, Kind, Read

COLUMNS = ("as", "who", "reason", "at", "until", "by")
KINDS = ("clientid", "username", "peerhost", "clientid_re", "username_re", "peerhost_net")
FOREVER = ("", "infinity")


def read_banned(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Devices to disable, and what is to stay in EMQX. Raises Malformed."""
    for row in csv_rows(stream, required=("as", "who"), optional=COLUMNS[2:]):
        yield _ban(row, options.now)


def _ban(row: Row, now: float) -> Read:
    kind, who = row.cells["as"], row.cells["who"]
    if kind not in KINDS:
        raise Malformed(row.line, f"this must be one of {', '.join(KINDS)}", "as")
    if not who:
        raise Malformed(row.line, "this is missing", "who")
    begins, ends = _moment(row, "at"), _moment(row, "until")
    if ends is not None and ends.timestamp() <= now:
        return Finding(Kind.REMARK, row.line, "until", "this ban is over: it is left out")
    if kind != "username":
        return Finding(
            Kind.ERROR,
            row.line,
            "as",
            f"a ban of {kind} cannot be kept here: leave it in EMQX, which goes on enforcing "
            "it, and remove this line",
        )
    if ends is not None or (begins is not None and begins.timestamp() > now):
        return Finding(
            Kind.ERROR,
            row.line,
            "until",
            "a ban that begins later or ends cannot be kept here: leave it in EMQX, which goes on enforcing "
            "it, and remove this line",
        )
    return DeviceRecord(row.line, who, {"enabled": False}, must_exist=True)


def _moment(row: Row, name: str) -> datetime | None:
    text = row.cells.get(name, "")
    if text in FOREVER:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or "T" not in text.upper() or moment.tzinfo is None:
        raise Malformed(row.line, f"this is no moment such as {MOMENT}, or infinity", name)
    return moment.astimezone(UTC)
