"""Facts as bytes: what goes in comes out, also years later."""

import json
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from audit.codec import BadRecord, decode, encode
from audit.fact import Fact, Kind
from audit.spool import MAGIC

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    Kind: st.sampled_from(Kind),
    float: st.floats(0, 4e9),
    float | None: st.none() | st.floats(0, 4e9),
    bool | None: st.none() | st.booleans(),
    str: TEXT,
    int: st.integers(0, 2**32 - 1),
    int | None: st.none() | st.integers(0, 2**63 - 1),
    UUID: st.uuids(version=4),
}
FACTS = st.builds(Fact, **{name: BY_TYPE[kind] for name, kind in get_type_hints(Fact).items()})


@given(FACTS)
def test_a_fact_comes_back_as_it_was(fact: Fact) -> None:
    assert decode(encode(fact)) == fact


@given(FACTS)
def test_no_record_holds_what_marks_the_beginning_of_one(fact: Fact) -> None:
    assert MAGIC not in encode(fact)
    assert MAGIC[:1] not in encode(fact)


def test_the_order_of_the_fields_is_for_ever() -> None:
    """A spool written before an upgrade is read after it: fields may only follow."""
    assert [field.name for field in fields(Fact)][:27] == [
        "kind", "time", "allowed", "reason", "device_id", "device", "client_id", "username", "address",
        "port", "listener_port", "protocol", "cn", "node", "cluster", "action", "topic", "rule_id", "rule",
        "credential_id", "detail", "revision", "node_version", "node_protocol", "node_started", "node_heard",
        "id",
    ]  # fmt: skip


def test_a_record_of_a_later_version_is_read() -> None:
    fact = Fact(Kind.CONNECTED, client_id="pump-17")
    assert decode(json.dumps([*json.loads(encode(fact)), "new", 17]).encode()) == fact


def test_people_can_read_a_record() -> None:
    values = json.loads(encode(Fact(Kind.CONNECTED, client_id="pümp-17")))
    assert values[0] == "client.connected"
    assert "pümp-17".encode() in encode(Fact(Kind.CONNECTED, client_id="pümp-17"))


def test_half_a_surrogate_pair_is_replaced() -> None:
    fact = decode(encode(Fact(Kind.CONNECTED, client_id="pump\ud800")))
    assert fact.client_id == "pump?"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"17",
        b'["client.invented",1.0]',
        b'["client.connected",1.0,null,17]',
        b'["client.connected",1.0,null,"\xff"]',
        b'["client.connected","noon"]',
        b'["client.connected",1.0',
        b'["client.connected",1.0]["client.connected",1.0]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_fact_is_said_to_be_none(record: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(record)
