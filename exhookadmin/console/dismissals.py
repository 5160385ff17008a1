"""Putting aside who was refused, and finding him again."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from exhookadmin.console.models import Dismissal
from exhookadmin.console.strangers import Stranger

MOST = 10_000
"""The newest that are looked at."""
FORGOTTEN_AFTER = timedelta(days=90)

Key = tuple[str, str, str]
"""Source, identity and reason, as ``Stranger.key`` has them."""


def dismissals() -> dict[Key, Dismissal]:
    """All that are remembered."""
    newest = Dismissal.objects.order_by("-dismissed_at")[:MOST]
    return {(row.source, row.identity, row.reason): row for row in newest}


def is_dismissed(stranger: Stranger, dismissal: Dismissal | None, now: datetime) -> bool:
    """Whether he is to be left out: he did not come again, or is not to be seen for a while at all."""
    if dismissal is None:
        return False
    if dismissal.until is not None and now < dismissal.until:
        return True
    return stranger.last <= dismissal.dismissed_at


def dismiss_strangers(keys: Iterable[Key], by: str, now: datetime, until: datetime | None = None) -> None:
    """Puts them aside until they come again, or until a time. What nobody needs any more is forgotten."""
    for source, identity, reason in keys:
        Dismissal.objects.update_or_create(
            source=source,
            identity=identity,
            reason=reason,
            defaults={"dismissed_at": now, "until": until, "dismissed_by": by},
        )
    old = Dismissal.objects.filter(dismissed_at__lt=now - FORGOTTEN_AFTER)
    old.exclude(until__gt=now).delete()


def recall_stranger(key: Key) -> None:
    """Shows him again."""
    source, identity, reason = key
    Dismissal.objects.filter(source=source, identity=identity, reason=reason).delete()
