"""How long what is kept. Kinds are kept in groups, each with its own setting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from audit.fact import Kind


class KindGroup(StrEnum):
    """Kinds that are kept equally long. On PostgreSQL each has a table below that of the events."""

    DECISIONS = "decisions"
    PRESENCE = "presence"
    ACTIVITY = "activity"


# The database knows this too: another assignment needs a migration that moves the rows.
_GROUPS: Mapping[str, KindGroup] = {
    Kind.AUTHENTICATE: KindGroup.DECISIONS,
    Kind.AUTHORIZE: KindGroup.DECISIONS,
    Kind.CONNACK: KindGroup.DECISIONS,
    Kind.CONNECTED: KindGroup.PRESENCE,
    Kind.DISCONNECTED: KindGroup.PRESENCE,
    Kind.PROVIDER_LOADED: KindGroup.PRESENCE,
    Kind.PROVIDER_UNLOADED: KindGroup.PRESENCE,
    Kind.ENDPOINT_BACK: KindGroup.PRESENCE,
}


def group_of(kind: str) -> KindGroup:
    """Whatever is neither a decision nor presence is activity."""
    return _GROUPS.get(kind, KindGroup.ACTIVITY)


def kinds_of(group: KindGroup) -> list[Kind]:
    return [kind for kind in Kind if group_of(kind) is group]


def retention_days(group: KindGroup) -> int:
    """For how many days events of the group are kept; 0 stands for ever."""
    return int(
        {
            KindGroup.DECISIONS: settings.EXHOOK_RETENTION_DECISIONS_DAYS,
            KindGroup.PRESENCE: settings.EXHOOK_RETENTION_PRESENCE_DAYS,
            KindGroup.ACTIVITY: settings.EXHOOK_RETENTION_ACTIVITY_DAYS,
        }[group]
    )


@dataclass(frozen=True, slots=True)
class Horizons:
    """What is older has expired; None where nothing has."""

    of_groups: Mapping[KindGroup, datetime | None]

    @property
    def of_sessions(self) -> datetime | None:
        """Sessions are kept as long as the events they were derived from."""
        return self.of_groups[KindGroup.PRESENCE]

    @property
    def of_everything(self) -> datetime | None:
        """The oldest of them: before it no event is kept, of whatever kind."""
        known = list(self._set())
        return min(known) if len(known) == len(KindGroup) else None

    def _set(self) -> Iterator[datetime]:
        yield from (horizon for horizon in self.of_groups.values() if horizon is not None)


def horizons(now: datetime) -> Horizons:
    """As the settings have it at this moment."""
    days = {group: retention_days(group) for group in KindGroup}
    return Horizons({group: now - timedelta(days=kept) if kept else None for group, kept in days.items()})


def horizon_of(kind: str) -> datetime | None:
    """Before when events of the kind have expired by now; None while they are kept for ever."""
    return horizons(timezone.now()).of_groups[group_of(kind)]


NOTHING_EXPIRES = Horizons(dict.fromkeys(KindGroup))
