"""What a format cannot say of a fleet, and what that means for an export."""

from dataclasses import dataclass

from exhookadmin.fleet.records import Kind


@dataclass(frozen=True, slots=True)
class Unsaid:
    """One thing that the file would not hold as it is here. No secret is in it.

    ``kind`` means what it means for an import, with the roles exchanged: an error cannot be accepted at
    all, a remark changes nothing, and everything between decides less than here, never more: a device that
    is left out, an allow that is left out, a deny that is wider.
    """

    kind: Kind
    name: str
    field: str
    reason: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.name, self.field) if part)
        return f"{where}: {self.reason}" if where else self.reason
