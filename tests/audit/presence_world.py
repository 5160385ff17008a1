"""A small world of clients and nodes that knows the truth, and what EMQX and we would tell of it.

The truth is who was connected, from when until when; the facts are what reached an endpoint of
ours: not what happened while all of them were away or while the provider was detached, and
nothing of a node that died. In the end every node is up, attached and heard again.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from msgspec.structs import replace

from audit.fact import Fact, Kind

START = 1_800_000_000.0
CLUSTER = "emqxcl"
NODES = ("emqx@n1", "emqx@n2")
CLIENTS = ("pump-17", "pump-18")
# How late what another worker heard is known: at most this, in seconds.
HEARING_LAG = 10.0


@dataclass(frozen=True)
class Style:
    """How a version of EMQX tells. ``told`` is when the old side of a takeover is told of."""

    name: str
    ports: bool
    told: str
    loads_again: bool


STYLES = (
    Style("4.4", ports=False, told="never", loads_again=False),
    Style("5.8", ports=True, told="before", loads_again=False),
    Style("5.10", ports=True, told="after", loads_again=True),
)


@dataclass
class Connection:
    """What really was. ``heard`` is whether its begin was told, ``end_told`` whether its end was."""

    client: str
    node: str
    port: int
    begin: float
    heard: bool
    end: float | None = None
    end_told: bool = False


@dataclass
class World:
    """``facts`` are in the order of their times."""

    style: Style
    now: float = START
    connections: list[Connection] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    started: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NODES, START - 1000))
    down: set[str] = field(default_factory=set)
    detached: set[str] = field(default_factory=set)
    away_since: float | None = None
    last_heard: dict[str, float] = field(default_factory=dict)

    def heard(self, node: str) -> bool:
        return self.away_since is None and node not in self.detached

    def connection_of(self, client: str) -> Connection | None:
        return next((c for c in reversed(self.connections) if c.client == client and c.end is None), None)

    def tell(self, kind: Kind, node: str, at: float, **fields: Any) -> bool:
        if not self.heard(node):
            return False
        self.facts.append(Fact(kind, time=at, node=node, cluster=CLUSTER, **fields))
        self.last_heard[node] = max(at, self.last_heard.get(node, at))
        return True

    def tell_of(self, connection: Connection, kind: Kind, at: float, detail: str = "") -> bool:
        return self.tell(
            kind,
            connection.node,
            at,
            client_id=connection.client,
            port=connection.port if self.style.ports else 0,
            address="192.0.2.7",
            detail=detail,
        )

    def connect(self, client: str, node: str, reason: str, delay: float) -> None:
        if node in self.down:
            return
        at, old = self.now, self.connection_of(client)
        if old is not None and self.style.told == "before" and old.node not in self.down:
            self.tell_of(old, Kind.DISCONNECTED, at - 0.25, reason)
        new = Connection(client, node, 40_000 + len(self.connections), at, self.heard(node))
        self.tell_of(new, Kind.CONNECTED, at)
        if old is not None:
            old.end = at
            # That the same client id is connected elsewhere tells it, even without a word.
            old.end_told = new.heard
            if self.style.told == "after" and old.node not in self.down:
                self.tell_of(old, Kind.DISCONNECTED, at + delay, reason)
        self.connections.append(new)

    def disconnect(self, client: str, reason: str) -> None:
        connection = self.connection_of(client)
        if connection is not None:
            connection.end = self.now
            connection.end_told = self.tell_of(connection, Kind.DISCONNECTED, self.now, reason)

    def publish(self, client: str) -> None:
        connection = self.connection_of(client)
        if connection is not None:
            self.tell_of(connection, Kind.AUTHORIZE, self.now)

    def stop(self, node: str, *, in_order: bool) -> None:
        if node in self.down:
            return
        if in_order:
            self.tell(Kind.PROVIDER_UNLOADED, node, self.now)
        self.down.add(node)
        self.detached.discard(node)
        for connection in self.connections:
            if connection.node == node and connection.end is None:
                connection.end = self.now

    def start(self, node: str, lag: float) -> None:
        if node not in self.down:
            return
        self.down.discard(node)
        self.started[node] = self.now - 1
        self.load(node, lag)

    def load(self, node: str, lag: float) -> None:
        heard = self.last_heard.get(node)
        self.tell(
            Kind.PROVIDER_LOADED,
            node,
            self.now,
            node_started=self.started[node],
            node_heard=None if heard is None else min(heard, self.now - lag),
        )

    def detach(self, node: str) -> None:
        if node not in self.down and node not in self.detached:
            self.tell(Kind.PROVIDER_UNLOADED, node, self.now)
            self.detached.add(node)

    def attach(self, node: str, lag: float) -> None:
        if node in self.detached:
            self.detached.discard(node)
            self.load(node, lag)

    def go_away(self) -> None:
        if self.away_since is None:
            self.away_since = self.now

    def come_back(self, lag: float) -> None:
        if self.away_since is None:
            return
        since, self.away_since = self.away_since - lag, None
        for node in NODES:
            # A node that was restarted meanwhile is new to us, whatever its version.
            if node not in self.down and (self.style.loads_again or self.started[node] > since):
                self.load(node, lag)
            if not self.style.loads_again:
                self.tell(Kind.ENDPOINT_BACK, node, self.now + 0.25, node_heard=since)

    def settle(self) -> None:
        """Everything comes back, so that no doubt is left that could not be resolved."""
        self.now += 30
        self.come_back(0)
        for node in NODES:
            self.now += 30
            self.start(node, 0)
            self.attach(node, 0)


@st.composite
def worlds(draw: st.DrawFn, *, trouble: bool = True) -> World:
    """A history of up to twenty steps; without ``trouble`` everything is heard."""
    world = World(draw(st.sampled_from(STYLES)))
    lag = st.floats(0, HEARING_LAG).map(lambda seconds: round(seconds, 2))
    quiet = ["connect", "connect", "disconnect", "publish"]
    loud = ["crash", "shutdown", "start", "detach", "attach", "go away", "come back"]
    for _ in range(draw(st.integers(1, 20))):
        world.now += draw(st.sampled_from([3.0, 20.0, 100.0]))
        client, node = draw(st.sampled_from(CLIENTS)), draw(st.sampled_from(NODES))
        match draw(st.sampled_from(quiet + loud if trouble else quiet)):
            case "connect":
                reason = draw(st.sampled_from(["takenover", "discarded"]))
                world.connect(client, node, reason, draw(st.sampled_from([0.25, 2.0])))
            case "disconnect":
                world.disconnect(client, draw(st.sampled_from(["normal", "tcp_closed", "{shutdown,x}"])))
            case "publish":
                world.publish(client)
            case "crash":
                world.stop(node, in_order=False)
            case "shutdown":
                world.stop(node, in_order=True)
            case "start":
                world.start(node, draw(lag))
            case "detach":
                world.detach(node)
            case "attach":
                world.attach(node, draw(lag))
            case "go away":
                world.go_away()
            case "come back":
                world.now += 25
                world.come_back(draw(lag))
    world.settle()
    world.facts.sort(key=lambda fact: fact.time)
    return world


def doubled(draw: st.DrawFn, facts: list[Fact]) -> list[Fact]:
    """Some calls come twice, right after each other, as from builds that load the provider twice."""
    told: list[Fact] = []
    for fact in facts:
        told.append(fact)
        if draw(st.integers(0, 4)) == 0:
            told.append(replace(fact, time=fact.time + 0.1, id=UUID(int=0)))
    return told
