"""Who was refused: events gathered by identity and reason. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from accounts.core.identity import IdentitySource
from audit.fact import Kind

REASON_CHARACTERS = 40
"""Of the broker's own words, where there is no reason of the endpoint's."""
MOST_KEPT = 5
"""Client ids and addresses of one stranger; he may send thousands."""

ECHOES = frozenset({"not_authorized", "bad_username_or_password", "bad_clientid_or_password"})
"""With these EMQX tells a client of a refusal that somebody else decided (MQTT 3.1.1, 3.2.2.3; MQTT 5,
3.2.2.2): where it was the endpoint, its own reason says more."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a stored event tells of one refusal, its repeats included."""

    kind: str
    time: datetime
    last_time: datetime | None
    reason: str
    detail: str
    repeats: int
    username: str
    client_id: str
    cn: str
    address: str | None
    device_id: int | None

    @property
    def identity(self) -> tuple[IdentitySource, str]:
        """What the client claimed to be, by what it is named best."""
        if self.username:
            return IdentitySource.USERNAME, self.username
        if self.client_id:
            return IdentitySource.CLIENT_ID, self.client_id
        return IdentitySource.CERTIFICATE_CN, self.cn

    @property
    def because(self) -> str:
        """The endpoint's reason; the broker's own words where the broker refused."""
        return (self.reason or self.detail)[:REASON_CHARACTERS]

    @property
    def latest(self) -> datetime:
        return self.last_time or self.time


FIELDS = tuple(Refusal.__dataclass_fields__)
"""The columns of an event that make a refusal, in order."""


@dataclass(slots=True)
class Stranger:
    """Everything that one identity was refused for one reason."""

    source: IdentitySource
    identity: str
    reason: str
    first: datetime
    last: datetime
    count: int = 0
    cn: str = ""
    device_id: int | None = None
    by_broker: bool = False
    client_ids: dict[str, None] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)

    def add(self, refusal: Refusal) -> None:
        """Refusals are added newest first."""
        self.count += 1 + refusal.repeats
        self.first = min(self.first, refusal.time)
        self.last = max(self.last, refusal.latest)
        self.cn = self.cn or refusal.cn
        self.device_id = self.device_id or refusal.device_id
        if refusal.client_id:
            _keep(self.client_ids, refusal.client_id)
        if refusal.address:
            _keep(self.addresses, refusal.address)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one from another."""
        return self.source.value, self.identity, self.reason

    @property
    def username(self) -> str:
        """What a device must be called to be found by this; empty for one known by its CN alone."""
        return "" if self.source is IdentitySource.CERTIFICATE_CN else self.identity

    @property
    def only_client_id(self) -> str | None:
        """The client id it always used, empty where it sent none; None where it used several."""
        if len(self.client_ids) > 1:
            return None
        return next(iter(self.client_ids), "")


def _keep(values: dict[str, None], value: str) -> None:
    if len(values) < MOST_KEPT:
        values[value] = None


def gather(refusals: Iterable[Refusal]) -> list[Stranger]:
    """One for each identity and reason, the latest first. ``refusals`` come newest first.

    A refusal that only repeats in the broker's words what the endpoint told the same identity is left out.
    """
    listed = [refusal for refusal in refusals if refusal.identity[1]]
    judged = {refusal.identity for refusal in listed if refusal.kind == Kind.AUTHENTICATE}
    found: dict[tuple[IdentitySource, str, str], Stranger] = {}
    for refusal in listed:
        if refusal.kind == Kind.CONNACK and refusal.detail in ECHOES and refusal.identity in judged:
            continue
        key = (*refusal.identity, refusal.because)
        if key not in found:
            found[key] = Stranger(*key, refusal.time, refusal.latest, by_broker=not refusal.reason)
        found[key].add(refusal)
    return sorted(found.values(), key=lambda stranger: stranger.last, reverse=True)
