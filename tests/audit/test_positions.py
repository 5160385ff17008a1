"""Positions: how far a spool is stored moves with its facts, or not at all."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit import positions
from audit.fact import Fact, Kind
from audit.models import Event, SpoolPosition
from audit.positions import Moved
from audit.spool import Position
from audit.spool_reader import Move
from audit.writer import write_facts

SPOOL = "001800000000-0123456789ab"
FIRST, SECOND, THIRD = Position(0, 200), Position(0, 900), Position(1, 150)


def denied(number: int) -> Fact:
    return Fact(Kind.AUTHORIZE, client_id=f"pump-{number}")


def names() -> set[str]:
    return set(SpoolPosition.objects.values_list("pk", flat=True))


def test_places_are_ordered_as_they_are_read():
    assert sorted([THIRD, SECOND, FIRST]) == [FIRST, SECOND, THIRD]


@pytest.mark.django_db
def test_a_position_moves_with_its_facts():
    assert positions.position_of(SPOOL) is None
    write_facts([denied(1)], Move(SPOOL, None, FIRST))
    assert positions.position_of(SPOOL) == FIRST
    write_facts([denied(2)], Move(SPOOL, FIRST, THIRD))
    write_facts([denied(3)], Move("another", None, FIRST))
    assert positions.position_of(SPOOL) == THIRD
    assert Event.objects.count() == 3


@pytest.mark.django_db
def test_a_position_moves_without_facts():
    """As where a torn piece was skipped, or a fact set aside."""
    assert write_facts([], Move(SPOOL, None, FIRST)) == 0
    assert positions.position_of(SPOOL) == FIRST


@pytest.mark.django_db
@pytest.mark.parametrize(
    "before",
    [
        pytest.param(None, id="stored for the first time, believed not to be"),
        pytest.param(FIRST, id="stored, and its answer lost"),
        pytest.param(THIRD, id="beyond what is stored"),
    ],
)
def test_a_batch_that_is_stored_already_is_not_stored_again(before: Position | None):
    write_facts([denied(1)], Move(SPOOL, None, FIRST))
    write_facts([denied(2)], Move(SPOOL, FIRST, SECOND))
    with pytest.raises(Moved):
        write_facts([denied(3)], Move(SPOOL, before, THIRD))
    assert positions.position_of(SPOOL) == SECOND
    assert not Event.objects.filter(client_id="pump-3").exists()


@pytest.mark.django_db
def test_neither_moves_without_the_other():
    write_facts([denied(1)], Move(SPOOL, None, FIRST))
    with pytest.raises(UnicodeEncodeError):
        write_facts([denied(2), Fact(Kind.AUTHORIZE, client_id="\ud800")], Move(SPOOL, FIRST, SECOND))
    assert positions.position_of(SPOOL) == FIRST
    assert Event.objects.count() == 1


@pytest.mark.django_db
def test_a_spool_that_is_gone_is_forgotten():
    write_facts([denied(1)], Move(SPOOL, None, FIRST))
    write_facts([denied(1)], Move("another", None, FIRST))
    positions.forget(SPOOL)
    positions.forget(SPOOL)
    assert names() == {"another"}


@pytest.mark.django_db
def test_what_nobody_has_moved_for_long_is_forgotten_and_the_living_are_kept():
    ages = {"living": 400, "gone": 400, "switched off a while ago": 80, "busy": 0}
    for spool, days in ages.items():
        write_facts([], Move(spool, None, FIRST))
        SpoolPosition.objects.filter(pk=spool).update(moved_at=Now() - timedelta(days=days))
    positions.tidy(["living"])
    assert names() == ages.keys() - {"gone"}
    positions.tidy([])
    assert "living" in names()
