"""The audit log for people on duty: search, narrow by what is counted, follow, export, save and share.

The address of the page is the whole search. What is found is ``audit.search``'s to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.models import Device
from audit.export import batches
from audit.export_formats import FORMATS
from audit.facets import Facets, count_facets
from audit.models import KINDS, Event
from audit.paging import BadCursor, Page, page, place_of, read_cursor
from audit.search import LATE, Search, SearchProblem, parse_search
from exhookadmin.console.explain_pages import may_explain
from exhookadmin.console.questions import why_url
from exhookadmin.console.saved_searches import delete_search, save_search, searches_for
from exhookadmin.words import REASONS, reason_words

PRESETS = {
    "15m": "15 minutes",
    "1h": "1 hour",
    "6h": "6 hours",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "": "all",
}
"""How far back to look: as “since” is written, and in words."""
SIZE = 50
MOST_FOLLOWED = 200
FACETS = ("kind", "reason", "device", "node")
FACET_VALUES = 8
OWN = ("cursor",)
"""Parameters of the page that are no part of the search."""

KIND_COLOURS = {"client.connected": "success", "client.disconnected": "info"}


@dataclass(frozen=True, slots=True)
class Row:
    """An event as the page shows it."""

    event: Event
    reason: str
    meaning: str
    colour: str
    device_url: str
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that changes the search: its words, where it leads, and whether it is chosen."""

    title: str
    url: str
    chosen: bool = False
    count: str = ""


@require_GET
def explorer(request: HttpRequest) -> HttpResponse:
    """The page. Without parameters it shows the newest events of all."""
    _check(request)
    search, problems = _asked(request)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Audit log",
        "given": {name: request.GET.get(name, "") for name in request.GET},
        "kinds": [(kind, words, kind in request.GET.getlist("kind")) for kind, words in KINDS],
        "reasons": [
            (str(reason), words.title, str(reason) in request.GET.getlist("reason"))
            for reason, words in REASONS.items()
        ],
        "problems": problems,
        "presets": [
            Choice(title, _url(request, since=since, until=""), request.GET.get("since", "") == since)
            for since, title in PRESETS.items()
        ],
        "saved": searches_for(request.user),
        "query": _query(request),
        "log_is_empty": not Event.objects.exists(),
        "anything_asked": bool(_query(request)),
    }
    status = 400 if problems else 200
    if search is not None:
        try:
            found = _page(request, search)
        except BadCursor as problem:
            context["problems"], status = {"cursor": str(problem)}, 400
        else:
            context |= _found(request, search, found)
    return render(request, "console/explorer.html", context, status=status)


@require_GET
def newer_rows(request: HttpRequest) -> HttpResponse:
    """The newest rows for the page that follows the log, from a while before its cursor on.

    Most of them it has; what it has not came in late. ``X-Missed`` says that more came than are sent.
    """
    _check(request)
    search, problems = _asked(request)
    if search is None:
        return render(request, "console/explorer_rows.html", {"problems": problems}, status=400)
    try:
        cursor = read_cursor(request.GET.get("cursor", ""))
    except BadCursor as problem:
        return render(
            request, "console/explorer_rows.html", {"problems": {"cursor": str(problem)}}, status=400
        )
    since = cursor.time - LATE
    recent = replace(search, since=max(search.since, since) if search.since else since)
    found = page(recent.listing(), size=MOST_FOLLOWED)
    context = {"rows": _rows(request, found), "may_explain": may_explain(request)}
    response = render(request, "console/explorer_rows.html", context)
    newest = max([cursor.time, *(event.time for event in found.rows)])
    response["X-Newer"] = str(replace(cursor, time=newest))
    if len(found.rows) == MOST_FOLLOWED and found.rows[-1].time > cursor.time:
        response["X-Missed"] = "1"
    response["Cache-Control"] = "no-store"
    return response


@require_GET
def export(request: HttpRequest, format: str) -> HttpResponse | StreamingHttpResponse:
    """All events of the search as a file, oldest first, streamed in constant memory."""
    _check(request)
    if format not in FORMATS:
        raise Http404("Choose jsonl or csv.")
    search, problems = _asked(request)
    if search is None:
        return HttpResponse("\n".join(f"{name}: {text}" for name, text in problems.items()), status=400,
                            content_type="text/plain; charset=utf-8")  # fmt: skip
    made = FORMATS[format]

    def written() -> Iterator[bytes]:
        yield made.header
        for batch in batches(search, None):
            yield made.encode(batch)

    types = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
    response = StreamingHttpResponse(written(), content_type=types.get(format, "application/octet-stream"))
    response["Content-Disposition"] = f'attachment; filename="events-{timezone.now():%Y%m%d-%H%M%S}.{format}"'
    return response


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Keeps the search of the page under a name."""
    _check(request)
    query = request.POST.get("query", "")
    try:
        saved = save_search(request.user, request.POST.get("name", ""), query, "shared" in request.POST)
    except ValidationError as problem:
        messages.error(request, " ".join(problem.messages))
        return HttpResponseRedirect(reverse("console:explorer"))
    messages.success(request, f"The search is saved as “{saved.name}”.")
    return HttpResponseRedirect(f"{reverse('console:explorer')}?{saved.query}")


@require_POST
def forget(request: HttpRequest, number: int) -> HttpResponse:
    """Deletes one of one's own saved searches."""
    _check(request)
    delete_search(request.user, number)
    return HttpResponseRedirect(reverse("console:explorer"))


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm("audit.view_event"):
        raise PermissionDenied


def _asked(request: HttpRequest) -> tuple[Search | None, dict[str, str]]:
    given = {name: request.GET.getlist(name) for name in request.GET if name not in OWN}
    try:
        return parse_search(given, timezone.now()), {}
    except SearchProblem as problem:
        return None, problem.problems


def _page(request: HttpRequest, search: Search) -> Page[Event]:
    text = request.GET.get("cursor", "")
    return page(search.listing(), read_cursor(text) if text else None, SIZE)


def _found(request: HttpRequest, search: Search, found: Page[Event]) -> dict[str, Any]:
    facets = count_facets(search)
    at_the_top = not request.GET.get("cursor")
    follow = ""
    if at_the_top and search.until is None:
        follow = str(place_of(found.rows[0].time if found.rows else timezone.now(), UUID(int=0), older=False))
    return {
        "rows": _rows(request, found),
        "may_explain": may_explain(request),
        "newer": _url(request, cursor=found.newer) if found.newer else "",
        "older": _url(request, cursor=found.older) if found.older else "",
        "searched_to": found.searched_to,
        "facets": [(name, _choices(request, facets, name)) for name in FACETS],
        "total": facets.total,
        "chips": _chips(request),
        "follow": follow,
        "exports": [
            (format, f"{reverse('console:export', args=[format])}?{_query(request)}") for format in FORMATS
        ],
    }


def _rows(request: HttpRequest, found: Page[Event]) -> list[Row]:
    known: set[int] = set()
    if request.user.has_perm("accounts.view_device"):
        numbers = {event.device_id for event in found.rows if event.device_id}
        known = set(Device.objects.filter(pk__in=numbers).values_list("pk", flat=True))
    explained = may_explain(request)
    return [_row(event, known, explained) for event in found.rows]


def _row(event: Event, known: set[int], explained: bool) -> Row:
    words = reason_words(event.reason)
    colour = KIND_COLOURS.get(event.kind) or ("danger" if event.allowed is False else "info")
    url = reverse("admin:accounts_device_change", args=[event.device_id]) if event.device_id in known else ""
    return Row(
        event,
        words.title or event.detail,
        words.meaning,
        colour,
        url,
        (why_url(event) or "") if explained else "",
    )


def _choices(request: HttpRequest, facets: Facets, name: str) -> list[Choice]:
    titles = dict(KINDS) if name == "kind" else {}
    counts = [(value, count) for value, count in facets.counts[name].items() if value][:FACET_VALUES]
    chosen = request.GET.getlist(name)
    return [
        Choice(
            titles.get(value) or (reason_words(value).title if name == "reason" else "") or value,
            _url(request, **{name: "" if value in chosen else value}),
            value in chosen,
            f"{count:,}{'' if facets.complete else '+'}",
        )
        for value, count in counts
    ]


def _chips(request: HttpRequest) -> list[Choice]:
    """Each condition of the search, with the way to the same search without it."""
    chips = []
    for name in request.GET:
        if name in OWN:
            continue
        for value in request.GET.getlist(name):
            if not value.strip():
                continue
            rest = request.GET.copy()
            rest.setlist(name, [other for other in rest.getlist(name) if other != value])
            rest.pop("cursor", None)
            title = f"{name.replace('_', ' ')}: {dict(KINDS).get(value) or value}"
            chips.append(Choice(title, f"{reverse('console:explorer')}?{rest.urlencode()}", True))
    return chips


def _query(request: HttpRequest) -> str:
    """The search as it was asked for, without blanks and without the place in it."""
    return urlencode(
        [
            (name, value)
            for name in request.GET
            if name not in OWN
            for value in request.GET.getlist(name)
            if value.strip()
        ]
    )


def _url(request: HttpRequest, **changes: str) -> str:
    """The same page with these parameters changed, or without them where they are empty."""
    given = request.GET.copy()
    given.pop("cursor", None)
    for name, value in changes.items():
        given.pop(name, None)
        if value:
            given[name] = value
    return f"{reverse('console:explorer')}?{given.urlencode()}"
