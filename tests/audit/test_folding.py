"""Folding: no refusal is lost in a flood, and a flood is few rows."""

from collections import defaultdict
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.fact import Fact, Kind
from audit.folding import FOLDED, Folded, Key, Memory, Row, fold, key_of

SECONDS = 600.0


def refused(at: float = 0.0, **more: object) -> Fact:
    said = {"reason": "rule_denies", "client_id": "pump-17", "topic": "valve/1", "port": 40_000, **more}
    return Fact(Kind.AUTHORIZE, time=at, allowed=False, **said)  # type: ignore[arg-type]


def told(folded: Folded) -> list[tuple[float, int, float | None]]:
    return [(row.fact.time, row.repeats, row.last_time) for row in folded.rows]


def test_the_first_is_a_row_and_counts_the_others():
    folded = fold([refused(0), refused(1, port=40_001), refused(5)], None, SECONDS)
    assert told(folded) == [(0, 2, 5)]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"client_id": "pump-18"}, id="another client"),
        pytest.param({"username": "pump"}, id="another username"),
        pytest.param({"address": "192.0.2.8"}, id="another address"),
        pytest.param({"device": "pump", "device_id": 7}, id="another device"),
        pytest.param({"reason": "no_rule"}, id="another reason"),
        pytest.param({"detail": "banned"}, id="another word of the broker"),
        pytest.param({"topic": "valve/2"}, id="another topic"),
        pytest.param({"action": "subscribe"}, id="another action"),
        pytest.param({"rule": "deny valve/#", "rule_id": 9}, id="another rule"),
        pytest.param({"revision": "f00"}, id="other policies"),
        pytest.param({"node": "emqx@n2"}, id="another node"),
        pytest.param({"cluster": "other"}, id="another cluster"),
        pytest.param({"cn": "pump.example"}, id="another certificate"),
        pytest.param({"credential_id": 3}, id="another credential"),
    ],
)
def test_what_differs_is_a_row_of_its_own(other: dict[str, object]):
    assert len(fold([refused(0), refused(1, **other)], None, SECONDS).rows) == 2


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("allowed", [True, False, None])
def test_only_refusals_are_folded(kind: Kind, allowed: bool | None):
    facts = [replace(refused(number), kind=kind, allowed=allowed, id=UUID(int=0)) for number in range(3)]
    together = kind in FOLDED and allowed is False
    assert len(fold(facts, None, SECONDS).rows) == (1 if together else 3)


def test_texts_do_not_run_into_each_other():
    one, other = refused(username="ab", address="c"), refused(username="a", address="bc")
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        pytest.param([0, 599.9], [(0, 1, 599.9)], id="within"),
        pytest.param([0, 600], [(0, 0, None), (600, 0, None)], id="at its end another row begins"),
        pytest.param([0, 400, 800, 1100], [(0, 1, 400), (800, 1, 1100)], id="it is not prolonged"),
        pytest.param([0, 700, 100], [(0, 0, None), (700, 0, None), (100, 0, None)], id="clock stepped back"),
        pytest.param([5, 9, 7], [(5, 2, 9)], id="out of order"),
    ],
)
def test_a_row_covers_at_most_so_long_after_its_first(
    times: list[float], rows: list[tuple[float, int, float | None]]
):
    assert told(fold([refused(time) for time in times], None, SECONDS)) == rows


def test_off():
    assert len(fold([refused(0), refused(0)], None, 0).rows) == 2


def test_a_row_of_an_earlier_batch_is_counted_on():
    memory = Memory()
    first = fold([refused(0), refused(1)], memory, SECONDS)
    assert len(memory) == 0, "before it is stored nobody may count on it"
    memory.keep(first)
    again = fold([refused(2), refused(9), refused(3)], memory, SECONDS)
    assert again.rows == []
    [addition] = again.additions
    assert (addition.first.id, addition.count, addition.last_time) == (first.rows[0].fact.id, 3, 9)


def test_without_a_memory_rows_that_are_stored_are_left_alone():
    fold([refused(0)], None, SECONDS)
    assert told(fold([refused(1)], None, SECONDS)) == [(1, 0, None)]


def test_what_a_row_that_is_gone_was_to_count_becomes_a_row():
    """Retention, or a person, deleted it."""
    memory = Memory()
    first = fold([refused(0)], memory, SECONDS)
    memory.keep(first)
    again = fold([refused(2), refused(5)], memory, SECONDS)
    again.put_back({first.rows[0].fact.id})
    assert again.additions == []
    assert told(again) == [(2, 1, 5)]
    memory.keep(again)
    [addition] = fold([refused(7)], memory, SECONDS).additions
    assert addition.first.id == again.rows[0].fact.id


def test_the_memory_is_bounded_and_forgets_what_is_not_repeated():
    memory = Memory(3)
    for number in range(10):
        memory.keep(
            fold([refused(number, topic=str(number)), refused(number, topic="often")], memory, SECONDS)
        )
    assert len(memory) == 3
    assert memory.get(key_of(refused(topic="often"))) is not None
    assert memory.get(key_of(refused(topic="5"))) is None


# Whatever comes, however it is cut into batches, whatever dies meanwhile


class Table:
    """Rows, as a database would hold them."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}

    def store(self, folded: Folded) -> None:
        folded.put_back({addition.first.id for addition in folded.additions} - self.rows.keys())
        for addition in folded.additions:
            row = self.rows[addition.first.id]
            row.repeats += addition.count
            row.last_time = max(row.last_time or 0, addition.last_time)
        self.rows |= {row.fact.id: replace(row) for row in folded.rows}


said = st.builds(
    lambda topic, allowed, step: (topic, allowed, step),
    st.sampled_from("ab"),
    st.sampled_from([False, False, False, None]),
    st.sampled_from([0.0, 0.5, 3.0, 100.0, 700.0, -50.0]),
)


@given(st.lists(said, max_size=40), st.data())
def test_rows_and_their_repeats_are_as_many_as_the_facts(
    life: list[tuple[str, bool | None, float]], data: st.DataObject
):
    facts, now = [], 1_000.0
    for topic, allowed, step in life:
        now += step
        facts.append(replace(refused(now, topic=topic), allowed=allowed))
    table, memory = Table(), Memory(data.draw(st.integers(0, 3)))
    rest = facts
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        what = data.draw(st.sampled_from(["stored", "stored", "killed before", "killed after"]))
        folded = fold(rest[:size], memory, SECONDS)
        if what == "killed before":
            memory = Memory()
            continue
        table.store(folded)
        memory.keep(folded)
        rest = rest[size:]
        if what == "killed after":
            memory = Memory()
    counted: dict[Key, list[Row]] = defaultdict(list)
    for row in table.rows.values():
        counted[key_of(row.fact)].append(row)
    by_key: dict[Key, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_key[key_of(fact)].append(fact)
    assert counted.keys() == by_key.keys()
    for key, rows in counted.items():
        times = [fact.time for fact in by_key[key]]
        assert sum(1 + row.repeats for row in rows) == len(times)
        assert min(row.fact.time for row in rows) == min(times)
        assert max(row.last_time or row.fact.time for row in rows) == max(times)
        for row in rows:
            assert (row.last_time is None) == (row.repeats == 0)
            assert row.last_time is None or 0 <= row.last_time - row.fact.time < SECONDS
