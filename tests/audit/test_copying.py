"""Copying: whatever a fact holds, its row holds the same, on both databases and on both ways in."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.copying import insert_events, insert_new_events
from audit.fact import Fact, Kind
from audit.folding import Row
from audit.models import Event
from audit.rows import COLUMNS, event_of, values_of
from tests.audit.facts import facts


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
def test_every_value_comes_back_as_it_was(insert: Callable[[Sequence[Row]], object], batch: list[Fact]):
    Event.objects.all().delete()
    insert([Row(fact) for fact in batch])
    assert stored() == {fact.id: row_of(fact) for fact in batch}
    # What was stored is what the model itself would have stored.
    Event.objects.all().delete()
    Event.objects.bulk_create([event_of(fact) for fact in batch])
    assert stored() == {fact.id: row_of(fact) for fact in batch}


@pytest.mark.django_db
def test_a_row_that_was_repeated():
    last = datetime(2027, 1, 15, 8, 9, 10, 1, tzinfo=UTC)
    insert_events([Row(Fact(Kind.AUTHENTICATE), 7, last.timestamp())])
    event = Event.objects.get()
    assert (event.repeats, event.last_time) == (7, last)


@pytest.mark.django_db
def test_with_an_id_that_is_there_nothing_is_inserted_and_the_transaction_goes_on():
    old, new = Fact(Kind.CONNECTED, client_id="old"), Fact(Kind.CONNECTED, client_id="new")
    insert_events([Row(old)])
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            insert_events([Row(new), Row(replace(old, client_id="other"))])
        assert Event.objects.count() == 1
        assert insert_new_events([Row(fact) for fact in (new, old, new)]) == {new.id}
    assert set(Event.objects.values_list("client_id", flat=True)) == {"old", "new"}


@pytest.mark.django_db
def test_many_rows_around_conflicts():
    many = [Fact(Kind.AUTHORIZE, time=number) for number in range(1_300)]
    insert_events([Row(fact) for fact in many[::2]])
    assert insert_new_events([Row(fact) for fact in many]) == {fact.id for fact in many[1::2]}
    assert Event.objects.count() == len(many)


@pytest.mark.django_db
@pytest.mark.parametrize("rubbish", [{"reason": "\ud800"}, {"time": 1e300}], ids=["half a pair", "no year"])
def test_a_row_that_cannot_be_written_is_no_outage(rubbish: dict[str, Any]):
    """Among many others: PostgreSQL itself only says that the query was cancelled, which is tried again."""
    rows = [Row(Fact(Kind.AUTHORIZE)) for _ in range(600)]
    with transaction.atomic():
        with pytest.raises((ValueError, OverflowError)):
            insert_events([*rows, Row(Fact(Kind.AUTHORIZE, id=UUID(int=7), **rubbish))])
        insert_events(rows)
    assert Event.objects.count() == len(rows)
