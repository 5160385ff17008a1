"""Filters of the device list. None of them counts anything."""

from collections.abc import Callable
from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from accounts.models import Credential, DeviceQuerySet

SOON = timedelta(days=30)


def _unrestricted(devices: DeviceQuerySet) -> DeviceQuerySet:
    return devices


def _ends_soon(devices: DeviceQuerySet) -> DeviceQuerySet:
    now = timezone.now()
    return devices.filter(valid_until__gt=now, valid_until__lte=now + SOON)


VALIDITY: dict[str, tuple[str, Callable[[DeviceQuerySet], DeviceQuerySet]]] = {
    "valid": ("valid now", lambda devices: devices.inside_window()),
    "not-yet": ("not yet valid", lambda devices: devices.filter(valid_from__gt=timezone.now())),
    "soon": (f"ends within {SOON.days} days", _ends_soon),
    "over": ("no longer valid", lambda devices: devices.filter(valid_until__lte=timezone.now())),
}


class ValidityFilter(DropdownFilter):
    """Where now lies in the validity window."""

    title = "validity"
    parameter_name = "validity"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in VALIDITY.items()]

    def queryset(self, request: HttpRequest, queryset: DeviceQuerySet) -> DeviceQuerySet:
        _, restrict = VALIDITY.get(self.value() or "", ("", _unrestricted))
        return restrict(queryset)


class LiveCredentialFilter(DropdownFilter):
    """Whether there is anything to log in with."""

    title = "live credential"
    parameter_name = "credential"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("live", "has one"), ("none", "has none")]

    def queryset(self, request: HttpRequest, queryset: DeviceQuerySet) -> DeviceQuerySet:
        live = Exists(Credential.objects.live().filter(device=OuterRef("pk")))
        match self.value():
            case "live":
                return queryset.filter(live)
            case "none":
                return queryset.filter(~live)
        return queryset
