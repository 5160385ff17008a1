"""Importing a small file in the browser: a dry run with its report, and then the same file again to store it.

Nothing of the file is kept between the two, neither on the server nor in the page. What is confirmed is
known by a keyed digest of who asked, the file and the options.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from accounts.changes import NotAllowed
from exhookadmin.console.import_forms import HAVE_RULES, ImportForm
from exhookadmin.console.import_report import PageReport
from exhookadmin.fleet.formats.known import FORMATS
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.importing import Choices, ImportRefused, import_fleet

CONFIRMED_SECONDS = 3600
STORING_SECONDS = 20.0
"""How long a request may store, so that neither browser nor proxy gives up: passwords take their time."""

DEVICES = ("accounts.add_device", "accounts.change_device", "accounts.add_credential")
RULES = ("acl.add_policy", "acl.add_rule")

NOT_CONFIRMED = (
    "Nothing was changed: this is another file, or these are other options, than in the dry run that you "
    "confirmed, or it is more than an hour ago. Here is what this file would do."
)


class _OutOfTime(Exception):
    """What was stored so far is stored; the rest needs another request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page says: ``problem`` in words where the import did not come to its end."""

    report: PageReport | None
    stored: bool
    problem: str = ""
    token: str = ""
    """To confirm with; empty where there is nothing to confirm."""


def formats_for(request: HttpRequest) -> list[str]:
    """The formats whose files the member of the staff may import; none for those who only look."""
    if not request.user.has_perms(DEVICES):
        return []
    return [name for name in FORMATS if name not in HAVE_RULES or request.user.has_perms(RULES)]


@require_http_methods(["GET", "HEAD", "POST"])
def import_file(request: HttpRequest) -> HttpResponse:
    """The page: choose a format, then a file, see what it would do, and confirm."""
    formats = formats_for(request)
    asked = request.POST if request.method == "POST" else request.GET
    chosen = asked.get("format", "")
    if not formats or (chosen in FORMATS and chosen not in formats):
        raise PermissionDenied
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Import",
        "formats": [(name, FORMATS[name].title, name == chosen) for name in formats],
        "unknown": bool(chosen) and chosen not in formats,
    }
    if chosen in formats:
        sent = request.method == "POST"
        form = ImportForm(chosen, request.POST, request.FILES) if sent else ImportForm(chosen)
        context |= {"format": chosen, "format_title": FORMATS[chosen].title, "form": form}
        if sent and form.is_valid():
            context["answer"] = _asked(request, chosen, form)
    return render(request, "console/import.html", context)


def _asked(request: HttpRequest, format_name: str, form: ImportForm) -> Answer:
    """A dry run, or the import where this very one was confirmed."""
    said = form.cleaned_data
    stream, options = said["file"].file, form.options
    accepted = (said.get("drop_allows", False), said.get("widen_denies", False))
    meant = _digest(request.user.pk, format_name, stream, options, accepted)
    confirmed = request.POST.get("confirmed", "")
    if confirmed and _is_sealed(meant, confirmed):
        return _stored(format_name, stream, options, Choices(*accepted))
    report = PageReport()
    try:
        import_fleet(format_name, stream, options, Choices(*accepted, dry_run=True), report)
    except ImportRefused:
        return Answer(report, stored=False, problem="Nothing can be imported as it is. Nothing was changed.")
    return Answer(report, False, NOT_CONFIRMED if confirmed else "", _seal(meant))


def _stored(format_name: str, stream: BinaryIO, options: Options, choices: Choices) -> Answer:
    report = PageReport()
    progress = _until(time.monotonic() + STORING_SECONDS, format_name)
    try:
        import_fleet(format_name, stream, options, choices, report, progress)
    except ImportRefused:
        return Answer(report, stored=False, problem="Nothing can be imported as it is. Nothing was changed.")
    except NotAllowed as refused:
        return Answer(None, stored=False, problem=f"The import was stopped. {refused} {_stays(format_name)}")
    except (IntegrityError, ValidationError):
        problem = f"Somebody else changed the same devices meanwhile. {_stays(format_name)} Begin again."
        return Answer(None, stored=False, problem=problem)
    except _OutOfTime as so_far:
        return Answer(report, stored=True, problem=f"{so_far} Import the same file again to go on.")
    return Answer(report, stored=True)


def _stays(format_name: str) -> str:
    if FORMATS[format_name].whole:
        return "Nothing was changed."
    return "What stands before it in the file may be stored already, and stays."


def _until(end: float, format_name: str) -> Callable[[str, int, int], None]:
    """Stops an import between two transactions; a list of rules has but one."""

    def progress(doing: str, done: int, total: int) -> None:
        late = time.monotonic() >= end and done < total
        if late and doing == "storing" and not FORMATS[format_name].whole:
            raise _OutOfTime(f"{done:,} of {total:,} records are stored: more would take too long at once.")

    return progress


def _digest(
    user: int | None, format_name: str, stream: BinaryIO, options: Options, accepted: tuple[bool, bool]
) -> str:
    stream.seek(0)
    file = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    meant = sorted((name, value) for name, value in asdict(options).items() if name != "now")
    text = repr((user, file, format_name, meant, accepted))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="exhookadmin.console.import_pages")


def _seal(meant: str) -> str:
    """Proves what was meant without holding it: the digest of a file of passwords is worth a guess."""
    return _signer().sign(meant).removeprefix(f"{meant}:")


def _is_sealed(meant: str, token: str) -> bool:
    try:
        _signer().unsign(f"{meant}:{token}", max_age=CONFIRMED_SECONDS)
    except BadSignature:
        return False
    return True
