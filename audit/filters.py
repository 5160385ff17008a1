"""Filters of events and sessions. Texts are compared whole, which an index answers."""

from datetime import datetime, time
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_time
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter, TextFilter


class ExactTextFilter(TextFilter):
    """The whole text of the field named by ``parameter_name``."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if "\x00" in text:
            return queryset.none()  # No stored text holds NUL, and PostgreSQL refuses to be asked.
        return queryset.filter(**{self.parameter_name: text}) if text else queryset


class DeviceFilter(ExactTextFilter):
    title = "device (whole name)"
    parameter_name = "device"


class ClientIdFilter(ExactTextFilter):
    title = "client id (whole)"
    parameter_name = "client_id"


class NodeFilter(ExactTextFilter):
    title = "node (whole name)"
    parameter_name = "node"


class AddressFilter(TextFilter):
    """A whole address, or how one begins: “192.0.2.”."""

    title = "address (or how it begins)"
    parameter_name = "address"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if "\x00" in text:
            return queryset.none()
        try:
            return queryset.filter(address=str(ip_address(text)))
        except ValueError:
            return queryset.filter(address__startswith=text) if text else queryset


class ReasonFilter(DropdownFilter):
    """The reasons that the list’s admin has words for."""

    title = parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason, model_admin.reason_title(reason)) for reason in model_admin.reasons]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


class PresenceFilter(DropdownFilter):
    """Online, offline, or unknown: online unless its end was missed."""

    title = parameter_name = "presence"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("online", "online"), ("unknown", "unknown"), ("offline", "offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "online":
                return queryset.filter(disconnected_at=None, unknown_since=None)
            case "unknown":
                return queryset.filter(disconnected_at=None, unknown_since__isnull=False)
            case "offline":
                return queryset.exclude(disconnected_at=None)
        return queryset


class TimeRangeFilter(RangeDateTimeFilter):
    """From and to, in the site’s zone. A date alone is the whole day; unfold’s own filter ignores it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The times in the list are in the zone of whoever looks at it.
        self.title: str = f"{self.field.verbose_name} ({settings.TIME_ZONE})"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for side, lookup, of_day in (("from", "gte", time.min), ("to", "lte", time.max)):
            moment = self._moment(side, of_day)
            if moment is not None:
                queryset = queryset.filter(**{f"{self.parameter_name}__{lookup}": moment})
        return queryset

    def _moment(self, side: str, of_day: time) -> datetime | None:
        name = f"{self.parameter_name}_{side}"
        day, at = (str(self.used_parameters.get(f"{name}_{part}") or "") for part in (0, 1))
        try:
            parsed = parse_date(day)
            of_day = parse_time(at) or of_day
        except ValueError:
            return None
        return timezone.make_aware(datetime.combine(parsed, of_day)) if parsed else None
