"""Presence: which connects and disconnects, in which order, leave a client online.

What EMQX does is in the contract: takeover calls in any order, calls doubled, no ports before 5.4.
"""

from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.fact import Fact, Kind
from audit.presence import DUPLICATE_SECONDS, SUPERSEDED, ClientHistory, apply_facts, key_of, moves_presence

START = 1_800_000_000.0


def up(at: float, port: int = 0, **more: Any) -> Fact:
    return fact(Kind.CONNECTED, at, port, **more)


def down(at: float, port: int = 0, reason: str = "normal", **more: Any) -> Fact:
    return fact(Kind.DISCONNECTED, at, port, detail=reason, **more)


def fact(kind: Kind, at: float, port: int, **more: Any) -> Fact:
    defaults = {"client_id": "pump-17", "node": "emqx@n1", "cluster": "emqxcl", "address": "192.0.2.7"}
    return Fact(kind, time=START + at, port=port, **defaults | more)


def history_of(*facts: Fact) -> ClientHistory:
    histories: dict[tuple[str, str], ClientHistory] = {}
    apply_facts(histories, facts)
    (history,) = histories.values()
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
        [(0, 5, "tcp_closed"), (5, None, "")],
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
        [(0, 5, "normal"), (5, None, "")],
    ),
}


@pytest.mark.parametrize(("facts", "sessions"), TABLE.values(), ids=TABLE.keys())
def test_presence(facts: list[Fact], sessions: list[tuple[float, float | None, str]]):
    assert told(history_of(*facts)) == sessions


def test_two_quick_connects_without_ports_are_one_only_when_they_are_that_close():
    assert len(history_of(up(0), up(DUPLICATE_SECONDS - 0.01)).sessions) == 1
    assert len(history_of(up(0), up(DUPLICATE_SECONDS)).sessions) == 2


@pytest.mark.parametrize("port", [0, 1])
def test_a_connect_right_after_a_disconnect_is_a_new_session(port: int):
    history = history_of(up(0, port), down(0.25, port), up(0.5, port))
    assert [session.online for session in history.sessions] == [False, True]


def test_clients_are_apart_by_client_id_and_by_cluster():
    histories: dict[tuple[str, str], ClientHistory] = {}
    facts = [up(0, 1), up(1, 2, client_id="pump-18"), up(2, 3, cluster="other"), down(3, 3, cluster="other")]
    apply_facts(histories, facts)
    assert {key: history.current is not None for key, history in histories.items()} == {
        ("emqxcl", "pump-17"): True,
        ("emqxcl", "pump-18"): True,
        ("other", "pump-17"): False,
    }
    assert {key_of(fact) for fact in facts} == set(histories)


@pytest.mark.parametrize("kind", Kind)
def test_only_connects_and_disconnects_of_somebody_move_presence(kind: Kind):
    moves = kind in (Kind.CONNECTED, Kind.DISCONNECTED)
    assert moves_presence(Fact(kind, client_id="pump-17")) is moves
    assert not moves_presence(Fact(kind))


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
