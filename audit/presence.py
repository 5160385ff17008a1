"""Presence: from connected and disconnected facts, in whatever order they come, to sessions.

What EMQX does, and what follows from it: on a takeover the old connection's
``disconnected[takenover]`` may arrive before or after the new one's ``connected``, more
than once, or never (4.4); on a discard likewise ``discarded``. Neither sets a client
offline. Some builds call every hook twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from audit.fact import Fact, Kind

REPLACED = frozenset({"takenover", "discarded"})
SUPERSEDED = "superseded"
# Without a peer port (EMQX up to 5.3) two identical connects this close are one, called twice.
DUPLICATE_SECONDS = 1.0


@dataclass(slots=True)
class Presence:
    """A session while it is worked out; ``row_id`` is None until it is stored."""

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
    row_id: int | None = None

    @property
    def online(self) -> bool:
        return self.disconnected_at is None


@dataclass(slots=True)
class ClientHistory:
    """What is remembered of one client id: its newest session last, and which ones changed."""

    sessions: list[Presence] = field(default_factory=list)
    changed: list[Presence] = field(default_factory=list)

    @property
    def current(self) -> Presence | None:
        return next((session for session in reversed(self.sessions) if session.online), None)

    def touch(self, session: Presence) -> None:
        if not any(session is known for known in self.changed):
            self.changed.append(session)


Key = tuple[str, str]


def key_of(fact: Fact) -> Key:
    """Client ids are unique within a cluster only."""
    return fact.cluster, fact.client_id


def moves_presence(fact: Fact) -> bool:
    """True for the facts that open or end a session."""
    return fact.kind in (Kind.CONNECTED, Kind.DISCONNECTED) and fact.client_id != ""


def apply_facts(histories: dict[Key, ClientHistory], facts: Iterable[Fact]) -> None:
    """Moves the sessions of each fact's client, in the facts' order."""
    for fact in facts:
        history = histories.setdefault(key_of(fact), ClientHistory())
        if fact.kind == Kind.CONNECTED:
            _connected(history, fact)
        else:
            _disconnected(history, fact)


def _connected(history: ClientHistory, fact: Fact) -> None:
    if any(_is_connect_of(session, fact) for session in history.sessions):
        return
    session = Presence(
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
    current = history.current
    # What is written late does not happen late: also a session that has ended since came after it.
    later = [known.connected_at for known in history.sessions if known.connected_at > fact.time]
    if later:
        _end(history, session, min(later), SUPERSEDED)
    elif current is not None:
        _end(history, current, fact.time, current.end_reason or SUPERSEDED)
    history.sessions.append(session)
    history.touch(session)


def _disconnected(history: ClientHistory, fact: Fact) -> None:
    current = history.current
    if fact.detail in REPLACED:
        _explain_replacement(history, fact)
    elif current is not None and _may_be_connection_of(current, fact):
        _end(history, current, fact.time, fact.detail)
    else:
        _explain_replacement(history, fact)


def _explain_replacement(history: ClientHistory, fact: Fact) -> None:
    """Writes the broker's reason on the session it is about, if that one has no better reason yet."""
    for session in reversed(history.sessions):
        if session.end_reason in ("", SUPERSEDED) and _may_be_connection_of(session, fact):
            if session.online and not (session.port and session.port == fact.port):
                continue
            session.end_reason = fact.detail
            history.touch(session)
            return


def _end(history: ClientHistory, session: Presence, at: float, reason: str) -> None:
    session.disconnected_at = max(at, session.connected_at)
    session.end_reason = reason
    history.touch(session)


def _is_connect_of(session: Presence, fact: Fact) -> bool:
    if (session.node, session.address, session.port) != (fact.node, fact.address, fact.port):
        return False
    if fact.port and session.online:
        return True
    return abs(session.connected_at - fact.time) < DUPLICATE_SECONDS and session.online


def _may_be_connection_of(session: Presence, fact: Fact) -> bool:
    """False when something proves that the disconnect belongs to another connection."""
    if fact.time < session.connected_at or session.node != fact.node or session.address != fact.address:
        return False
    return not (session.port and fact.port) or session.port == fact.port
