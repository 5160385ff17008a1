"""How many devices there are, are online, and were never seen: of so many as can be counted quickly."""

from dataclasses import dataclass

from django.core.cache import cache
from django.db.models import Count, Q

from accounts.models import Device
from audit.models import Session

MOST_COUNTED = 100_000
REMEMBERED_SECONDS = 30


@dataclass(frozen=True, slots=True)
class FleetSize:
    """``complete`` is False where there are more devices, or more sessions, than were looked at.

    Each number is then one that there are at least. ``unknown`` are clients whose end may have been missed.
    """

    devices: int
    disabled: int
    never_seen: int
    online: int
    unknown: int
    complete: bool

    @property
    def offline(self) -> int | None:
        """Seen before and not online; None where not all were looked at."""
        return max(self.devices - self.never_seen - self.online, 0) if self.complete else None


def fleet_size() -> FleetSize:
    """As it was at most half a minute ago."""
    size: FleetSize | None = cache.get("exhook-fleet-size")
    if size is None:
        size = _count()
        cache.set("exhook-fleet-size", size, REMEMBERED_SECONDS)
    return size


def _count() -> FleetSize:
    newest = Device.objects.order_by("-pk").values("pk", "enabled", "last_seen_at")[: MOST_COUNTED + 1]
    devices = newest.aggregate(
        devices=Count("pk"),
        disabled=Count("pk", filter=Q(enabled=False)),
        seen=Count("last_seen_at"),
    )
    opened = Session.objects.online().values("pk", "device_id", "unknown_since")[: MOST_COUNTED + 1]
    sessions = opened.aggregate(
        sessions=Count("pk"),
        online=Count("device_id", distinct=True, filter=Q(unknown_since=None)),
        unknown=Count("unknown_since"),
    )
    return FleetSize(
        devices=min(devices["devices"], MOST_COUNTED),
        disabled=devices["disabled"],
        never_seen=devices["devices"] - devices["seen"],
        online=sessions["online"],
        unknown=sessions["unknown"],
        complete=max(devices["devices"], sessions["sessions"]) <= MOST_COUNTED,
    )
