"""A batch of events as lines: the same as each of them value by value."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.copy_text import copy_line
from audit.event_lines import event_lines
from audit.fact import Fact, Kind
from audit.folding import Row
from audit.rows import values_of
from tests.audit.facts import facts

moments = st.none() | st.floats(0, 2e11)
rows = st.lists(st.builds(Row, facts, st.integers(0, 9), moments), max_size=4)
# Texts that are not bounded when a fact is made, and that PostgreSQL is to refuse, not to take for NULL.
nul = st.sampled_from(["\0", "\0\t\0", "a\0"])


@given(rows)
def test_many_lines_are_each_line(rows: list[Row]) -> None:
    assert event_lines(rows) == "".join(copy_line(values_of(row)) for row in rows)


@given(rows, nul, st.sampled_from(["reason", "action", "revision"]))
def test_nul_stays_what_it_is(rows: list[Row], text: str, field: str) -> None:
    rows.append(Row(replace(Fact(Kind.AUTHORIZE), **{field: text})))
    assert event_lines(rows) == "".join(copy_line(values_of(row)) for row in rows)
    assert text.partition("\t")[0] in event_lines(rows)
