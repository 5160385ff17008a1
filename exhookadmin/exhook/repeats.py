"""Questions that come again, byte for byte.

EMQX asks anew whenever its own small cache has forgotten, so a device that publishes to
the same topic asks the same question for as long as it is connected. What was allowed is
allowed again, without being read and decided again, until anything that it depended on
changes. Denials are not kept: each of them is a fact of its own.
"""

from collections import OrderedDict

from audit.nodes import Node
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.sightings import Sightings

CAPACITY = 50_000
# With a topic as long as MQTT allows, so many of them would take gigabytes.
QUESTION_BYTES = 2_048


class Repeats:
    """Allowed questions in memory. For one thread: the one that answers quickly."""

    def __init__(self, directory: Directory, sightings: Sightings, capacity: int = CAPACITY) -> None:
        self._directory = directory
        self._seen, self._heard = sightings.seen, sightings.heard
        self._capacity = capacity
        # A plain dict would search past all that were deleted before to find its oldest.
        self._allowed: OrderedDict[bytes, tuple[float, int, Node]] = OrderedDict()
        self._version = directory.version

    def __len__(self) -> int:
        return len(self._allowed)

    def allowed(self, question: bytes, now: float) -> bool:
        """True when this question was answered with allow and nothing has changed since; its device
        and its node have then been seen again.

        ``now`` is of the directory's clock.
        """
        if self._version != self._directory.version:
            self._allowed.clear()
            self._version = self._directory.version
            return False
        known = self._allowed.get(question)
        if known is None:
            return False
        until, device, node = known
        if now >= until:
            return False
        self._seen[device] = None
        self._heard[node] = None
        return True

    def remember(self, question: bytes, version: int, until: float, device: int, node: Node) -> None:
        """Keeps an allowed question, and who asks it, until then. ``version`` is the directory's before it
        was decided."""
        if version != self._directory.version or version != self._version:
            return
        if len(question) > QUESTION_BYTES:
            return
        self._allowed.pop(question, None)
        if len(self._allowed) >= self._capacity:
            # The oldest goes: it is asked again, decided again, and comes back as the newest.
            self._allowed.popitem(last=False)
        self._allowed[question] = (until, device, node)
