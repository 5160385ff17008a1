"""Facts as bytes, for the spool: JSON, so that what lies on a disk can be read by people.

A record is an array of the values in ``FIELDS``' order. Fields are only ever added at the
end, so that a spool written before an upgrade can be read after it.
"""

import json
from operator import attrgetter
from uuid import UUID

from audit.fact import Fact, Kind

FIELDS = (
    "kind", "time", "allowed", "reason", "device_id", "device", "client_id", "username", "address",
    "port", "listener_port", "protocol", "cn", "node", "cluster", "action", "topic", "rule_id", "rule",
    "credential_id", "detail", "revision", "node_version", "node_protocol", "node_started", "node_heard",
)  # fmt: skip
"""What follows the id."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_values = attrgetter(*FIELDS)


class BadRecord(ValueError):
    """Bytes that are no fact."""


def encode(fact: Fact) -> bytes:
    """The fact as one record. Half surrogate pairs, which no database holds, become “?”."""
    return _encode((fact.id.hex, *_values(fact))).encode(errors="replace")


def decode(record: bytes) -> Fact:
    """Raises BadRecord."""
    try:
        event, *values = json.loads(record)
        fields = dict(zip(FIELDS, values, strict=False))
        return Fact(**{**fields, "id": UUID(event), "kind": Kind(fields["kind"])})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadRecord(str(error)) from error
