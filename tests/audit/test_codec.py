"""Facts as bytes: what goes in comes out, also years later."""

import json
from dataclasses import fields
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.codec import FIELDS, BadRecord, decode, encode
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
FACTS = st.builds(Fact, **{field.name: BY_TYPE[field.type] for field in fields(Fact)})


@given(FACTS)
def test_a_fact_comes_back_as_it_was(fact: Fact) -> None:
    assert decode(encode(fact)) == fact


@given(FACTS)
def test_no_record_holds_what_marks_the_beginning_of_one(fact: Fact) -> None:
    assert MAGIC not in encode(fact)
    assert MAGIC[:1] not in encode(fact)


def test_every_field_of_a_fact_is_kept() -> None:
    """In a fact's own order: what is read is put in its place, not looked up."""
    assert [*FIELDS, "id"] == [field.name for field in fields(Fact)]


def test_the_order_of_the_fields_is_for_ever() -> None:
    """A spool written before an upgrade is read after it: fields may only follow."""
    assert FIELDS[:26] == (
        "kind", "time", "allowed", "reason", "device_id", "device", "client_id", "username", "address",
        "port", "listener_port", "protocol", "cn", "node", "cluster", "action", "topic", "rule_id", "rule",
        "credential_id", "detail", "revision", "node_version", "node_protocol", "node_started", "node_heard",
    )  # fmt: skip


def test_a_record_written_before_a_field_was_added_is_read() -> None:
    fact = Fact(Kind.CONNECTED, client_id="pump-17")
    values = json.loads(encode(fact))
    assert decode(json.dumps(values[:-1]).encode()) == fact


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
        b'["no id","client.connected",1.0]',
        b'["01a1f8bab4a87b2f8362d9719c87ba74"]',
        b'["01a1f8bab4a87b2f8362d9719c87ba74","client.invented",1.0]',
        b'[17,"client.connected",1.0]',
        b'["01a1f8bab4a87b2f8362d9719c87ba74","client.connected",1.0,null,17,1,17]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_fact_is_said_to_be_none(record: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(record)
