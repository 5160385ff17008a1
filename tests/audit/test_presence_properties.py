"""Whatever happens among clients, nodes and endpoints, and however it is written: what we end up
knowing is true, and where we cannot know, we say so."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from audit.fact import Fact
from audit.presence import (
    NODE_KINDS,
    REMEMBERED_SECONDS,
    REPLACED,
    ClientHistory,
    Presence,
    Rebuild,
    in_order,
)
from tests.audit.presence_world import CLIENTS, World, doubled, worlds


def histories(facts: list[Fact]) -> dict[str, ClientHistory]:
    """Each client's, from all facts at once."""
    by_client = {}
    for client in CLIENTS:
        history = by_client[client] = ClientHistory()
        history.apply(in_order(f for f in facts if f.kind in NODE_KINDS or f.client_id == client))
    return by_client


def told(sessions: list[Presence]) -> list[tuple[Any, ...]]:
    """Everything that is stored of sessions but for their number."""
    return [
        (
            session.node,
            session.port,
            session.connected_at,
            session.disconnected_at,
            session.end_reason,
            session.unknown_since,
            session.unknown_reason,
            session.doubted_at,
        )
        for session in sorted(sessions, key=lambda session: session.connected_at)
    ]


@st.composite
def told_twice(draw: st.DrawFn) -> tuple[World, list[Fact]]:
    """A world, and what is told of it where some calls come twice."""
    world = draw(worlds())
    return world, doubled(draw, world.facts)


# --- It is true ---


@given(worlds(trouble=False))
def test_what_is_heard_is_known_exactly(world: World):
    for client, history in histories(world.facts).items():
        true = [(c.node, c.begin, c.end) for c in world.connections if c.client == client]
        assert [(s.node, s.connected_at, s.disconnected_at) for s in history.sessions] == true
        assert all(session.unknown_since is None for session in history.sessions)


@given(told_twice())
def test_who_is_known_to_be_online_is_and_who_is_known_to_be_offline_is_not(told: tuple[World, list[Fact]]):
    world, facts = told
    for client, history in histories(facts).items():
        connection, session = world.connection_of(client), history.current
        if _lost_without_a_word(world, client, session):
            continue
        if session is not None and session.unknown_since is None:
            assert connection is not None
            assert (session.node, session.connected_at) == (connection.node, connection.begin)
        elif session is None and connection is not None:
            # It came while nobody listened, which is the one thing that is not noticed.
            assert not connection.heard


def _lost_without_a_word(world: World, client: str, session: Presence | None) -> bool:
    """4.4 does not tell of a takeover: of one by a connection to a node that nobody listens to there
    is no trace."""
    later = [
        c for c in world.connections if session and c.client == client and c.begin > session.connected_at
    ]
    return world.style.told == "never" and any(not connection.heard for connection in later)


@given(told_twice())
def test_it_is_unknown_only_where_something_was_missed(told: tuple[World, list[Fact]]):
    _, facts = told
    doubts = [fact.time for fact in facts if fact.kind in NODE_KINDS or fact.detail in REPLACED]
    for history in histories(facts).values():
        for session in history.sessions:
            if session.unknown_since is None:
                assert session.unknown_reason == ""
                continue
            assert session.unknown_reason != ""
            assert session.unknown_since >= session.connected_at
            assert any(session.unknown_since <= doubt for doubt in doubts)
            if session.disconnected_at is not None:
                assert session.unknown_since < session.disconnected_at


@given(told_twice())
def test_a_session_for_each_connection_that_was_heard_and_they_do_not_overlap(
    told: tuple[World, list[Fact]],
):
    world, facts = told
    for client, history in histories(facts).items():
        begins = [c.begin for c in world.connections if c.client == client and c.heard]
        assert [session.connected_at for session in history.sessions] == begins
        for earlier, later in pairwise(history.sessions):
            assert earlier.disconnected_at is not None
            assert earlier.connected_at <= earlier.disconnected_at <= later.connected_at
            assert earlier.end_reason != ""


@given(told_twice())
def test_an_end_that_was_told_is_known_to_the_moment(told: tuple[World, list[Fact]]):
    world, facts = told
    if not world.style.ports:
        return  # Then the end of a connection that nobody heard begin looks like that of another one.
    ends = {(c.client, c.begin): c.end for c in world.connections if c.heard and c.end_told}
    for client, history in histories(facts).items():
        for session in history.sessions:
            if (client, session.connected_at) in ends:
                assert session.disconnected_at == ends[client, session.connected_at]


# --- It does not matter how it is written ---


class Store:
    """Sessions and facts as a database keeps them: what the writers of several workers share."""

    def __init__(self) -> None:
        self.facts: dict[Any, Fact] = {}
        self.sessions: dict[str, list[Presence]] = defaultdict(list)
        self._rows = 0

    def write(self, batch: list[Fact]) -> None:
        new = [fact for fact in batch if fact.id not in self.facts]
        self.facts |= {fact.id: fact for fact in new}
        for client in CLIENTS:
            concerns = [fact for fact in new if fact.kind in NODE_KINDS or fact.client_id == client]
            if concerns:
                self._move(client, concerns)

    def _move(self, client: str, facts: list[Fact]) -> None:
        begins = min(fact.time for fact in facts)
        older = [s for s in self.sessions[client] if _ended_before(s, begins - REMEMBERED_SECONDS)]
        rebuild = Rebuild([s for s in self.sessions[client] if s not in older], facts)
        events = [fact for fact in self.facts.values() if fact.client_id == client]
        nodes = [fact for fact in self.facts.values() if fact.kind in NODE_KINDS]
        moved = rebuild.sessions(events, nodes)
        for session in moved:
            if session.row_id is None:
                self._rows += 1
                session.row_id = self._rows
        assert len({session.row_id for session in moved}) == len(moved)
        self.sessions[client] = older + moved


def _ended_before(session: Presence, at: float) -> bool:
    return session.disconnected_at is not None and session.disconnected_at < at


@given(told_twice(), st.data())
def test_the_order_of_writing_and_writing_twice_change_nothing(
    told_: tuple[World, list[Fact]], data: st.DataObject
):
    """Facts of any age come at any time: two writers, or a spool that was taken over."""
    _, facts = told_
    store = Store()
    rest = data.draw(st.permutations(facts))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        store.write(rest[:size])
        if data.draw(st.booleans()):
            store.write(rest[:size])
        rest = rest[size:]
    for client, history in histories(facts).items():
        assert told(store.sessions[client]) == told(history.sessions)


@given(told_twice(), st.data())
def test_rows_whose_events_were_deleted_by_age_stay(told_: tuple[World, list[Fact]], data: st.DataObject):
    """A fact that comes late reaches back behind what is stored, whose own facts are no longer there."""
    _, facts = told_
    assume(facts)
    store = Store()
    store.write(facts)
    before = {client: [row[:4] for row in told(sessions)] for client, sessions in store.sessions.items()}
    store.facts = {fact.id: fact for fact in facts if fact.kind in NODE_KINDS}
    store.write([data.draw(st.sampled_from(facts))])
    after = {client: [row[:4] for row in told(sessions)] for client, sessions in store.sessions.items()}
    assert after == before
