"""Presence: which connects and disconnects, in which order, leave a client online.

What EMQX does is in the contract: takeover calls in any order, calls doubled, no ports before 5.4.
"""

from itertools import count, pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.fact import Fact, Kind
from audit.presence import (
    DUPLICATE_SECONDS,
    DUPLICATE_SECONDS_WITH_PORT,
    ENDPOINT_AWAY,
    GAP_SECONDS,
    NODE_DETACHED,
    NODE_KINDS,
    NODE_RESTARTED,
    REMEMBERED_SECONDS,
    START_TOLERANCE_SECONDS,
    SUPERSEDED,
    TAKEN_OVER_UNHEARD,
    ClientHistory,
    in_order,
    moves_presence,
    shows_life,
)

START = 1_800_000_000.0


def up(at: float, port: int = 0, **more: Any) -> Fact:
    return fact(Kind.CONNECTED, at, port, **more)


def down(at: float, port: int = 0, reason: str = "normal", **more: Any) -> Fact:
    return fact(Kind.DISCONNECTED, at, port, detail=reason, **more)


def fact(kind: Kind, at: float, port: int, **more: Any) -> Fact:
    defaults = {"client_id": "pump-17", "node": "emqx@n1", "cluster": "emqxcl", "address": "192.0.2.7"}
    return Fact(kind, time=START + at, port=port, **defaults | more)


def loaded(at: float, started: float | None = None, heard: float | None = None, **more: Any) -> Fact:
    """A node attaches: started then by its own uptime, heard last then by any of us."""
    return of_node(Kind.PROVIDER_LOADED, at, started, heard, **more)


def unloaded(at: float, **more: Any) -> Fact:
    return of_node(Kind.PROVIDER_UNLOADED, at, **more)


def back(at: float, heard: float, **more: Any) -> Fact:
    return of_node(Kind.ENDPOINT_BACK, at, None, heard, **more)


def of_node(
    kind: Kind, at: float, started: float | None = None, heard: float | None = None, **more: Any
) -> Fact:
    return Fact(
        kind,
        time=START + at,
        node_started=None if started is None else START + started,
        node_heard=None if heard is None else START + heard,
        **{"node": "emqx@n1", "cluster": "emqxcl"} | more,
    )


def denied(at: float, port: int = 0, **more: Any) -> Fact:
    """A publish that was refused: whoever is refused is connected."""
    return fact(Kind.AUTHORIZE, at, port, **more)


def history_of(*facts: Fact) -> ClientHistory:
    history = ClientHistory()
    history.apply(in_order(facts))
    return history


def told(history: ClientHistory) -> list[tuple[float, float | None, str]]:
    """Each session as it reads: from, to, why."""
    return [
        (
            session.connected_at - START,
            None if session.disconnected_at is None else session.disconnected_at - START,
            session.end_reason,
        )
        for session in sorted(history.sessions, key=lambda session: session.connected_at)
    ]


def told_with_doubts(history: ClientHistory) -> list[tuple[Any, ...]]:
    """The same, and since when and why it is unknown."""
    return [
        (
            *row,
            None if session.unknown_since is None else session.unknown_since - START,
            session.unknown_reason,
        )
        for row, session in zip(told(history), history.sessions, strict=True)
    ]


TABLE = {
    # --- One connection ---
    "connected": ([up(0, 1)], [(0, None, "")]),
    "connected, disconnected": ([up(0, 1), down(9, 1)], [(0, 9, "normal")]),
    "an odd reason is kept as it came": ([up(0, 1), down(9, 1, "{shutdown,x}")], [(0, 9, "{shutdown,x}")]),
    "again and again": (
        [up(0, 1), down(1, 1), up(2, 2), down(3, 2, "tcp_closed"), up(4, 3)],
        [(0, 1, "normal"), (2, 3, "tcp_closed"), (4, None, "")],
    ),
    "a disconnect of nobody we know": ([down(0, 1)], []),
    # --- Every call doubled ---
    "each call twice": ([up(0, 1), up(0.25, 1), down(9, 1), down(9.25, 1)], [(0, 9, "normal")]),
    "each call twice, without ports": ([up(0), up(0.25), down(9), down(9.25)], [(0, 9, "normal")]),
    "a second disconnect, without ports, says nothing of the session before": (
        [up(0), up(5), down(9), down(9.25)],
        [(0, 5, SUPERSEDED), (5, 9, "normal")],
    ),
    "the second disconnect after the next connect": (
        [up(0, 1), down(9, 1), up(10, 2), down(10.5, 1)],
        [(0, 9, "normal"), (10, None, "")],
    ),
    # --- Takeover and discard ---
    "takeover as up to 5.8: the old one's end first": (
        [up(0, 1), down(5, 1, "takenover"), up(5.25, 2)],
        [(0, 5.25, "takenover"), (5.25, None, "")],
    ),
    "takeover as from 5.10: the old one's end last": (
        [up(0, 1), up(5, 2), down(5.25, 1, "takenover")],
        [(0, 5, "takenover"), (5, None, "")],
    ),
    "takeover without a word, as on 4.4": ([up(0), up(5)], [(0, 5, SUPERSEDED), (5, None, "")]),
    "takeover without ports, the old one's end first": (
        [up(0), down(5, 0, "takenover"), up(5.25)],
        [(0, 5.25, SUPERSEDED), (5.25, None, "")],
    ),
    "takeover without ports, the old one's end last": (
        [up(0), up(5), down(5.25, 0, "takenover")],
        [(0, 5, "takenover"), (5, None, "")],
    ),
    "discard, the old one's end first": (
        [up(0, 1), down(5, 1, "discarded"), up(5.25, 2)],
        [(0, 5.25, "discarded"), (5.25, None, "")],
    ),
    "discard, the old one's end last": (
        [up(0, 1), up(5, 2), down(5.25, 1, "discarded")],
        [(0, 5, "discarded"), (5, None, "")],
    ),
    "discard without a word": ([up(0, 1), up(5, 2)], [(0, 5, SUPERSEDED), (5, None, "")]),
    "takeover told twice": (
        [up(0, 1), up(5, 2), down(5.25, 1, "takenover"), down(5.5, 1, "takenover")],
        [(0, 5, "takenover"), (5, None, "")],
    ),
    "takenover told of a socket that was closed before, as on 5.3": (
        [up(0), down(4, 0, "tcp_closed"), down(5, 0, "takenover"), up(5.25)],
        [(0, 4, "tcp_closed"), (5.25, None, "")],
    ),
    "taken over twice": (
        [up(0, 1), up(5, 2), down(5.25, 1, "takenover"), up(6, 3), down(6.25, 2, "takenover")],
        [(0, 5, "takenover"), (5, 6, "takenover"), (6, None, "")],
    ),
    "taken over, then gone": (
        [up(0, 1), up(5, 2), down(5.25, 1, "takenover"), down(9, 2)],
        [(0, 5, "takenover"), (5, 9, "normal")],
    ),
    # --- The disconnect of an older connection ---
    "an older connection's end, by its port": (
        [up(0, 1), up(5, 2), down(6, 1, "tcp_closed")],
        [(0, 5, "tcp_closed"), (5, None, "")],
    ),
    "an older connection's end, by its node": (
        [up(0), up(5, node="emqx@n2"), down(6, 0, "tcp_closed")],
        [(0, 5, "tcp_closed"), (5, None, "")],
    ),
    "an older connection's end, by its address": (
        [up(0), up(5, address="192.0.2.8"), down(6, 0, "tcp_closed")],
        [(0, 5, "tcp_closed"), (5, None, "")],
    ),
    "an older connection's end, by its time": (
        [up(0), up(5), down(4, 0, "tcp_closed")],
        [(0, 4, "tcp_closed"), (5, None, "")],
    ),
    "an older connection's end, told too late to be believed": (
        [up(0), up(5, node="emqx@n2"), down(6 + REMEMBERED_SECONDS, 0, "tcp_closed")],
        [(0, 5, SUPERSEDED), (5, None, "")],
    ),
    "the new connection's own end": (
        [up(0, 1), up(5, 2), down(6, 2)],
        [(0, 5, SUPERSEDED), (5, 6, "normal")],
    ),
    "without ports one end ends what is there": (
        [up(0), up(5), down(6)],
        [(0, 5, SUPERSEDED), (5, 6, "normal")],
    ),
    # --- Nodes ---
    "reconnected to another node": (
        [up(0, 1), up(5, 2, node="emqx@n2")],
        [(0, 5, SUPERSEDED), (5, None, "")],
    ),
    "reconnected to another node, told late": (
        [up(0, 1), up(5, 1, node="emqx@n2"), down(60, 1, "keepalive_timeout")],
        [(0, 5, "keepalive_timeout"), (5, None, "")],
    ),
    "reconnected from the same port after the node died unheard": (
        [up(0, 1), up(3600, 1, node="emqx@n2"), down(3700, 1, node="emqx@n2")],
        [(0, 3600, SUPERSEDED), (3600, 3700, "normal")],
    ),
    # --- Out of order, as two workers may write them ---
    "the older connect is written last": (
        [up(5, 2), up(0, 1)],
        [(0, 5, SUPERSEDED), (5, None, "")],
    ),
    "the older connect and its end are written last": (
        [up(5, 2), up(0, 1), down(4, 1)],
        [(0, 4, "normal"), (5, None, "")],
    ),
    "an end is written before its begin": (
        [down(4, 1), up(0, 1)],
        [(0, 4, "normal")],
    ),
}


@pytest.mark.parametrize(("facts", "sessions"), TABLE.values(), ids=TABLE.keys())
def test_presence(facts: list[Fact], sessions: list[tuple[float, float | None, str]]):
    assert told(history_of(*facts)) == sessions


@pytest.mark.parametrize(("port", "seconds"), [(0, DUPLICATE_SECONDS), (1, DUPLICATE_SECONDS_WITH_PORT)])
def test_two_quick_connects_are_one_only_when_they_are_that_close(port: int, seconds: float):
    assert len(history_of(up(0, port), up(seconds - 0.01, port)).sessions) == 1
    assert len(history_of(up(0, port), up(seconds, port)).sessions) == 2


# What is told of a node: each session as (from, to, why, unknown since, because of what).
NODES: dict[str, tuple[list[Fact], list[tuple[Any, ...]]]] = {
    # --- Restarts ---
    "a restart ends what began before it": (
        [up(0, 1), loaded(100, started=95)],
        [(0, 95, NODE_RESTARTED, None, "")],
    ),
    "and not what began after it": (
        [up(96, 1), loaded(100, started=95, heard=96)],
        [(96, None, "", None, "")],
    ),
    "nor what began at about the same time, as uptimes are rounded": (
        [up(95 - START_TOLERANCE_SECONDS, 1), loaded(100, started=95, heard=93)],
        [(93, None, "", None, "")],
    ),
    "nor what is on another node": (
        [up(0, 1, node="emqx@n2"), loaded(100, started=95)],
        [(0, None, "", None, "")],
    ),
    "nor what is in another cluster": (
        [up(0, 1, cluster="other"), loaded(100, started=95)],
        [(0, None, "", None, "")],
    ),
    "the client went elsewhere before the node was up again": (
        [up(0, 1), up(90, 2, node="emqx@n2"), loaded(100, started=95)],
        [(0, 90, SUPERSEDED, None, ""), (90, None, "", None, "")],
    ),
    "the client went elsewhere before we heard of the restart": (
        [up(0, 1), up(97, 2, node="emqx@n2"), loaded(100, started=95)],
        [(0, 95, NODE_RESTARTED, None, ""), (97, None, "", None, "")],
    ),
    "an end that was told stays as it was told": (
        [up(0, 1), down(50, 1), loaded(100, started=20)],
        [(0, 50, "normal", None, "")],
    ),
    "told by several servers, or twice": (
        [up(0, 1), loaded(100, started=95), loaded(100.5, started=94.5), loaded(101, started=95.25)],
        [(0, 94.5, NODE_RESTARTED, None, "")],
    ),
    "twice restarted": (
        [up(0, 1), loaded(100, started=95), up(101, 2), loaded(200, started=195, heard=190)],
        [(0, 95, NODE_RESTARTED, None, ""), (101, 195, NODE_RESTARTED, None, "")],
    ),
    "a machine that slept has not restarted: what it tells afterwards is known better": (
        [up(0, 1), loaded(100, started=50, heard=99), down(120, 1, "tcp_closed")],
        [(0, 120, "tcp_closed", None, "")],
    ),
    "an uptime that nobody understands ends nothing": (
        [up(0, 1), loaded(100, started=None, heard=99)],
        [(0, None, "", None, "")],
    ),
    # --- Attached again, without a restart ---
    "attached again without a gap: nothing was missed": (
        [up(0, 1), loaded(100, started=-1000, heard=100 - GAP_SECONDS)],
        [(0, None, "", None, "")],
    ),
    "attached again after a gap": (
        [up(0, 1), loaded(100, started=-1000, heard=50)],
        [(0, None, "", 50, ENDPOINT_AWAY)],
    ),
    "who connected in the gap proves that there was less of one": (
        [up(60, 1), loaded(100, started=-1000, heard=50)],
        [(60, None, "", 60, ENDPOINT_AWAY)],
    ),
    "or none": (
        [up(85, 1), loaded(100, started=-1000, heard=50)],
        [(85, None, "", None, "")],
    ),
    "nobody knows when it was heard last": (
        [up(0, 1), loaded(100, started=-1000)],
        [(0, None, "", None, "")],
    ),
    "after a gap, of a node that was restarted in it": (
        [up(0, 1), loaded(100, started=70, heard=50)],
        [(0, 70, NODE_RESTARTED, None, "")],
    ),
    "the endpoint was away and EMQX does not say so, as up to 5.8": (
        [up(0, 1), back(100, heard=50)],
        [(0, None, "", 50, ENDPOINT_AWAY)],
    ),
    "away twice: it is unknown since the first time": (
        [up(0, 1), back(100, heard=50), back(200, heard=150)],
        [(0, None, "", 50, ENDPOINT_AWAY)],
    ),
    # --- Detached ---
    "detached": ([up(0, 1), unloaded(50)], [(0, None, "", 50, NODE_DETACHED)]),
    "detached and attached again at once: even so, an end may have been missed": (
        [up(0, 1), unloaded(50), loaded(51, started=-1000, heard=50)],
        [(0, None, "", 50, NODE_DETACHED)],
    ),
    "shut down in order, and started again": (
        [up(0, 1), unloaded(50), loaded(100, started=95, heard=50)],
        [(0, 95, NODE_RESTARTED, 50, NODE_DETACHED)],
    ),
    "detached after it had ended": ([up(0, 1), down(9, 1), unloaded(50)], [(0, 9, "normal", None, "")]),
    "detached before it began": ([unloaded(50), up(51, 1)], [(51, None, "", None, "")]),
    # --- Taken over ---
    "taken over by a connection to a node that nobody listens to": (
        [up(0, 1), down(5, 1, "takenover")],
        [(0, None, "takenover", 5, TAKEN_OVER_UNHEARD)],
    ),
    "taken over by a connection that is heard a moment later": (
        [up(0, 1), down(5, 1, "takenover"), up(5.25, 2)],
        [(0, 5.25, "takenover", None, ""), (5.25, None, "", None, "")],
    ),
    # --- What settles it ---
    "its end is told": (
        [up(0, 1), unloaded(50), loaded(80, started=-1000, heard=50), down(90, 1)],
        [(0, 90, "normal", None, "")],
    ),
    "it does something": (
        [up(0, 1), back(100, heard=50), denied(101, 1)],
        [(0, None, "", None, "")],
    ),
    "something that it did before says nothing": (
        [up(0, 1), denied(40, 1), back(100, heard=50)],
        [(0, None, "", 50, ENDPOINT_AWAY)],
    ),
    "another connection does something": (
        [up(0, 1), back(100, heard=50), denied(101, 2)],
        [(0, None, "", 50, ENDPOINT_AWAY)],
    ),
    "it connects again: its end was missed, and lies in between": (
        [up(0, 1), back(100, heard=50), up(120, 2)],
        [(0, 120, SUPERSEDED, 50, ENDPOINT_AWAY), (120, None, "", None, "")],
    ),
    "it is taken over: until then it lived": (
        [up(0, 1), back(100, heard=50), up(120, 2), down(120.5, 1, "takenover")],
        [(0, 120, "takenover", None, ""), (120, None, "", None, "")],
    ),
    "it connects again from another node, and then the first one restarts": (
        [up(0, 1), back(100, heard=50), up(120, 2, node="emqx@n2"), loaded(130, started=110, heard=50)],
        [(0, 110, NODE_RESTARTED, 50, ENDPOINT_AWAY), (120, None, "", None, "")],
    ),
}


@pytest.mark.parametrize(("facts", "sessions"), NODES.values(), ids=NODES.keys())
def test_what_nodes_tell(facts: list[Fact], sessions: list[tuple[Any, ...]]):
    assert told_with_doubts(history_of(*facts)) == sessions


@pytest.mark.parametrize(("facts", "sessions"), NODES.values(), ids=NODES.keys())
def test_what_nodes_tell_twice(facts: list[Fact], sessions: list[tuple[Any, ...]]):
    again = [replace(fact, id=UUID(int=0)) for fact in facts if fact.kind in NODE_KINDS]
    assert told_with_doubts(history_of(*facts, *again)) == sessions


@pytest.mark.parametrize("port", [0, 1])
def test_a_connect_right_after_a_disconnect_is_a_new_session(port: int):
    history = history_of(up(0, port), down(0.25, port), up(0.5, port))
    assert [session.online for session in history.sessions] == [False, True]


MOVES = {
    Kind.CONNECTED,
    Kind.DISCONNECTED,
    Kind.PROVIDER_LOADED,
    Kind.PROVIDER_UNLOADED,
    Kind.ENDPOINT_BACK,
}
LIVES = {"client.authorize", "client.subscribe", "client.unsubscribe", "message.acked"}


@pytest.mark.parametrize("kind", Kind)
def test_what_a_kind_says_about_presence(kind: Kind):
    """A session and its messages outlive the connection; a login comes before it."""
    somebody = Fact(kind, client_id="pump-17", node="emqx@n1")
    assert moves_presence(somebody) is (kind in MOVES)
    assert shows_life(somebody) is (kind in LIVES)
    assert not moves_presence(Fact(kind))
    assert not shows_life(Fact(kind))


def test_a_session_tells_what_its_connect_told():
    told_at_connect: dict[str, Any] = {
        "device_id": 7,
        "device": "pump",
        "username": "u",
        "protocol": "mqtt",
        "port": 4711,
    }
    session = history_of(up(0, **told_at_connect)).sessions[0]
    assert {name: getattr(session, name) for name in told_at_connect} == told_at_connect
    assert (session.node, session.cluster, session.address) == ("emqx@n1", "emqxcl", "192.0.2.7")


def test_no_session_ends_before_it_began():
    history = history_of(up(5, 2), up(0, 1), down(7, 2))
    for session in history.sessions:
        assert session.disconnected_at is not None
        assert session.disconnected_at >= session.connected_at


# --- Properties ---


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Fact], bool]:
    """What EMQX may call for one client, in the order of the calls, and whether it is online in the end.

    Every connection has its own port and node. A connection ends by itself before the next one begins,
    or is replaced by it: then its own end comes right before, somewhere after, or never. Any call may
    come twice in a row.
    """
    replaced = st.sampled_from(["takenover", "discarded"])
    ended = st.sampled_from(["normal", "tcp_closed", "keepalive_timeout", "{shutdown,kicked}"])
    connections = draw(st.integers(1, 6))
    calls: list[tuple[Kind, int, str, str]] = []
    late: list[tuple[Kind, int, str, str]] = []
    heard = st.booleans()
    online = True
    for number in range(connections):
        port, node = 40_000 + number, draw(st.sampled_from(["emqx@n1", "emqx@n2"]))
        calls.append((Kind.CONNECTED, port, node, ""))
        while bool(late) and draw(heard):
            calls.append(late.pop(draw(st.integers(0, len(late) - 1))))
        last = number == connections - 1
        ways = ["by itself", "never"] if last else ["by itself", "before", "after", "never"]
        how = draw(st.sampled_from(ways))
        online = how != "by itself"
        if how == "by itself":
            calls.append((Kind.DISCONNECTED, port, node, draw(ended)))
        elif how == "before":
            calls.append((Kind.DISCONNECTED, port, node, draw(replaced)))
        elif how == "after":
            late.append((Kind.DISCONNECTED, port, node, draw(replaced | ended)))
    while late:
        calls.append(late.pop(draw(st.integers(0, len(late) - 1))))
    clock = count()
    facts = [
        fact(kind, next(clock) * 0.25, port, node=node, detail=reason)
        for kind, port, node, reason in calls
        for _ in range(draw(st.sampled_from([1, 1, 2])))
    ]
    return facts, online


@given(lives())
def test_the_newest_connection_alone_decides_who_is_online(life: tuple[list[Fact], bool]):
    facts, online = life
    history = history_of(*facts)
    assert (history.current is not None) is online


@given(lives())
def test_sessions_are_as_many_as_connections_and_never_overlap(life: tuple[list[Fact], bool]):
    facts, _ = life
    sessions = sorted(history_of(*facts).sessions, key=lambda session: session.connected_at)
    assert len(sessions) == len({fact.port for fact in facts})
    for earlier, later in pairwise(sessions):
        assert earlier.disconnected_at is not None
        assert earlier.connected_at <= earlier.disconnected_at <= later.connected_at
        assert earlier.end_reason != ""


@given(lives(), st.data())
def test_however_the_connects_are_shuffled_the_newest_is_the_one_that_lives(
    life: tuple[list[Fact], bool], data: st.DataObject
):
    """Two workers write in their own time: then facts of different connections arrive in any order."""
    facts, online = life
    by_port: dict[int, list[Fact]] = {}
    for each in facts:
        by_port.setdefault(each.port, []).append(each)
    shuffled: list[Fact] = []
    queues = list(by_port.values())
    while queues:
        queue = queues[data.draw(st.integers(0, len(queues) - 1))]
        shuffled.append(queue.pop(0))
        queues = [each for each in queues if each]
    history = history_of(*shuffled)
    newest = max(by_port)
    if online:
        assert history.current is not None
        assert history.current.port == newest
    else:
        assert history.current is None
