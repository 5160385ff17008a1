"""A principal: a device frozen as the decision sees it, with its credentials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from accounts.core.binding import Binding
from accounts.core.networks import Networks


class CredentialKind(StrEnum):
    """How a device proves itself. Tokens are ours and fast; passwords are people's and slow."""

    TOKEN = "token"
    PASSWORD = "password"


@dataclass(frozen=True, slots=True)
class PrincipalCredential:
    """A stored credential. ``expires_at`` is seconds since the epoch, None for never."""

    id: int
    kind: CredentialKind
    encoded: str = field(repr=False)
    enabled: bool = True
    expires_at: float | None = None

    def live(self, now: float) -> bool:
        return self.enabled and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Principal:
    """Everything about a device that a decision needs. Times are seconds since the epoch."""

    id: int
    username: str
    enabled: bool = True
    superuser: bool = False
    binding: Binding = Binding.EQUALS_USERNAME
    bound_client_id: str = ""
    networks: Networks = ()
    valid_from: float | None = None
    valid_until: float | None = None
    certificate_cn: str = ""
    credential_required: bool = True
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    group_ids: frozenset[int] = frozenset()
    credentials: tuple[PrincipalCredential, ...] = ()
