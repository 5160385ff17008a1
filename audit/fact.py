"""A fact: something that happened, as a value that no longer changes."""

import os
import time
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import force_setattr

NAME_CHARACTERS = 512
TEXT_CHARACTERS = 4096


class Kind(StrEnum):
    """What happened, in EMQX's names of its hooks (the spelling of v2 and v3) where it is one."""

    AUTHENTICATE = "client.authenticate"
    AUTHORIZE = "client.authorize"
    CONNECT = "client.connect"
    CONNACK = "client.connack"
    CONNECTED = "client.connected"
    DISCONNECTED = "client.disconnected"
    SUBSCRIBE = "client.subscribe"
    UNSUBSCRIBE = "client.unsubscribe"
    SESSION_CREATED = "session.created"
    SESSION_SUBSCRIBED = "session.subscribed"
    SESSION_UNSUBSCRIBED = "session.unsubscribed"
    SESSION_RESUMED = "session.resumed"
    SESSION_DISCARDED = "session.discarded"
    SESSION_TAKENOVER = "session.takenover"
    SESSION_TERMINATED = "session.terminated"
    MESSAGE_PUBLISH = "message.publish"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_ACKED = "message.acked"
    MESSAGE_DROPPED = "message.dropped"
    PROVIDER_LOADED = "provider.loaded"
    PROVIDER_UNLOADED = "provider.unloaded"
    ENDPOINT_BACK = "endpoint.back"
    """No hook: the endpoint itself was started and nobody had listened to the node for a while."""

    # An enumeration's own is a function in Python, and every fact is looked up by its kind.
    __hash__ = str.__hash__


def new_event_id(now: float) -> UUID:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits; sorts by time."""
    milliseconds = int(now * 1000)
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)


BOUNDED_NAMES = ("device", "client_id", "username", "cn", "node", "cluster", "node_version")
BOUNDED_TEXTS = ("topic", "rule", "detail")
_bounded_texts = attrgetter(*BOUNDED_NAMES, *BOUNDED_TEXTS)


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """One fact. ``time`` is when the endpoint received the hook: EMQX sends none.

    ``node_started`` and ``node_heard`` are times too: when the broker's node was started, by its own
    uptime, and when any worker had heard it last before this.

    Its texts are bounded from the beginning: many facts may wait, and strangers choose
    what some of them say. Fields are only ever added at the end (see ``audit.codec``).
    """

    kind: Kind
    time: float = field(default_factory=time.time)
    allowed: bool | None = None
    reason: str = ""
    device_id: int | None = None
    device: str = ""
    client_id: str = ""
    username: str = ""
    address: str = ""
    port: int = 0
    listener_port: int = 0
    protocol: str = ""
    cn: str = ""
    node: str = ""
    cluster: str = ""
    action: str = ""
    topic: str = ""
    rule_id: int | None = None
    rule: str = ""
    credential_id: int | None = None
    detail: str = ""
    revision: str = ""
    node_version: str = ""
    node_protocol: str = ""
    node_started: float | None = None
    node_heard: float | None = None
    id: UUID = field(default=UUID(int=0))

    def __post_init__(self) -> None:
        if self.id.int:
            return  # One that was made before, and comes from a spool or a table.
        force_setattr(self, "id", new_event_id(self.time))
        # One look at all of them together: nearly every fact is short and clean.
        together = "".join(_bounded_texts(self))
        if len(together) <= NAME_CHARACTERS and "\x00" not in together:
            return
        for names, characters in ((BOUNDED_NAMES, NAME_CHARACTERS), (BOUNDED_TEXTS, TEXT_CHARACTERS)):
            for name in names:
                text = getattr(self, name)
                if len(text) > characters or "\x00" in text:
                    force_setattr(self, name, bounded(text, characters))

    @property
    def at(self) -> datetime:
        """The time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.time, UTC)


def bounded(text: str, characters: int = NAME_CHARACTERS) -> str:
    """The text as a database can hold it: no NUL, and of a length that a stranger cannot choose."""
    clean = text.replace("\x00", "\ufffd")
    return clean if len(clean) <= characters else clean[: characters - 1] + "…"
