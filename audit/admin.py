"""Events and sessions in the admin: to be read only. Nobody can write them here, not even by POST."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from audit.changelist import LongChangeList, PlacePaginator
from audit.filters import (
    AddressFilter,
    ClientIdFilter,
    DeviceFilter,
    NodeFilter,
    PresenceFilter,
    ReasonFilter,
    TimeRangeFilter,
)
from audit.models import BrokerNode, Event, Session
from audit.periods import Periods, Step, periods
from audit.states import state_of

KIND_COLOURS = {
    "login refused": "danger",
    "login allowed": "success",
    "access denied": "danger",
    "access allowed": "success",
    "connection refused": "warning",
    "connected": "success",
    "broker node attached": "info",
    "broker node detached": "warning",
    "endpoint back": "warning",
}
STANDING_COLOURS = {"online": "success", "unknown": "warning"}


def to_the_second(moment: datetime | None) -> SafeString | None:
    """In the viewer’s zone, with the exact UTC on hover; sortable: a log is compared line by line."""
    return render_to_string("console/time.html", {"moment": moment}) if moment else None


class ReadOnlyAdmin(ModelAdmin):
    """A log: looked at by those who have the permission to view it, changed by nobody.

    No COUNT(*), no facets, pages without an end: the tables grow to many millions of rows.
    """

    actions: Any = None
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # Nothing changes here, so there is no history of changes to show.
        context = (extra_context or {}) | {"show_history": False}
        return super().change_view(request, object_id, form_url, context)

    def device_name(self, row: Any) -> str:
        """The device’s name, which may be a link where devices are known."""
        return str(row.device)


class LongListAdmin(ReadOnlyAdmin):
    """A list that is paged by place."""

    paginator = PlacePaginator
    time_field: str
    indexed_filters: tuple[str, ...]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LongChangeList]:
        return LongChangeList


class EventChangeList(LongChangeList):
    """The list of events with its way in by date."""

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as error:  # the year 9999 has no year after it
            raise IncorrectLookupParameters(error) from error

    @property
    def periods(self) -> dict[str, Any] | None:
        """The context of unfold’s date hierarchy; None while there are no events."""
        times = Event.objects.values_list("time", flat=True)
        first, last = times.order_by("time", "id").first(), times.order_by("-time", "-id").first()
        if first is None or last is None:
            return None
        shown = {
            name: int(self.params[f"time__{name}"])
            for name in ("year", "month", "day")
            if f"time__{name}" in self.params
        }
        way: Periods = periods(timezone.localdate(first), timezone.localdate(last), shown)
        return {
            "show": True,
            "back": way.back and self._link(way.back),
            "choices": [self._link(step) for step in way.choices],
        }

    def _link(self, step: Step) -> dict[str, str]:
        dates = {f"time__{name}": str(number) for name, number in step.dates.items()}
        here = "time__day" in self.params and not dates
        return {"title": step.title, "link": "" if here else self.get_query_string(dates, ["time__"])}


@admin.register(Event)
class EventAdmin(LongListAdmin):
    """What happened, newest first."""

    reason_words: Mapping[str, str] = {}
    """A title for each reason, for a subclass that knows them."""

    list_display = ("when", "what", "why", "device_name", "client_id", "about", "whence")
    list_display_links = ("when",)
    list_filter = (
        ("kind", ChoicesDropdownFilter),
        ReasonFilter,
        DeviceFilter,
        ClientIdFilter,
        AddressFilter,
        NodeFilter,
        ("time", TimeRangeFilter),
    )
    date_hierarchy = "time"
    time_field = "time"
    indexed_filters = ("client_id", "device", "kind")
    ordering = ("-time", "-id")
    sortable_by = ()
    search_fields = ("device", "client_id", "username", "topic")
    search_help_text = "Device, client id, username, topic"
    nothing_yet_template = "audit/no_events.html"
    fieldsets = (
        ("What happened", {"fields": ("when_exactly", "what", "why", "meaning", "detail")}),
        ("Who", {"fields": ("device_name", "client_id", "username", "cn", "credential_id")}),
        ("From where", {"fields": ("address", "port", "protocol", "listener_port", "node", "cluster")}),
        ("Access", {"fields": ("action", "topic", "rule", "rule_id", "revision")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Event | None = None) -> Any:
        """Only what the event tells: most kinds leave most fields empty."""
        told = [
            (title, [name for name in options["fields"] if obj is None or self._tells(obj, name)])
            for title, options in self.fieldsets
        ]
        return [(title, {"fields": names}) for title, names in told if names]

    def _tells(self, event: Event, name: str) -> bool:
        own = getattr(self, name, None)
        return bool(own(event) if callable(own) else getattr(event, name))

    def get_readonly_fields(self, request: HttpRequest, obj: Event | None = None) -> list[str]:
        return [name for _, options in self.fieldsets for name in options["fields"]]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventChangeList]:
        return EventChangeList

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the reason filter offers."""
        return tuple(self.reason_words)

    def reason_title(self, reason: str) -> str:
        return self.reason_words.get(reason, reason.replace("_", " "))

    @display(description="time")
    def when(self, event: Event) -> str | None:
        return to_the_second(event.time)

    @display(description="time")
    def when_exactly(self, event: Event) -> str:
        return timezone.localtime(event.time).isoformat(sep=" ", timespec="milliseconds")

    @display(description="event", label=KIND_COLOURS)
    def what(self, event: Event) -> str:
        return event.title

    @display(description="reason")
    def why(self, event: Event) -> str | None:
        return self.reason_title(event.reason) or event.detail or None

    @display(description="meaning")
    def meaning(self, event: Event) -> str | None:
        """What the reason means, for a subclass that knows it."""
        return None

    @display(description="from", header=True)
    def whence(self, event: Event) -> tuple[str, str]:
        return event.address or "", event.node

    @display(description="topic")
    def about(self, event: Event) -> str | None:
        return f"{event.action} {event.topic}".strip() if event.topic else None

    @display(description="device")
    def device_name(self, row: Any) -> str:
        return super().device_name(row)


@admin.register(Session)
class SessionAdmin(LongListAdmin):
    """Who is online and who was, newest first."""

    list_display = ("client_id", "presence", "device_name", "since", "until", "address", "node")
    list_filter = (
        PresenceFilter,
        ClientIdFilter,
        DeviceFilter,
        NodeFilter,
        ("connected_at", TimeRangeFilter),
    )
    time_field = "connected_at"
    indexed_filters = ("device",)
    ordering = ("-connected_at", "-id")
    sortable_by = ()
    search_fields = ("client_id", "device", "username")
    search_help_text = "Client id, device, username"
    nothing_yet_template = "audit/no_sessions.html"
    fields = (
        "presence", "doubt", "client_id", "device_name", "username", "since", "until", "end_reason",
        "address", "port", "protocol", "node", "cluster",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Session | None = None) -> list[str]:
        doubted = obj is not None and obj.unknown_since is not None
        return [name for name in self.fields if doubted or name != "doubt"]

    def get_readonly_fields(self, request: HttpRequest, obj: Session | None = None) -> tuple[str, ...]:
        return self.fields

    @display(description="presence", label=STANDING_COLOURS)
    def presence(self, session: Session) -> str:
        return str(state_of(session).standing)

    @display(description="what is not known")
    def doubt(self, session: Session) -> SafeString:
        said = "It may have ended at any time since {}: {}."
        if session.disconnected_at is None:
            said = "Whether it is still connected is unknown since {}: {}."
        return format_html(said, to_the_second(session.unknown_since), session.unknown_reason)

    @display(description="device")
    def device_name(self, row: Any) -> str:
        return super().device_name(row)

    @display(description="connected")
    def since(self, session: Session) -> str | None:
        return to_the_second(session.connected_at)

    @display(description="disconnected")
    def until(self, session: Session) -> str | None:
        return to_the_second(session.disconnected_at)


@admin.register(BrokerNode)
class BrokerNodeAdmin(ReadOnlyAdmin):
    """The broker’s nodes as they introduced themselves, and when each was heard last."""

    list_display = ("name", "state", "version", "protocol", "started", "attached", "heard", "cluster")
    ordering = ("cluster", "name")
    sortable_by = ()
    search_fields = ("name", "cluster", "version")
    search_help_text = "Name, cluster, version"
    nothing_yet_template = "audit/no_nodes.html"
    fields = ("name", "cluster", "state", "version", "protocol", "started", "attached", "detached", "heard")

    def get_readonly_fields(self, request: HttpRequest, obj: BrokerNode | None = None) -> tuple[str, ...]:
        return self.fields

    @display(
        description="state", label={"attached": "success", "detached": "warning", "not introduced": "info"}
    )
    def state(self, node: BrokerNode) -> str:
        """What it said last of itself; a node that was up before we were may never have."""
        if node.detached_at is not None and (node.attached_at is None or node.attached_at < node.detached_at):
            return "detached"
        return "attached" if node.attached_at is not None else "not introduced"

    @display(description="started")
    def started(self, node: BrokerNode) -> str | None:
        return to_the_second(node.started_at)

    @display(description="attached")
    def attached(self, node: BrokerNode) -> str | None:
        return to_the_second(node.attached_at)

    @display(description="detached")
    def detached(self, node: BrokerNode) -> str | None:
        return to_the_second(node.detached_at)

    @display(description="heard last")
    def heard(self, node: BrokerNode) -> str | None:
        return to_the_second(node.heard_at)
