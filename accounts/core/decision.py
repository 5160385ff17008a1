"""What was decided, and why. The one value behind reply, audit row, metric and explain page."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a decision is what it is. The values are stored and exported: never rename one."""

    # Authentication, allowed
    CREDENTIAL_VERIFIED = "credential_verified"
    CERTIFICATE_VERIFIED = "certificate_verified"
    NO_CREDENTIAL_REQUIRED = "no_credential_required"

    # The device itself (authentication and authorization)
    UNKNOWN_DEVICE = "unknown_device"
    DEVICE_DISABLED = "device_disabled"
    NOT_YET_VALID = "not_yet_valid"
    NO_LONGER_VALID = "no_longer_valid"
    CLIENT_ID_NOT_BOUND = "client_id_not_bound"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"

    # Authentication, denied
    THROTTLED = "throttled"
    CREDENTIAL_MISSING = "credential_missing"
    NO_LIVE_CREDENTIAL = "no_live_credential"
    CREDENTIAL_WRONG = "credential_wrong"

    # Authorization
    SUPERUSER = "superuser"
    RULE_ALLOWS = "rule_allows"
    RULE_DENIES = "rule_denies"
    NO_RULE_MATCHED = "no_rule_matched"
    INVALID_TOPIC = "invalid_topic"
    POLICY_BROKEN = "policy_broken"

    # Something broke
    INTERNAL_ERROR = "internal_error"
    DATABASE_UNAVAILABLE = "database_unavailable"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class RuleRef:
    """The rule that decided, as it read then: it stays true after the rule is edited or deleted."""

    id: int
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.source})"


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, with the reason and, where one decided, the rule or the credential."""

    allow: bool
    reason: Reason
    rule: RuleRef | None = None
    credential_id: int | None = None


def deny(reason: Reason, rule: RuleRef | None = None) -> Decision:
    """The one place where a denial is made."""
    return Decision(False, reason, rule)


def allow(reason: Reason, rule: RuleRef | None = None, credential_id: int | None = None) -> Decision:
    """The one place where a permission is made."""
    return Decision(True, reason, rule, credential_id)
