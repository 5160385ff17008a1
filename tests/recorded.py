"""The history of changes as lines of text, oldest first."""

from typing import Any

from exhookadmin.staff.history import lines
from exhookadmin.staff.models import RecordedChange


def recorded(**which: Any) -> list[str]:
    """For example “changed pump-17: enabled on → off”."""
    return [
        f"{change.get_verb_display()} {change.name}: "
        + "; ".join(
            " ".join(part for part in (line.field, line.before, "→", line.after) if part)
            for line in lines(change)
        )
        for change in RecordedChange.objects.filter(**which).order_by("pk")
    ]
