"""The import itself: the file is read once to check all of it, and then again to store it.

Nothing is changed unless the whole file can be read and nothing in it would open access or lose what the
operator did not agree to lose. Records are stored in transactions of bounded size, each with how far it
came, so that an import that was killed goes on where it was. Only a list of rules in which the first match
decides takes effect in one transaction: half of it would decide otherwise than the whole.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import BinaryIO

from django.db import transaction
from django.utils import timezone

from accounts.changes import Channel, acting, current_actor
from acl.models import PRIORITY_LIMIT, Policy
from exhookadmin.fleet.applying import Applying
from exhookadmin.fleet.formats.known import FORMATS, Format, read
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.models import ImportRun
from exhookadmin.fleet.owners import Owned, owned
from exhookadmin.fleet.records import (
    EVERYONE,
    DeviceRecord,
    Finding,
    GroupRecord,
    Kind,
    PolicyRecord,
    Read,
    Record,
    RuleRecord,
    SubjectRules,
)
from exhookadmin.fleet.report import Report
from exhookadmin.fleet.scratch import Scratch, scratch

BATCH = 500
"""Records a transaction: as many as the change feed names one by one, so that an endpoint keeps the rest."""

NAME_CHARACTERS, NOTE_CHARACTERS = 150, 250

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many records are done, and of how many; 0 where that is not known yet."""


class ImportRefused(Exception):
    """Something in the file stands against it; the report says what. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator agreed to."""

    drop_allows: bool = False
    widen_denies: bool = False
    dry_run: bool = False


def import_fleet(
    format_name: str,
    stream: BinaryIO,
    options: Options,
    choices: Choices,
    report: Report,
    progress: Progress = lambda doing, done, total: None,
) -> None:
    """Imports a file, or says what it would do. ``stream`` must be seekable. Raises ImportRefused."""
    format_ = FORMATS[format_name]
    key = _key(format_name, stream, options)
    with scratch() as names:
        total = _check(format_, stream, options, choices, report, names, progress)
    with scratch() as kept:
        applying = Applying(kept, options.name, store=not choices.dry_run)
        records = _records(format_, stream, options, choices)
        if choices.dry_run:
            _compare(format_, applying, records, report, progress, total)
            return
        run, _ = ImportRun.objects.get_or_create(
            key=key, finished_at=None, defaults={"format": format_name, "file_name": options.name}
        )
        with acting(replace(current_actor(), channel=Channel.IMPORT)):
            _store(format_, applying, records, run, report, progress, total)


def _key(format_name: str, stream: BinaryIO, options: Options) -> str:
    """The same for the same file, read in the same way."""
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256")  # type: ignore[arg-type]
    meant = {name: value for name, value in asdict(options).items() if name != "now"}
    digest.update(repr((format_name, sorted(meant.items()))).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _read(format_: Format, stream: BinaryIO, options: Options) -> Iterator[Read]:
    stream.seek(0)
    return read(format_, stream, options)


def _check(
    format_: Format,
    stream: BinaryIO,
    options: Options,
    choices: Choices,
    report: Report,
    names: Scratch,
    progress: Progress,
) -> int:
    """Reads all of the file. Answers how many records it has. Raises ImportRefused."""
    total = 0
    everyone = Policy.objects.filter(name=options.name).first()
    reading = _read(format_, stream, options)
    while batch := list(islice(reading, BATCH)):
        records = [one for one in batch if not isinstance(one, Finding)]
        findings = [one for one in batch if isinstance(one, Finding)]
        findings += _repeated(records, names)
        rules = [rule for record in records for rule in _rules_of(record)]
        if format_.whole and choices.widen_denies:
            rules += [rule for finding in findings for rule in finding.instead]
        findings += _without_owner(rules, options, choices)
        findings += [problem for record in records for problem in _unstorable(record)]
        if everyone is not None and not everyone.everyone:
            findings += [_taken(rule, options.name) for rule in rules if rule.subject == EVERYONE]
        for finding in findings:
            report.finding(finding)
        total += len(records)
        progress("checking", total, 0)
    stands_against = {
        Kind.ERROR: True,
        Kind.ALLOW_LOST: not choices.drop_allows,
        Kind.DENY_WIDER: not choices.widen_denies,
    }
    if any(report.kinds[kind] for kind, against in stands_against.items() if against):
        raise ImportRefused
    return total


def _repeated(records: list[Record], names: Scratch) -> list[Finding]:
    """Names that the file has twice: which of the two was meant, nobody can say."""
    used = [name for record in records for name in _names(record)]
    return [
        Finding(Kind.ERROR, line, name.partition(" ")[0], f"{name} was on line {first} already")
        for name, line, first in names.repeated(used)
    ]


def _names(record: Record) -> Iterator[tuple[str, int]]:
    match record:
        case DeviceRecord():
            yield f"device {record.username}", record.line
            if record.values.get("certificate_cn"):
                yield f"certificate_cn {record.values['certificate_cn']}", record.line
        case GroupRecord():
            yield f"group {record.name}", record.line
        case PolicyRecord():
            yield f"policy {record.name}", record.line
        case SubjectRules() if record.list_name:
            yield f"rules of {record.subject}", record.line


def _rules_of(record: Record) -> tuple[RuleRecord, ...]:
    """Rules whose owner must be found. Those of a device or a policy of the same file have theirs."""
    if isinstance(record, RuleRecord):
        return (record,) if record.subject.policy is None else ()
    return record.rules if isinstance(record, SubjectRules) and record.subject.policy is None else ()


def _without_owner(rules: list[RuleRecord], options: Options, choices: Choices) -> list[Finding]:
    findings: list[Finding] = []
    while rules:
        found = owned(rules, options.name)
        told = [one for one in found if not isinstance(one, Owned)]
        findings += told
        # A deny that becomes wider must in turn belong to somebody.
        rules = [rule for one in told for rule in one.instead] if choices.widen_denies else []
    return findings


def _unstorable(record: Record) -> Iterator[Finding]:
    """What would stop the import half-way."""
    names: tuple[str, ...] = ()
    rules: tuple[RuleRecord, ...] = ()
    match record:
        case DeviceRecord():
            names = (*(record.groups or ()), *(record.policies or ()))
            rules = record.rules or ()
        case GroupRecord():
            names = (record.name,)
        case PolicyRecord():
            names = (record.name, *(record.groups or ()))
        case SubjectRules():
            rules = record.rules
        case RuleRecord():
            rules = (record,)
    for name in names:
        if not 0 < len(name) <= NAME_CHARACTERS:
            reason = f"a name of a group or a policy has 1 to {NAME_CHARACTERS} characters"
            yield Finding(Kind.ERROR, record.line, "name", reason)
    for rule in rules:
        if abs(rule.priority) > PRIORITY_LIMIT:
            reason = f"the priority would be {rule.priority:,}, beyond {PRIORITY_LIMIT:,}: begin with another"
            yield Finding(Kind.ERROR, rule.line, "priority", reason)
        if len(rule.note) > NOTE_CHARACTERS:
            yield Finding(Kind.ERROR, rule.line, "note", f"it is longer than {NOTE_CHARACTERS} characters")


def _taken(rule: RuleRecord, name: str) -> Finding:
    reason = f"the policy “{name}” is there and is not for everyone: choose another name for this list"
    return Finding(Kind.ERROR, rule.line, "name", reason)


def _records(format_: Format, stream: BinaryIO, options: Options, choices: Choices) -> Iterator[Record]:
    for one in _read(format_, stream, options):
        if not isinstance(one, Finding):
            yield one
        elif format_.whole and choices.widen_denies:
            yield from one.instead


def _compare(
    format_: Format,
    applying: Applying,
    records: Iterator[Record],
    report: Report,
    progress: Progress,
    total: int,
) -> None:
    done = 0
    while batch := list(islice(records, BATCH)):
        for told in applying.batch(batch):
            report.told(told)
        done += len(batch)
        progress("comparing", done, total)
    if format_.whole:
        for told in applying.end():
            report.told(told)


def _store(
    format_: Format,
    applying: Applying,
    records: Iterator[Record],
    run: ImportRun,
    report: Report,
    progress: Progress,
    total: int,
) -> None:
    done = run.records
    report.outcomes.update(run.outcomes)
    for _ in islice(records, done):
        pass
    with _transaction(format_.whole):
        while batch := list(islice(records, BATCH)):
            with _transaction(not format_.whole):
                for told in applying.batch(batch):
                    report.told(told)
                done += len(batch)
                run.records, run.outcomes = done, dict(report.outcomes)
                run.save(update_fields=["records", "outcomes", "updated_at"])
            progress("storing", done, total)
        if format_.whole:
            for told in applying.end():
                report.told(told)
        run.outcomes, run.finished_at = dict(report.outcomes), timezone.now()
        run.save(update_fields=["outcomes", "finished_at", "updated_at"])


def _transaction(wanted: bool) -> AbstractContextManager[object]:
    return transaction.atomic() if wanted else nullcontext()
