"""What a worker saw lately: devices, credentials and nodes, in memory, stored for many at once.

Seeing costs a few dictionary stores, and no call waits for the database. What is seen between two
flushes counts as seen at the first of them: never later than the truth, and a few seconds before it
at most.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import Error, close_old_connections, connection

from accounts.services import record_sightings
from audit.fact import Fact
from audit.nodes import Node, claim_unattended, store_heard

logger = logging.getLogger(__name__)
Key = TypeVar("Key")

FLUSH_SECONDS = 5.0
# While the database is away so many devices, and so many credentials, are kept.
MOST_KEPT = 200_000
# No broker has as many nodes; their names are chosen by whoever can reach the port.
MOST_NODES = 1_000
NOWHERE: Node = ("", "")


class Sightings:
    """What was seen since the last flush. Any thread may add to the dictionaries, whose values mean
    nothing; one takes from them."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.seen: dict[int, None] = {}
        """Devices that connected, or asked for access."""
        self.used: dict[int, None] = {}
        """Credentials that admitted somebody."""
        self.heard: dict[Node, None] = {}
        self.nodes: dict[str, Node] = {}
        """Those of ``heard``, by name: to look up a message's cluster takes longer than all the rest."""
        self.since = clock()
        """When the last flush was."""
        self.heard_by_anybody: dict[Node, float] = {}
        """When each node was heard last, as far as is stored."""
        self._namesakes: set[str] = set()
        self._last_nodes: dict[str, Node] = {}

    def hear(self, name: str, message: Any) -> Node:
        """Notes the node that a message is from; it need not be noted again while ``nodes`` has its name.

        Nodes of several clusters may have one name (``emqx@127.0.0.1``): those are noted each time.
        """
        meta = message.meta
        node = (meta.cluster_name, name or meta.node)
        if not node[1] or (len(self.heard) >= MOST_NODES and node not in self.heard):
            return NOWHERE
        self.heard[node] = None
        if self._last_nodes.get(name, node) != node:
            self._namesakes.add(name)
        if name and name not in self._namesakes:
            self.nodes[name] = node
        return node

    def heard_before(self, node: Node) -> float | None:
        """When any worker heard the node last, as far as this one knows; None: never."""
        stored = self.heard_by_anybody.get(node)
        if node not in self.heard:
            return stored
        return self.since if stored is None else max(stored, self.since)

    def take(self) -> tuple[float, list[int], list[int], list[Node]]:
        """Empties it: when all of it was seen at the earliest, then devices, credentials, nodes."""
        since, self.since = self.since, self._clock()
        self._last_nodes |= self.nodes
        if len(self._last_nodes) > MOST_NODES:
            self._last_nodes.clear()
        self.nodes.clear()
        return since, _emptied(self.seen), _emptied(self.used), _emptied(self.heard)


def _emptied(sighted: dict[Key, None]) -> list[Key]:
    # One by one, so that what another thread adds meanwhile is either taken now or the next time.
    return [sighted.popitem()[0] for _ in range(len(sighted))]


class SightingsWriter:
    """Stores what was seen, every few seconds, on a thread of its own. What the database does not
    take is kept, within bounds, and tried again."""

    def __init__(
        self, sightings: Sightings, record: Callable[[Fact], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._sightings = sightings
        self._record = record
        self._clock = clock
        self._seen: dict[int, float] = {}
        self._used: dict[int, float] = {}
        self._heard: dict[Node, float] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sightings", daemon=True)
        self.away = False
        """True while the database does not take what was seen."""

    def begin(self) -> None:
        """Before the worker listens: says for which nodes nobody did, and learns when they were heard.

        Raises django.db.Error.
        """
        for fact in claim_unattended(self._clock()):
            self._record(fact)
        self._sightings.heard_by_anybody = store_heard({}, self._clock())

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Stores the last of it, for at most so long."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def flush(self) -> None:
        """Stores what was seen. What cannot be stored is kept for the next time."""
        since, seen, used, heard = self._sightings.take()
        _keep(self._seen, seen, since)
        _keep(self._used, used, since)
        _keep(self._heard, heard, since)
        try:
            self._sightings.heard_by_anybody = store_heard(self._heard, self._clock())
            self._heard.clear()
            record_sightings(self._seen, self._used)
        except Error as error:
            if not self.away:
                logger.error(
                    "sightings not stored, they will be tried again", extra={"error": type(error).__name__}
                )
            self.away = True
            return
        self._seen.clear()
        self._used.clear()
        self.away = False

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._flush_whatever_happens()
        self._flush_whatever_happens()
        connection.close()

    def _flush_whatever_happens(self) -> None:
        close_old_connections()
        try:
            self.flush()
        except Exception:
            logger.exception("what was seen could not be stored")


def _keep(kept: dict[Key, float], sighted: list[Key], since: float) -> None:
    for key in sighted:
        if len(kept) < MOST_KEPT or key in kept:
            kept[key] = since
