"""What the page of a device tells besides its fields: presence, sessions, and its timeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts.models import Device
from audit.admin import KIND_COLOURS, STANDING_COLOURS
from audit.fact import Kind
from audit.models import Event, Session
from audit.paging import Listing
from audit.states import State, presence_of_device, state_of
from exhookadmin.console.explain_pages import may_explain
from exhookadmin.console.questions import why_url
from exhookadmin.console.timeline import Page, timeline
from exhookadmin.staff.history import Line, history_of, lines
from exhookadmin.staff.models import RecordedChange
from exhookadmin.words import reason_words

SESSIONS_SHOWN = 20
"""So many sessions on the device's page, live ones first; a link leads to all."""

MOMENTS_SHOWN = 20
"""So many moments of the timeline on the device's page; 50 on a page of its own."""

TOLD = (
    Kind.AUTHENTICATE,
    Kind.AUTHORIZE,
    Kind.CONNACK,
    Kind.CONNECTED,
    Kind.DISCONNECTED,
    Kind.SESSION_TAKENOVER,
    Kind.SESSION_DISCARDED,
)
"""Connections and decisions. Messages and subscriptions, where recorded, would hide them."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The state of a device's connection and what keeps it from having one."""

    state: State
    colour: str
    last_seen: datetime | None
    obstacles: tuple[str, ...]


def presence_of(device: Device) -> Presence:
    state = presence_of_device(device.pk, device.last_seen_at)
    colour = STANDING_COLOURS.get(str(state.standing), "")
    return Presence(state, colour, _last_seen(device, state), tuple(obstacles(device, timezone.now())))


def _last_seen(device: Device, state: State) -> datetime | None:
    """Stored sightings may be a minute behind, and then be older than the connection beside them."""
    connected = state.session.connected_at if state.session is not None else None
    return max((moment for moment in (device.last_seen_at, connected) if moment is not None), default=None)


def obstacles(device: Device, now: datetime) -> list[str]:
    """Why it cannot log in, whatever its rules say; in the order in which a login is checked."""
    found = []
    if not device.enabled:
        found.append("It is disabled: it cannot connect, publish or subscribe.")
    if device.valid_from is not None and now < device.valid_from:
        found.append("It is not valid yet.")
    if device.valid_until is not None and device.valid_until <= now:
        found.append("It is no longer valid.")
    if device.credential_required and not device.certificate_cn and not device.credentials.live().exists():
        found.append("It has no live credential to log in with.")
    return found


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session with its state, as ``audit.states`` has it."""

    session: Session
    state: State
    colour: str


def sessions_of(device: Device, size: int = SESSIONS_SHOWN) -> list[ShownSession]:
    """Live ones first, then those that ended last. Two queries, each by an index."""
    own = Session.objects.filter(device_id=device.pk)
    live = list(own.filter(disconnected_at=None).order_by("-connected_at", "-pk")[:size])
    past = own.filter(disconnected_at__isnull=False).order_by("-disconnected_at")[: size - len(live)]
    return [_shown(session) for session in (*live, *past)]


def _shown(session: Session) -> ShownSession:
    state = state_of(session)
    return ShownSession(session, state, STANDING_COLOURS.get(str(state.standing), ""))


@dataclass(frozen=True, slots=True)
class Entry:
    """A moment of the timeline, in words: an event, or a change with its lines."""

    time: datetime
    title: str
    colour: str
    event: Event | None = None
    reason: str = ""
    why: str = ""
    change: RecordedChange | None = None
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownTimeline:
    """``older`` is the address of the next page, empty at the end."""

    entries: list[Entry]
    older: str
    searched_to: datetime | None


def timeline_of(request: HttpRequest, device: Device, before: str = "", size: int = 50) -> ShownTimeline:
    """What happened to a device, newest first; events only for those who may see them. Raises BadCursor."""
    lanes: list[Listing[Any]] = [Listing(history_of(Device._meta.label_lower, device.pk))]
    if request.user.has_perm("audit.view_event"):
        # The index is that of the name. Events of another device that had it before are left out.
        named = Event.objects.filter(device=device.username)
        lanes.append(Listing(named.filter(device_id=device.pk, kind__in=TOLD), named))
    page: Page = timeline(lanes, before, size)
    explained = may_explain(request)
    url = reverse("admin:accounts_device_timeline", args=[device.pk])
    older = f"{url}?{urlencode({'before': page.older})}" if page.older else ""
    entries = [_entry(moment.row, explained, device) for moment in page.moments]
    return ShownTimeline(entries, older, page.searched_to)


def _entry(row: Event | RecordedChange, explained: bool, device: Device) -> Entry:
    if isinstance(row, Event):
        colour = KIND_COLOURS.get(row.title) or KIND_COLOURS.get(row.kind) or ""
        reason = reason_words(row.reason).title or row.detail
        why = (why_url(row) or "") if explained and row.allowed is False else ""
        return Entry(row.time, row.title, colour, event=row, reason=reason, why=why)
    itself = row.kind == Device._meta.label_lower and row.object_id == device.pk
    title = f"{row.get_verb_display()} {'the device' if itself else row.name}"
    return Entry(row.time, title, "info", change=row, lines=tuple(lines(row)))


@dataclass
class Panel:
    """Something to read in a tab of a form, among the inlines: to the templates it is one without fields."""

    prefix: str
    title: str
    template: str
    data: Any
    error_count: int = 0
    has_add_permission: bool = False
    has_change_permission: bool = False
    has_delete_permission: bool = False
    has_view_permission: bool = True
    is_collapsible: bool = False
    opts: Any = field(init=False)
    formset: Any = field(init=False)

    def __post_init__(self) -> None:
        self.opts = SimpleNamespace(tab=True, template=self.template, verbose_name_plural=self.title)
        self.formset = SimpleNamespace(
            prefix=self.prefix, errors=[], max_num=None, is_multipart=lambda: False, is_bound=False
        )

    def __iter__(self) -> Iterator[Any]:
        """Its forms."""
        return iter(())

    def non_form_errors(self) -> Sequence[str]:
        return ()


def panels_of(request: HttpRequest, device: Device) -> list[Panel]:
    """The tabs that follow the device's own."""
    panels = []
    if request.user.has_perm("audit.view_session"):
        panels.append(Panel("sessions", "sessions", "console/device_sessions.html", sessions_of(device)))
    shown = timeline_of(request, device, size=MOMENTS_SHOWN)
    panels.append(Panel("timeline", "timeline", "console/device_timeline.html", shown))
    return panels
