"""Replies, as bytes: the same on the wire in every version of the protocol.

``ValuedResponse`` holds ``type`` in field 1 and ``bool_result`` in field 3 in all of
them (a test compares these bytes with what each version's messages serialize to).
"""

from typing import Final

from accounts.core.decision import Decision, Reason

EMPTY_SUCCESS: Final = b""
ALLOW: Final = b"\x08\x02\x18\x01"
# An unset bool_result is not false to EMQX: the field is always present.
DENY: Final = b"\x08\x02\x18\x00"
# EMQX's IGNORE: as if this provider had not been asked.
IGNORE: Final = b"\x08\x01"


def reply_to(decision: Decision, chain_unknown: bool) -> bytes:
    """What the broker is told. Abstaining would admit anonymous devices on most EMQX versions,
    so an unknown device is refused unless the operator has turned chaining on."""
    if decision.allow:
        return ALLOW
    if chain_unknown and decision.reason == Reason.UNKNOWN_DEVICE:
        return IGNORE
    return DENY
