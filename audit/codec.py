"""Facts as bytes, for the spool: JSON, so that what lies on a disk can be read by people.

A record is an array of the values in ``FIELDS``' order. Fields are only ever added at the
end, so that a spool written before an upgrade can be read after it.
"""

import json
from collections.abc import Callable
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
_decode = json.JSONDecoder().raw_decode
_values = attrgetter(*FIELDS)
_fact: Callable[..., Fact] = Fact


class BadRecord(ValueError):
    """Bytes that are no fact."""


def encode(fact: Fact) -> bytes:
    """The fact as one record. Half surrogate pairs, which no database holds, become “?”."""
    return _encode((fact.id.hex, *_values(fact))).encode(errors="replace")


def decode(record: bytes) -> Fact:
    """Raises BadRecord."""
    try:
        text = record.decode()
        (event, kind, *values), end = _decode(text)
        if end != len(text):
            raise BadRecord("there is more than one record")
        # By place: FIELDS are a fact's own, in their order. A later version's are at the end.
        return _fact(Kind(kind), *values[: len(FIELDS) - 1], id=UUID(int=int(event, 16)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadRecord(str(error)) from error
