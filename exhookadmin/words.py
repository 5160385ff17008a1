"""Plain words for people: what each reason of a decision means, and what to do about it.

The one place for them: the audit log, the explain page and the command line say the same.
"""

from dataclasses import dataclass

from accounts.core.decision import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """``title`` fits a table cell; ``meaning`` says what happened and, after a denial, what helps."""

    title: str
    meaning: str


REASONS: dict[Reason, Words] = {
    Reason.CREDENTIAL_VERIFIED: Words("right credential", "One of the device’s live credentials verified."),
    Reason.CERTIFICATE_VERIFIED: Words(
        "right certificate", "The client certificate’s CN is the one stored with the device."
    ),
    Reason.NO_CREDENTIAL_REQUIRED: Words(
        "no credential required", "The device may connect without a credential."
    ),
    Reason.UNKNOWN_DEVICE: Words(
        "unknown device",
        "No device has this username, client id or certificate CN. Add the device, or correct the name it "
        "sends.",
    ),
    Reason.DEVICE_DISABLED: Words(
        "device disabled", "The device is switched off. Switch on “enabled” to admit it again."
    ),
    Reason.NOT_YET_VALID: Words(
        "not yet valid", "The device’s validity has not begun. Change “valid from” to admit it now."
    ),
    Reason.NO_LONGER_VALID: Words(
        "no longer valid", "The device’s validity has ended. Change “valid until” to admit it again."
    ),
    Reason.CLIENT_ID_NOT_BOUND: Words(
        "wrong client id",
        "The device is bound to another client id, so that it cannot take over somebody else’s session. "
        "Correct the client id it sends, or its client id binding.",
    ),
    Reason.ADDRESS_NOT_ALLOWED: Words(
        "wrong address",
        "The connection came from outside the device’s networks. Add the address to its networks if it "
        "belongs there.",
    ),
    Reason.CREDENTIAL_MISSING: Words(
        "no credential sent", "The client sent no password. Enter the device’s token as its MQTT password."
    ),
    Reason.NO_LIVE_CREDENTIAL: Words(
        "no live credential",
        "The device has no credential, or all are revoked or expired. Make a new token for it.",
    ),
    Reason.CREDENTIAL_WRONG: Words(
        "wrong credential",
        "What the client sent as its password is none of the device’s live credentials. "
        "Correct it, or make a new token.",
    ),
    Reason.THROTTLED: Words(
        "too many failures",
        "This name failed too often from this address, so nothing was checked. Correct the credential and "
        "wait.",
    ),
    Reason.SUPERUSER: Words("superuser", "The device is a superuser: no rule is asked."),
    Reason.RULE_ALLOWS: Words("allowed by a rule", "The first rule that matched allows it."),
    Reason.RULE_DENIES: Words("denied by a rule", "The first rule that matched denies it."),
    Reason.NO_RULE_MATCHED: Words(
        "no rule matched",
        "No rule that applies to the device matches, and what is not allowed is denied. "
        "A subscription needs a rule that covers every topic it could receive.",
    ),
    Reason.INVALID_TOPIC: Words(
        "invalid topic",
        "The topic or filter breaks the rules of MQTT, for example by a wildcard in a publish.",
    ),
    Reason.POLICY_BROKEN: Words(
        "broken policy", "A policy that applies to the device cannot be read. Correct its rules."
    ),
    Reason.INTERNAL_ERROR: Words(
        "internal error", "Deciding failed. The endpoint’s log has the details under the same time."
    ),
    Reason.DATABASE_UNAVAILABLE: Words(
        "database unavailable", "The database could not be asked, and the device was not in memory."
    ),
    Reason.OVERLOADED: Words(
        "overloaded", "The endpoint had more to do than it could finish before the broker’s deadline."
    ),
}


def reason_words(reason: str) -> Words:
    """The words for a stored reason; for one that this version does not know, the reason itself."""
    try:
        return REASONS[Reason(reason)]
    except ValueError:
        return Words(reason.replace("_", " "), "")
