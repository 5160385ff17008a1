"""What became of each record, for the report and for the sums."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of one record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the report. ``name`` is what the record is about; no secret is in it."""

    line: int
    name: str
    outcome: Outcome
    field: str = ""
    reason: str = ""
