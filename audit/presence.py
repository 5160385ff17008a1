"""Presence: from what is told of a client and of its nodes, to the client's sessions.

What EMQX does, and what follows from it: on a takeover the old connection's
``disconnected[takenover]`` may arrive before or after the new one's ``connected``, more
than once, or never (4.4); on a discard likewise ``discarded``. Neither sets a client
offline. Some builds call every hook twice. A node that dies tells of no end at all: that
it was started later than a session began is how one learns of it.

Facts are always taken in the order of their times, so that it makes no difference in which
order, or how often, they are written: see ``Rebuild``.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from msgspec import structs

from audit.fact import Fact, Kind

REPLACED = frozenset({"takenover", "discarded"})

SUPERSEDED = "superseded"
"""The same client id connected anew, and nobody told how the older connection ended."""
NODE_RESTARTED = "node restarted"
"""Its node was started after it began, and nobody told how it ended."""
INFERRED = frozenset({SUPERSEDED, NODE_RESTARTED})
"""Ends that nobody told of: what the broker tells later is known better."""

NODE_DETACHED = "broker node detached"
ENDPOINT_AWAY = "endpoint was away"
TAKEN_OVER_UNHEARD = "taken over by an unheard connection"
"""By one on a node that nobody listens to just then; otherwise it is heard a moment later."""

# A connect that comes again this soon is one that is called twice. Without a peer port (EMQX up to
# 5.3) nothing but time tells; with one, the first call may have taken EMQX's three attempts of 5 s.
DUPLICATE_SECONDS = 1.0
DUPLICATE_SECONDS_WITH_PORT = 15.0
# A node's start is worked out from an uptime that 4.x tells in whole seconds, and that was a moment
# under way. No node comes up again so fast that this could hide its restart.
START_TOLERANCE_SECONDS = 2.0
# How long nobody may have heard a node before ends may have been missed: longer than it takes until
# each worker knows what the others heard (``exhookadmin.exhook.sightings``).
GAP_SECONDS = 20.0
# How long after a session's end the broker may still tell why it ended: a node that lost the others
# notices by the keepalive that a client has gone to one of them.
REMEMBERED_SECONDS = 300.0

NODE_KINDS = frozenset({Kind.PROVIDER_LOADED, Kind.PROVIDER_UNLOADED, Kind.ENDPOINT_BACK})
MOVING_KINDS = frozenset({Kind.CONNECTED, Kind.DISCONNECTED})
# Only who is connected causes these. Not so a login, what is told of a session (it outlives the
# connection), or a message, which may be a will that was delayed.
SIGNS_OF_LIFE = frozenset(
    kind
    for kind in Kind
    if kind in ("client.authorize", "client.subscribe", "client.unsubscribe", "message.acked")
)

_ORDER = {Kind.CONNECTED: 1, Kind.DISCONNECTED: 2}


@dataclass(slots=True)
class Presence:
    """A session while it is worked out; ``row_id`` is None until it is stored.

    With ``unknown_since`` its end may have been missed: of one that is online from then on, of one
    that has ended between then and ``disconnected_at``. ``doubted_at`` is when that was told.
    """

    client_id: str
    cluster: str
    node: str
    device_id: int | None
    device: str
    username: str
    address: str
    port: int
    protocol: str
    connected_at: float
    disconnected_at: float | None = None
    end_reason: str = ""
    unknown_since: float | None = None
    unknown_reason: str = ""
    doubted_at: float | None = None
    row_id: int | None = None

    @property
    def online(self) -> bool:
        return self.disconnected_at is None

    def doubt(self, since: float, reason: str, told_at: float) -> None:
        """From ``since`` on it is unknown whether it has ended, as was told later."""
        self.unknown_since, self.unknown_reason, self.doubted_at = since, reason, told_at

    def settle(self) -> None:
        """There is no doubt any more."""
        self.unknown_since, self.unknown_reason, self.doubted_at = None, "", None


Key = tuple[str, str]


def key_of(fact: Fact) -> Key:
    """Client ids are unique within a cluster only."""
    return fact.cluster, fact.client_id


def moves_presence(fact: Fact) -> bool:
    """True for the facts that open or end a session, or tell of a node what concerns its sessions."""
    if fact.kind in NODE_KINDS:
        return fact.node != ""
    return fact.kind in MOVING_KINDS and fact.client_id != ""


def shows_life(fact: Fact) -> bool:
    """True for the facts that only somebody who is connected can be the cause of."""
    return fact.kind in SIGNS_OF_LIFE and fact.client_id != ""


def in_order(facts: Iterable[Fact], earlier: Container[UUID] = ()) -> list[Fact]:
    """Each fact once, in the order in which they were received; ``earlier`` has the ids of those that
    come before others of the same moment."""
    once = {fact.id: fact for fact in facts}

    def place(fact: Fact) -> tuple[float, int, UUID]:
        return fact.time, 0 if fact.id in earlier else _ORDER.get(fact.kind, 0), fact.id

    return sorted(once.values(), key=place)


@dataclass(slots=True)
class ClientHistory:
    """The sessions of one client id, the newest last; at most one of them is online."""

    sessions: list[Presence] = field(default_factory=list)

    @property
    def current(self) -> Presence | None:
        return next((session for session in reversed(self.sessions) if session.online), None)

    def apply(self, facts: Iterable[Fact]) -> None:
        """Moves the sessions as the facts tell, which must be in order and not older than what moved
        them before: of this client, or of any node of its cluster."""
        for fact in facts:
            if fact.kind is Kind.CONNECTED:
                self._connected(fact)
            elif fact.kind is Kind.DISCONNECTED:
                self._disconnected(fact)
            elif fact.kind in NODE_KINDS:
                for session in self.sessions:
                    told_of_node(session, fact)
            else:
                self._alive(fact)

    def _connected(self, fact: Fact) -> None:
        current = self.current
        if current is not None:
            if _is_connect_of(current, fact):
                return
            _end(current, fact.time, current.end_reason or SUPERSEDED)
        self.sessions.append(
            Presence(
                client_id=fact.client_id,
                cluster=fact.cluster,
                node=fact.node,
                device_id=fact.device_id,
                device=fact.device,
                username=fact.username,
                address=fact.address,
                port=fact.port,
                protocol=fact.protocol,
                connected_at=fact.time,
            )
        )

    def _disconnected(self, fact: Fact) -> None:
        current = self.current
        if fact.detail not in REPLACED and current is not None and _may_be_connection_of(current, fact):
            _end(current, fact.time, fact.detail)
        else:
            self._explain(fact)

    def _explain(self, fact: Fact) -> None:
        """Writes the broker's reason on the session it is about, if that one has no better reason yet."""
        until = fact.time
        for session in reversed(self.sessions):
            if _is_end_of(session, fact):
                return
            if _is_without_reason(session, fact) and _may_be_connection_of(session, fact):
                if session.end_reason == NODE_RESTARTED:
                    # It lived after all: no connection survives its node's restart.
                    session.disconnected_at = max(session.connected_at, until)
                session.end_reason = fact.detail
                if not session.online:
                    session.settle()
                elif session.unknown_since is None:
                    session.doubt(fact.time, TAKEN_OVER_UNHEARD, fact.time)
                return
            until = min(until, session.connected_at)

    def _alive(self, fact: Fact) -> None:
        current = self.current
        if current is not None and _may_be_connection_of(current, fact):
            current.settle()


def told_of_node(session: Presence, fact: Fact) -> None:
    """What a node's attaching, detaching or return says about one of the sessions that began before.

    Changes nothing when it is told again, or in another order (``audit.nodes`` says the same to
    all rows of a node at once).
    """
    if (session.cluster, session.node) != (fact.cluster, fact.node) or session.connected_at >= fact.time:
        return
    ended_by = restart_before(fact)
    if ended_by is not None and session.connected_at < ended_by - START_TOLERANCE_SECONDS:
        if session.disconnected_at is None or (
            session.end_reason in INFERRED and session.disconnected_at > ended_by
        ):
            _end(session, ended_by, NODE_RESTARTED)
        return
    doubt = doubt_of(fact)
    if doubt is None:
        return
    since, reason = max(doubt[0], session.connected_at), doubt[1]
    missed = reason == NODE_DETACHED or fact.time - since > GAP_SECONDS
    if session.online and missed and (session.unknown_since is None or since < session.unknown_since):
        session.doubt(since, reason, fact.time)


def restart_before(fact: Fact) -> float | None:
    """When the node was started, if the fact tells."""
    return fact.node_started if fact.kind is Kind.PROVIDER_LOADED else None


def doubt_of(fact: Fact) -> tuple[float, str] | None:
    """From when on ends of the node's sessions may have been missed, and why; None: none was."""
    if fact.kind is Kind.PROVIDER_UNLOADED:
        return fact.time, NODE_DETACHED
    if fact.node_heard is None or fact.time - fact.node_heard <= GAP_SECONDS:
        return None
    return fact.node_heard, ENDPOINT_AWAY


def _end(session: Presence, at: float, reason: str) -> None:
    session.disconnected_at = max(at, session.connected_at)
    session.end_reason = reason
    if session.unknown_since is not None and (
        reason not in INFERRED or session.unknown_since >= session.disconnected_at
    ):
        session.settle()


def _is_end_of(session: Presence, fact: Fact) -> bool:
    """True for a disconnect that is called a second time."""
    if session.disconnected_at is None or session.end_reason != fact.detail:
        return False
    within = DUPLICATE_SECONDS_WITH_PORT if fact.port else DUPLICATE_SECONDS
    return fact.time - session.disconnected_at < within and _may_be_connection_of(session, fact)


def _is_connect_of(session: Presence, fact: Fact) -> bool:
    if (session.node, session.address, session.port) != (fact.node, fact.address, fact.port):
        return False
    within = DUPLICATE_SECONDS_WITH_PORT if fact.port else DUPLICATE_SECONDS
    return fact.time - session.connected_at < within


def _is_without_reason(session: Presence, fact: Fact) -> bool:
    """True when the fact may still say why the session ended, or will end."""
    if session.disconnected_at is None:
        return session.end_reason == "" and session.port != 0 and session.port == fact.port
    return session.end_reason in INFERRED and fact.time - session.disconnected_at <= REMEMBERED_SECONDS


def _may_be_connection_of(session: Presence, fact: Fact) -> bool:
    """False when something proves that the fact belongs to another connection."""
    if fact.time < session.connected_at or session.node != fact.node or session.address != fact.address:
        return False
    return not (session.port and fact.port) or session.port == fact.port


# --- Facts that are written late ---


@dataclass(slots=True)
class Rebuild:
    """One client's sessions, worked out anew from the moment that new facts of it reach back to.

    ``stored`` are the client's sessions as they are known: those that are online, and those that
    ended after ``new`` began or shortly before. Facts that come in order only continue them.
    Facts that come late (another writer was faster, a spool was taken over) reach back behind
    what is stored, to ``since``: then the sessions from there on are worked out again from
    ``events``, the facts from there on that are stored already.
    """

    stored: Sequence[Presence]
    new: Sequence[Fact]

    @property
    def begins(self) -> float:
        return min(fact.time for fact in self.new)

    @property
    def since(self) -> float:
        """From when on the client's facts are needed."""
        begins = self.begins
        return min([begins, *(session.connected_at for session in self.stored if _reaches(session, begins))])

    def sessions(self, events: Iterable[Fact], nodes: Iterable[Fact]) -> list[Presence]:
        """All of them, the stored ones with their ``row_id``. ``nodes``: what was told of the
        cluster's nodes since ``since``."""
        since = self.since
        kept = [session for session in self.stored if not _reaches(session, self.begins)]
        again = [session for session in self.stored if _reaches(session, self.begins)]
        events = [event for event in events if event.time >= since]
        made_of = [fact for session in again for fact in _what_it_was_made_of(session, [*events, *self.new])]
        # At the moment of such an end the next session may have begun.
        ends = {fact.id for fact in made_of if fact.kind is Kind.DISCONNECTED}
        history = ClientHistory([replace(session) for session in sorted(kept, key=_began)])
        told = [*self.new, *events, *made_of, *(node for node in nodes if node.time >= since)]
        history.apply(in_order(told, ends))
        rows = {_identity(session): session.row_id for session in again}
        for session in history.sessions:
            if session.row_id is None:
                session.row_id = rows.get(_identity(session))
        return history.sessions


def _began(session: Presence) -> float:
    return session.connected_at


def _reaches(session: Presence, begins: float) -> bool:
    """True for a session of which something is known that happened at that time or later."""
    return (
        session.connected_at >= begins
        or (session.disconnected_at is not None and session.disconnected_at >= begins)
        or (session.doubted_at is not None and session.doubted_at >= begins)
    )


def _identity(session: Presence) -> tuple[float, str, str, int]:
    return session.connected_at, session.node, session.address, session.port


def _what_it_was_made_of(session: Presence, facts: Sequence[Fact]) -> list[Fact]:
    """What must have been told for the session to be stored and is not among the facts: events are
    deleted by age, and of one kind earlier than of another."""
    began = Fact(
        Kind.CONNECTED,
        time=session.connected_at,
        client_id=session.client_id,
        cluster=session.cluster,
        node=session.node,
        device_id=session.device_id,
        device=session.device,
        username=session.username,
        address=session.address,
        port=session.port,
        protocol=session.protocol,
    )
    missing = []
    if not any(fact.kind is Kind.CONNECTED and fact.time == session.connected_at for fact in facts):
        missing.append(began)
    ended_at = session.disconnected_at
    if ended_at is None or ended_at <= session.connected_at or session.end_reason in INFERRED:
        return missing
    if not any(
        fact.kind is Kind.DISCONNECTED
        and fact.detail == session.end_reason
        and abs(fact.time - ended_at) <= REMEMBERED_SECONDS
        for fact in facts
    ):
        missing.append(
            structs.replace(
                began, kind=Kind.DISCONNECTED, time=ended_at, detail=session.end_reason, id=UUID(int=0)
            )
        )
    return missing
