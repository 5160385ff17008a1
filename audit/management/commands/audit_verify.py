"""manage.py audit_verify: whether the audit log is as it was written."""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.chain import Method, chain_is_on, method_of
from audit.chain_heads import Head, heads, read_head
from audit.chain_verify import Finding, Verifier, days, verify_day
from audit.models import Chain
from audit.retention import horizon_of


class Command(BaseCommand):
    help = (
        "Follows the hash chains of the audit log and names the first event of each that was changed, "
        "removed or inserted. EXHOOK_AUDIT_CHAIN switches the chains on. Exit code 0: all is as it was "
        "written; 1: something is not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--day", type=_day, metavar="DAY", help="Only this day (UTC), as in 2026-11-20.")
        parser.add_argument("--since", type=_day, metavar="DAY", help="From this day on.")
        parser.add_argument("--until", type=_day, metavar="DAY", help="Up to this day, included.")
        parser.add_argument("--writer", metavar="NAME", help="Only the chains of this writer.")
        parser.add_argument(
            "--key-file",
            action="append",
            default=[],
            metavar="FILE",
            help="A file with an earlier EXHOOK_AUDIT_CHAIN_KEY. May be given several times.",
        )
        parser.add_argument(
            "--unkeyed-until",
            type=_day,
            metavar="DAY",
            help="The key was set on this day: chains without one are accepted up to it.",
        )
        parser.add_argument(
            "--save-heads",
            metavar="FILE",
            help="Write how far each chain goes, to be kept elsewhere; - for standard output.",
        )
        parser.add_argument(
            "--check-heads",
            metavar="FILE",
            help="Also check that each chain still goes as far as when this file was written.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since = options["day"] or options["since"] or date.min
        until = options["day"] or options["until"] or date.max
        kept = _kept_heads(options["check_heads"]) if options["check_heads"] else []
        verifier = _verifier(options["key_file"], options["unkeyed_until"])
        chains = Chain.objects.filter(day__gte=since, day__lte=until)
        if options["writer"]:
            chains = chains.filter(writer=options["writer"])
        if not Chain.objects.exists() and not kept:
            self._no_chain()
            return
        count = links = expired = 0
        wrong: list[Finding] = []
        for day in days(chains, since, until):
            for verdict in verify_day(verifier, chains, day, whole=not options["writer"]):
                count += bool(verdict.chain)
                links += verdict.links
                expired += verdict.expired
                if verdict.finding:
                    wrong.append(verdict.finding)
                    self.stdout.write(self.style.ERROR(str(verdict.finding)))
                elif options["verbosity"] > 1:
                    self.stdout.write(
                        f"{verdict.day}, chain of {verdict.chain}: {verdict.links} links, good."
                    )
        for finding in _wrong_heads(verifier, kept, since, until):
            wrong.append(finding)
            self.stdout.write(self.style.ERROR(f"{finding} A head that was kept says so."))
        self._summary(count, links, expired, len(wrong))
        if options["save_heads"]:
            self._save(options["save_heads"], heads(chains))
        if wrong:
            raise SystemExit(1)

    def _no_chain(self) -> None:
        if not chain_is_on():
            self.stdout.write("There is no chain to verify: EXHOOK_AUDIT_CHAIN switches it on.")
            return
        self.stdout.write(
            "There is no chain although EXHOOK_AUDIT_CHAIN is on: either no event was stored since, or all "
            "chains were removed."
        )
        raise SystemExit(1)

    def _summary(self, chains: int, links: int, expired: int, wrong: int) -> None:
        said = f"{chains} chains with {links} links"
        if expired:
            said += f", {expired} of them of events that have expired"
        self.stdout.write(f"{said}. " + (f"Problems: {wrong}." if wrong else "All is as it was written."))

    def _save(self, name: str, found: Iterable[Head]) -> None:
        lines = (f"{head}\n" for head in found)
        if name == "-":
            self.stdout.write("".join(lines), ending="")
            return
        try:
            with open(name, "w", encoding="utf-8") as file:
                file.writelines(lines)
        except OSError as problem:
            raise CommandError(f"{problem.filename}: {problem.strerror}.") from None


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _verifier(key_files: Iterable[str], unkeyed_until: date | None) -> Verifier:
    key: str = settings.EXHOOK_AUDIT_CHAIN_KEY
    found = [method_of(""), method_of(key), *(_method_in(name) for name in key_files)]
    return Verifier({method.name: method for method in found}, bool(key), unkeyed_until, horizon_of)


def _method_in(name: str) -> Method:
    key = _read(name).strip()
    if not key:
        raise CommandError(f"{name}: it is empty; a key belongs into it.")
    return method_of(key)


def _kept_heads(name: str) -> list[Head]:
    kept = []
    for number, line in enumerate(_read(name).splitlines(), 1):
        try:
            kept.append(read_head(line))
        except ValueError as problem:
            raise CommandError(f"{name}, line {number}: {problem}") from None
    return kept


def _wrong_heads(verifier: Verifier, kept: Iterable[Head], since: date, until: date) -> Iterator[Finding]:
    for head in kept:
        finding = verifier.wrong_head(head) if since <= head.day <= until else None
        if finding:
            yield finding


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as problem:
        raise CommandError(f"{problem.filename}: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{name}: it is no text.") from None
