"""Broker nodes, and what becomes of all sessions of a node at once: the same as of each by itself."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.fact import Fact, Kind
from audit.models import BrokerNode, Event, NodeChange, Session
from audit.nodes import HEARD_SECONDS, REMEMBERED_DAYS, claim_unattended, store_heard
from audit.presence import ENDPOINT_AWAY, GAP_SECONDS, NODE_DETACHED, NODE_RESTARTED, SUPERSEDED
from audit.writer import write_facts
from tests.audit.presence_world import CLIENTS, World
from tests.audit.test_presence import START, back, denied, down, loaded, unloaded, up
from tests.audit.test_presence_properties import histories, told, told_twice

N1 = ("emqxcl", "emqx@n1")
N2 = ("emqxcl", "emqx@n2")


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def sessions() -> list[tuple[Any, ...]]:
    """Each session as (client, from, to, why, unknown since, because of what), in seconds."""

    def seconds(moment: datetime | None) -> float | None:
        return None if moment is None else moment.timestamp() - START

    return [
        (
            row.client_id,
            seconds(row.connected_at),
            seconds(row.disconnected_at),
            row.end_reason,
            seconds(row.unknown_since),
            row.unknown_reason,
        )
        for row in Session.objects.order_by("connected_at", "client_id")
    ]


def of_others(at: float, port: int, client_id: str, **more: Any) -> Fact:
    return up(at, port, client_id=client_id, **more)


# --- What nodes tell of themselves ---


@pytest.mark.django_db
def test_a_node_is_known_by_what_it_told_last_in_whatever_order_that_is_written():
    newer = loaded(200, started=150, node_version="5.10.1", node_protocol="v3")
    older = loaded(100, started=50, node_version="5.8.8", node_protocol="v2")
    left = unloaded(120)
    for order in ([newer, older, left], [older, left, newer], [left, newer, newer, older]):
        BrokerNode.objects.all().delete()
        NodeChange.objects.all().delete()
        Event.objects.all().delete()
        for fact in order:
            write_facts([fact])
        node = BrokerNode.objects.get()
        assert (node.cluster, node.name, node.version, node.protocol) == (*N1, "5.10.1", "v3")
        assert (node.started_at, node.attached_at, node.detached_at) == (utc(150), utc(200), utc(120))
        assert node.heard_at == utc(200)


@pytest.mark.django_db
def test_nodes_of_the_same_name_in_other_clusters_are_others():
    write_facts([loaded(0), loaded(1, cluster="other"), unloaded(2, node="emqx@n2")])
    assert set(BrokerNode.objects.values_list("cluster", "name")) == {N1, ("other", "emqx@n1"), N2}


@pytest.mark.django_db
def test_an_endpoint_that_is_back_says_nothing_of_when_a_node_was_heard():
    write_facts([back(100, heard=50)])
    node = BrokerNode.objects.get()
    assert (node.attached_at, node.heard_at) == (None, None)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["a\x00b", "x" * 70_000, ""], ids=["NUL", "long", "empty"])
def test_whatever_a_node_calls_itself(text: str):
    assert write_facts([loaded(1, started=0, node=text, cluster=text, node_version=text)]) == 1
    assert BrokerNode.objects.count() == (1 if text else 0)


@pytest.mark.django_db
def test_what_nodes_told_long_ago_is_forgotten():
    write_facts([loaded(0, started=-5)])
    write_facts([loaded(REMEMBERED_DAYS * 86_400 - 1, started=-5)])
    assert NodeChange.objects.count() == 2
    write_facts([loaded(REMEMBERED_DAYS * 86_400 + 1, started=-5)])
    assert NodeChange.objects.count() == 2


# --- All sessions of a node at once ---


@pytest.mark.django_db
def test_a_restart_ends_all_that_began_before_it_and_only_there():
    write_facts(
        [
            of_others(0, 1, "a"),
            of_others(1, 2, "b"),
            of_others(2, 3, "c", node="emqx@n2"),
            of_others(3, 4, "d", cluster="other"),
            of_others(4, 5, "e"),
            down(5, 5, client_id="e"),
        ]
    )
    write_facts([of_others(97, 6, "f"), loaded(100, started=95, heard=97)])
    assert sessions() == [
        ("a", 0, 95, NODE_RESTARTED, None, ""),
        ("b", 1, 95, NODE_RESTARTED, None, ""),
        ("c", 2, None, "", None, ""),
        ("d", 3, None, "", None, ""),
        ("e", 4, 5, "normal", None, ""),
        ("f", 97, None, "", None, ""),
    ]


@pytest.mark.django_db
def test_a_gap_puts_all_in_doubt_that_were_there_and_only_there():
    write_facts([of_others(0, 1, "a"), of_others(60, 2, "b"), of_others(1, 3, "c", node="emqx@n2")])
    write_facts([of_others(99, 4, "d"), loaded(100, started=-1000, heard=50)])
    assert sessions() == [
        ("a", 0, None, "", 50, ENDPOINT_AWAY),
        ("c", 1, None, "", None, ""),
        ("b", 60, None, "", 60, ENDPOINT_AWAY),
        ("d", 99, None, "", None, ""),
    ]
    assert Session.objects.online().count() == 4
    assert Session.objects.unknown().count() == 2


@pytest.mark.django_db
def test_a_sign_of_life_settles_one_and_leaves_the_others():
    write_facts([of_others(0, 1, "a"), of_others(1, 2, "b")])
    write_facts([back(100, heard=50)])
    write_facts([denied(101, 1, client_id="a")])
    assert sessions() == [("a", 0, None, "", None, ""), ("b", 1, None, "", 50, ENDPOINT_AWAY)]


@pytest.mark.django_db
def test_a_sign_of_life_settles_also_when_the_doubt_is_written_later():
    write_facts([of_others(0, 1, "a"), of_others(1, 2, "b")])
    write_facts([denied(101, 1, client_id="a"), denied(99, 2, client_id="b")])
    write_facts([back(100, heard=50)])
    assert sessions() == [("a", 0, None, "", None, ""), ("b", 1, None, "", 50, ENDPOINT_AWAY)]


@pytest.mark.django_db
def test_a_session_that_is_written_after_its_node_s_restart_has_ended_with_it():
    write_facts([loaded(100, started=95)])
    write_facts([up(0, 1), up(10, 2)])
    write_facts([up(98, 3)])
    assert [row[1:4] for row in sessions()] == [
        (0, 10, SUPERSEDED),
        (10, 95, NODE_RESTARTED),
        (98, None, ""),
    ]


@pytest.mark.django_db
def test_an_end_that_was_written_before_its_begin_is_found():
    write_facts([down(9, 1)])
    assert not Session.objects.exists()
    write_facts([up(0, 1)])
    assert [row[1:4] for row in sessions()] == [(0, 9, "normal")]


@pytest.mark.django_db
def test_signs_of_life_of_those_who_are_known_to_be_online_cost_one_query(django_assert_max_num_queries: Any):
    facts = [of_others(n, n + 1, f"c{n}") for n in range(50)]
    write_facts(facts)
    with django_assert_max_num_queries(6):
        write_facts([denied(100 + n, n + 1, client_id=f"c{n}") for n in range(50)])


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(told_twice(), st.data())
def test_however_it_is_written_the_rows_say_what_all_facts_together_say(
    told_: tuple[World, list[Fact]], data: st.DataObject
):
    """Two writers, each with its own facts in their order, at their own pace and sometimes twice."""
    _, facts = told_
    for model in (Event, Session, NodeChange, BrokerNode):
        model.objects.all().delete()
    hand = data.draw(st.lists(st.booleans(), min_size=len(facts), max_size=len(facts)))
    queues = [[f for f, left in zip(facts, hand, strict=True) if left is side] for side in (True, False)]
    while any(queues):
        queue = queues[data.draw(st.integers(0, 1))] or queues[0] or queues[1]
        size = data.draw(st.integers(1, len(queue)))
        write_facts(queue[:size])
        if data.draw(st.booleans()):
            write_facts(queue[:size])
        del queue[:size]
    for client, history in histories(facts).items():
        rows = Session.objects.filter(client_id=client).order_by("connected_at")
        assert [
            (
                row.node,
                row.port,
                row.connected_at.timestamp(),
                row.disconnected_at.timestamp() if row.disconnected_at else None,
                row.end_reason,
                row.unknown_since.timestamp() if row.unknown_since else None,
                row.unknown_reason,
                row.doubted_at.timestamp() if row.doubted_at else None,
            )
            for row in rows
        ] == told(history.sessions)
    assert set(Session.objects.values_list("client_id", flat=True)) <= set(CLIENTS)


# --- When nodes were heard ---


def heard_at() -> dict[tuple[str, str], float | None]:
    return {
        (node.cluster, node.name): node.heard_at.timestamp() - START if node.heard_at else None
        for node in BrokerNode.objects.all()
    }


@pytest.mark.django_db
def test_hearing_a_node_is_stored_and_everybody_learns_of_it():
    assert store_heard({N1: START + 1}, START + 2) == {N1: START + 1}
    assert store_heard({N2: START + 3}, START + 4) == {N1: START + 1, N2: START + 3}
    assert heard_at() == {N1: 1, N2: 3}
    assert store_heard({}, START + 5) == {N1: START + 1, N2: START + 3}


@pytest.mark.django_db
def test_it_only_moves_forward_and_not_for_every_moment():
    store_heard({N1: START + 100}, START + 100)
    for at in (50, 100 + HEARD_SECONDS - 0.5):
        latest = store_heard({N1: START + at}, START + 100)
        assert latest == {N1: START + max(100, at)}
        assert heard_at() == {N1: 100}
    store_heard({N1: START + 100 + HEARD_SECONDS}, START + 110)
    assert heard_at() == {N1: 100 + HEARD_SECONDS}


@pytest.mark.django_db
def test_nothing_new_costs_one_query(django_assert_num_queries: Any):
    store_heard({N1: START, N2: START}, START)
    with django_assert_num_queries(1):
        store_heard({N1: START + 1, N2: START + 1}, START + 1)


@pytest.mark.django_db
def test_an_endpoint_that_comes_back_knows_for_how_long_nobody_listened():
    store_heard({N1: START + 90, N2: START + 90}, START + 100)
    write_facts([up(1, 1)])
    assert claim_unattended(START + 100 + GAP_SECONDS) == []
    (fact,) = claim_unattended(START + 200)
    assert (fact.kind, fact.time) == (Kind.ENDPOINT_BACK, START + 200)
    # Of a node without sessions there is nothing to say.
    assert (fact.cluster, fact.node, fact.node_heard) == (*N1, START + 100)
    assert fact.detail == "nobody had listened since 2027-01-15 08:01:40 UTC"
    # Another worker that begins at the same time need not say it again.
    assert claim_unattended(START + 200) == []
    write_facts([fact, replace(fact, id=UUID(int=0))])
    assert sessions() == [("pump-17", 1, None, "", 100, ENDPOINT_AWAY)]


@pytest.mark.django_db
def test_as_long_as_one_endpoint_is_up_nobody_was_away():
    store_heard({N1: START}, START)
    write_facts([up(1, 1)])
    store_heard({}, START + 100)
    assert claim_unattended(START + 100 + GAP_SECONDS) == []


@pytest.mark.django_db
def test_detached_sessions_are_unknown():
    write_facts([up(0, 1)])
    write_facts([unloaded(50)])
    assert sessions() == [("pump-17", 0, None, "", 50, NODE_DETACHED)]
