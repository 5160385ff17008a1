"""Copying: whatever a fact holds, its row holds the same, on both databases and on both ways in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.copying import Values, copy_line, copy_lines, insert_events, insert_new_events
from audit.fact import Fact, Kind
from audit.folding import Row
from audit.models import Event
from audit.rows import COLUMNS, event_of, values_of

NASTY = "\\\t\n\r\b\v\x1a N.,'\"{}%\u2028\ufeff"

texts = st.text(
    st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    max_size=12,
)
numbers = st.none() | st.integers(-(2**63), 2**63 - 1)
ports = st.integers(0, 2**31 - 1)
addresses = st.sampled_from(["", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "fe80::1%eth0", "undefined"])
facts = st.builds(
    Fact,
    st.sampled_from(Kind),
    time=st.floats(-1e10, 2e11, allow_nan=False),
    allowed=st.none() | st.booleans(),
    reason=texts,
    device_id=numbers,
    device=texts,
    client_id=texts,
    username=texts,
    address=addresses,
    port=ports,
    listener_port=ports,
    protocol=texts,
    cn=texts,
    node=texts,
    cluster=texts,
    action=texts.map(lambda text: text[:10]),
    topic=texts,
    rule_id=numbers,
    rule=texts,
    credential_id=numbers,
    detail=texts,
    revision=texts,
    id=st.uuids(version=4),
)


def stored() -> dict[UUID, dict[str, Any]]:
    return {event["id"]: event for event in Event.objects.values(*COLUMNS)}


def row_of(fact: Fact) -> dict[str, Any]:
    return dict(zip(COLUMNS, values_of(Row(fact)), strict=True))


def test_a_row_has_every_column():
    assert set(COLUMNS) == {field.attname for field in Event._meta.concrete_fields}


@pytest.mark.django_db
@pytest.mark.parametrize("insert", [insert_events, insert_new_events], ids=["at once", "around conflicts"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(facts, max_size=5, unique_by=lambda fact: fact.id))
def test_every_value_comes_back_as_it_was(insert: Callable[[Sequence[Values]], object], batch: list[Fact]):
    Event.objects.all().delete()
    insert([values_of(Row(fact)) for fact in batch])
    assert stored() == {fact.id: row_of(fact) for fact in batch}
    # What was stored is what the model itself would have stored.
    Event.objects.all().delete()
    Event.objects.bulk_create([event_of(fact) for fact in batch])
    assert stored() == {fact.id: row_of(fact) for fact in batch}


@pytest.mark.django_db
def test_a_row_that_was_repeated():
    last = datetime(2027, 1, 15, 8, 9, 10, 1, tzinfo=UTC)
    insert_events([values_of(Row(Fact(Kind.AUTHENTICATE), 7, last.timestamp()))])
    event = Event.objects.get()
    assert (event.repeats, event.last_time) == (7, last)


@pytest.mark.django_db
def test_with_an_id_that_is_there_nothing_is_inserted_and_the_transaction_goes_on():
    old, new = Fact(Kind.CONNECTED, client_id="old"), Fact(Kind.CONNECTED, client_id="new")
    insert_events([values_of(Row(old))])
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            insert_events([values_of(Row(new)), values_of(Row(replace(old, client_id="other")))])
        assert Event.objects.count() == 1
        assert insert_new_events([values_of(Row(fact)) for fact in (new, old, new)]) == {new.id}
    assert set(Event.objects.values_list("client_id", flat=True)) == {"old", "new"}


@pytest.mark.django_db
def test_many_rows_around_conflicts():
    many = [Fact(Kind.AUTHORIZE, time=number) for number in range(1_300)]
    insert_events([values_of(Row(fact)) for fact in many[::2]])
    assert insert_new_events([values_of(Row(fact)) for fact in many]) == {fact.id for fact in many[1::2]}
    assert Event.objects.count() == len(many)


@pytest.mark.django_db
def test_a_value_that_no_column_holds_is_refused():
    with pytest.raises((TypeError, DatabaseError, ValueError)):
        insert_events([values_of(Row(Fact(Kind.AUTHORIZE, protocol=b"no text")))])  # type: ignore[arg-type]


class Word(StrEnum):
    TAB = "a\tb"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, r"\N"),
        (r"\N", r"\\N"),
        ("", ""),
        ("\\.", r"\\."),
        ("a\tb\nc\rd\\", r"a\tb\nc\rd" + "\\\\"),
        (Word.TAB, r"a\tb"),
        (True, "t"),
        (False, "f"),
        (-7, "-7"),
        (UUID(int=255), "0" * 30 + "ff"),
        (datetime(2027, 1, 15, 8, tzinfo=UTC), "2027-01-15T08:00:00+00:00"),
        (datetime(800, 1, 15, 8, 1, 2, 3, tzinfo=UTC), "0800-01-15T08:01:02.000003+00:00"),
    ],
    ids=repr,
)
def test_a_value_in_a_line(value: object, text: str):
    assert copy_line([value, "next"]) == f"{text}\tnext\n"
    plain: list[list[object]] = [["a", None, 1], ["b", False, ""]]
    assert copy_lines([*plain, [value, "next"]]) == f"a\t\\N\t1\nb\tf\t\n{text}\tnext\n"


@given(st.lists(st.lists(st.none() | st.booleans() | st.integers() | texts | st.just("\0"))))
def test_many_lines_are_each_line(rows: list[list[object]]):
    assert copy_lines(rows) == "".join(copy_line(row) for row in rows)
