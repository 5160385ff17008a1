"""What any file can say, whatever its format: devices, groups, policies, rules, and what is wrong with it.

Records are neutral and know no database. Each says the line on which it begins. Secrets are kept out of
every ``repr``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from accounts.core.principal import CredentialKind
from acl.core.rules import Action, Effect


class Kind(StrEnum):
    """What a finding means for the import."""

    ERROR = "error"
    """The file cannot be relied on: nothing of it is imported."""
    REFUSED = "refused"
    """This row is left out; nobody gets access by that. The others are imported."""
    ALLOW_LOST = "allow lost"
    """An allow with a condition that cannot be kept. Without the condition it would allow more, so it can
    only be left out, and only when the operator says so; otherwise nothing is imported."""
    DENY_WIDER = "deny wider"
    """A deny with a condition that cannot be kept. Left out it would open access, so it can only be taken
    without the condition, and only when the operator says so; otherwise nothing is imported."""
    REMARK = "remark"
    """Worth knowing; changes nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a rule is about: everyone where nothing is given; of several names, all must hold."""

    username: str | None = None
    client_id: str | None = None
    policy: str | None = None

    def __str__(self) -> str:
        names = [("device", self.username), ("client id", self.client_id), ("policy", self.policy)]
        return " and ".join(f"{kind} {name}" for kind, name in names if name is not None) or "everyone"


EVERYONE = Subject()


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """One rule as it will be stored. ``networks`` are in the standard spelling; none means from anywhere."""

    line: int
    subject: Subject
    effect: Effect
    action: Action
    topic_filter: str
    literal: bool = False
    networks: tuple[str, ...] = ()
    priority: int = 0
    enabled: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """A secret: ``encoded`` in a form that can be stored, or else ``plain``, hashed when it is stored."""

    kind: CredentialKind = CredentialKind.PASSWORD
    encoded: str = field(default="", repr=False)
    plain: str = field(default="", repr=False)
    label: str = ""
    origin: str = ""
    """Where a hash of another program comes from, such as “imported from EMQX”."""
    enabled: bool = True
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device: ``values`` holds the fields that the file speaks of, by their names in the database.

    ``groups`` replaces the device's groups, and ``rules`` the rules that this format put there before;
    None leaves them as they are. ``attributes`` in ``values`` replaces the attributes as a whole.
    """

    line: int
    username: str
    values: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None
    credentials: tuple[CredentialRecord, ...] = ()
    rules: tuple[RuleRecord, ...] | None = None
    list_name: str = ""
    """What the notes of its rules begin with; empty where these are all the rules that the device has."""
    must_exist: bool = False
    """True for a file that speaks about devices without being able to make one."""
    policies: tuple[str, ...] | None = None
    """Exactly those attached to the device itself; None leaves them as they are."""


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group, and perhaps who is in it besides the devices that name it themselves."""

    line: int
    name: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy. Its rules are RuleRecords whose subject names it. None leaves a field as it is."""

    line: int
    name: str
    description: str | None = None
    enabled: bool | None = None
    everyone: bool | None = None
    groups: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SubjectRules:
    """All the rules that one list of the file has for one subject, first match first."""

    line: int
    subject: Subject
    rules: tuple[RuleRecord, ...]
    list_name: str = ""
    """What the notes of its rules begin with; empty where these are all the rules that the subject has."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell the operator: the line, the field, and the reason in words, without any secret.

    ``instead`` are the rules to take where the operator accepts a wider deny.
    """

    kind: Kind
    line: int
    field: str
    reason: str
    instead: tuple[RuleRecord, ...] = ()

    def __str__(self) -> str:
        where = f"line {self.line}, {self.field}" if self.field else f"line {self.line}"
        return f"{where}: {self.reason}"


Record = DeviceRecord | GroupRecord | PolicyRecord | RuleRecord | SubjectRules
Read = Record | Finding
