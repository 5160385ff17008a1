"""Reads a file given as text or bytes, as the import does."""

import io
from typing import Any

from exhookadmin.fleet.formats.known import FORMATS, read
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.records import DeviceRecord, Finding, Kind, Read, RuleRecord, SubjectRules

BEYOND_ANY_LINE = 1_000_000


def reading(format_name: str, content: str | bytes, **options: Any) -> list[Read]:
    raw = content.encode() if isinstance(content, str) else content
    return list(read(FORMATS[format_name], io.BytesIO(raw), Options(**{"name": "test", **options})))


def findings(found: list[Read], *kinds: Kind) -> list[Finding]:
    return [one for one in found if isinstance(one, Finding) and (not kinds or one.kind in kinds)]


def errors(found: list[Read]) -> list[tuple[int, str]]:
    """Line and text of each error."""
    return [(one.line, f"{one.field}: {one.reason}") for one in findings(found, Kind.ERROR)]


def devices(found: list[Read]) -> list[DeviceRecord]:
    return [one for one in found if isinstance(one, DeviceRecord)]


def rules(found: list[Read]) -> list[RuleRecord]:
    """All rules, those inside lists and devices included."""
    flat: list[RuleRecord] = []
    for one in found:
        if isinstance(one, RuleRecord):
            flat.append(one)
        elif isinstance(one, SubjectRules) or (isinstance(one, DeviceRecord) and one.rules):
            flat += one.rules or ()
    return flat


def shown(rule: RuleRecord) -> str:
    """A rule in one line, without where it stands."""
    literal = "eq " if rule.literal else ""
    networks = f" from {','.join(rule.networks)}" if rule.networks else ""
    return f"{rule.subject}: {rule.effect} {rule.action} {literal}{rule.topic_filter}{networks}"
