"""Counts of what was found: over a bounded number of the newest events, and they say so."""

import pytest

from audit.facets import COUNTED_FIELDS, Facets, count_facets
from audit.fact import Kind
from audit.paging import Effort
from audit.search import Search
from tests.audit.events import event, store

pytestmark = pytest.mark.django_db


def store_some() -> None:
    store(
        event(0, Kind.CONNECTED, device="valve", node="n1"),
        event(1, reason="rule_denies", allowed=False, device="pump", node="n1"),
        event(2, reason="rule_denies", allowed=False, device="pump", node="n2"),
        event(3, reason="rule_allows", allowed=True, device="valve", node="n1"),
    )


def test_each_value_is_counted_most_first() -> None:
    store_some()
    found = count_facets(Search())
    assert found == Facets(
        counts={
            "kind": {"client.authorize": 3, "client.connected": 1},
            "reason": {"rule_denies": 2, "rule_allows": 1, "": 1},
            "allowed": {"no": 2, "yes": 1, "": 1},
            "device": {"pump": 2, "valve": 2},
            "node": {"n1": 3, "n2": 1},
        },
        counted=4,
        complete=True,
    )
    assert list(found.counts["kind"]) == ["client.authorize", "client.connected"]
    assert found.total == "4"


def test_only_what_is_searched_for_is_counted() -> None:
    store_some()
    assert count_facets(Search(device="pump", node="n2")).counts["reason"] == {"rule_denies": 1}
    assert count_facets(Search(device="nobody")) == Facets({field: {} for field in COUNTED_FIELDS}, 0, True)


@pytest.mark.parametrize(("most", "total"), [(3, "3+"), (4, "4")])
def test_counting_ends_with_the_newest_so_many(most: int, total: str) -> None:
    store_some()
    found = count_facets(Search(), most=most)
    assert found.total == total
    assert sum(found.counts["kind"].values()) == most


def test_counting_ends_when_it_has_looked_for_long_enough() -> None:
    store_some()
    found = count_facets(Search(text="pump"), effort=Effort(seconds=0, first=2))
    assert (found.counted, found.complete, found.total) == (1, False, "1+")


def test_large_totals_can_be_read() -> None:
    assert Facets({}, 10_000, False).total == "10,000+"
