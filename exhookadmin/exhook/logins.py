"""Authentication with memory: throttling, remembered passwords, and hashing only where it must be.

``quick`` decides what can be decided in microseconds and otherwise says what is needed;
``full`` hashes. Both end in the same pure ``authenticate``.
"""

import logging
import time
from dataclasses import dataclass, replace
from enum import Enum

from django.conf import settings
from django.db import Error

from accounts.core.authenticate import authenticate
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, deny
from accounts.core.identity import IdentitySource, claims
from accounts.core.principal import Principal, PrincipalCredential
from accounts.core.tokens import looks_like_token
from accounts.passwords import is_ours, password_matches, spend_a_verification, upgraded
from accounts.remembered import RememberedFailures, RememberedPasswords
from accounts.services import replace_encoded
from accounts.throttle import Limit, Throttle
from accounts.validators import NAME_CHARACTERS

logger = logging.getLogger(__name__)

VERIFIED_SECONDS = 3600.0
FAILED_SECONDS = 60.0
FAILED_LOGINS = 10_000
THROTTLED_KEYS = 100_000


class Need(Enum):
    """What an answer still needs."""

    DEVICE = "the device, from the database"
    HASH = "a slow hash"
    DUMMY_HASH = "a slow hash that only serves to take its time"


@dataclass(frozen=True)
class LoginLimits:
    """How many failed logins are heard, per identity and address, and per address."""

    identity: Limit
    address: Limit

    @classmethod
    def from_settings(cls) -> "LoginLimits":
        return cls(
            Limit(settings.EXHOOK_THROTTLE_BURST, settings.EXHOOK_THROTTLE_SECONDS),
            Limit(settings.EXHOOK_THROTTLE_ADDRESS_BURST, settings.EXHOOK_THROTTLE_ADDRESS_SECONDS),
        )


class Logins:
    """Decides about connects; remembers, in bounded memory, what it saw.

    The identity's throttle protects its password and is asked always. The address's
    protects the CPU and is asked before hashing only: a device whose password is remembered
    is admitted even while somebody behind the same NAT is guessing.
    """

    def __init__(self, order: tuple[IdentitySource, ...], limits: LoginLimits, capacity: int) -> None:
        self._order = order
        self._verified = RememberedPasswords(capacity, VERIFIED_SECONDS)
        self._failed = RememberedFailures(FAILED_LOGINS, FAILED_SECONDS)
        self.verified_hits = self.failed_hits = 0
        """Slow hashes that memory made unnecessary."""
        self.by_identity = Throttle(limits.identity, THROTTLED_KEYS)
        self.by_address = Throttle(limits.address, THROTTLED_KEYS)

    def quick(self, client: Client, principal: Principal | None, spare: bool = False) -> Decision | Need:
        """The decision, or what it needs. With ``spare`` a dummy hash is never asked for."""
        now, ticks = time.time(), time.monotonic()
        name = self._name(client)
        throttled = self.by_identity.blocks((name, client.address), ticks)

        def remembered(credential: PrincipalCredential, password: str) -> bool | None:
            if not self._verified.verifies(credential, password, ticks):
                return None
            self.verified_hits += 1
            return True

        decision = authenticate(client, principal, now, remembered, throttled)
        if decision is not None and throttled:
            return decision
        if decision is not None and not _owes_a_hash(client, decision):
            return self._noted(client, name, decision, ticks)
        refusal = decision or deny(Reason.CREDENTIAL_WRONG)
        if self._failed.failed(name, client.password, refusal.reason, _live(principal, now), ticks):
            self.failed_hits += 1
            return self._noted(client, name, refusal, ticks)
        if self.by_address.blocks(client.address, ticks):
            return decision or deny(Reason.THROTTLED)
        if decision is None:
            return Need.HASH
        return self._noted(client, name, decision, ticks) if spare else Need.DUMMY_HASH

    def full(self, client: Client, principal: Principal | None) -> Decision:
        """The decision, whatever it takes; a failed login always takes a hash."""
        now, ticks = time.time(), time.monotonic()
        hashed = False

        def verify(credential: PrincipalCredential, password: str) -> bool:
            nonlocal hashed
            if self._verified.verifies(credential, password, ticks):
                return True
            # An imported hash may cost next to nothing: then one of ours is due all the same.
            hashed = hashed or is_ours(credential.encoded)
            if not password_matches(credential.encoded, password):
                return False
            self._verified.remember(self._upgraded(credential, password), password, ticks)
            return True

        name = self._name(client)
        throttled = self.by_identity.blocks((name, client.address), ticks)
        decision = authenticate(client, principal, now, verify, throttled)
        if decision is None:
            raise RuntimeError("a verifier that hashes leaves nothing undecided")
        if throttled:
            return decision
        if _owes_a_hash(client, decision):
            if not hashed:
                spend_a_verification(client.password)
            self._failed.remember(name, client.password, decision.reason, _live(principal, now), ticks)
        return self._noted(client, name, decision, ticks)

    def may_need_a_hash(self, password: str) -> bool:
        """True for a secret that only a slow hash can judge, if the device has a password."""
        return password != "" and not looks_like_token(password)

    def _name(self, client: Client) -> str:
        made = claims(client, self._order)
        # Cut, because it is remembered with each failure and a stranger chooses it.
        return made[0][1][: NAME_CHARACTERS + 1] if made else ""

    def _noted(self, client: Client, name: str, decision: Decision, ticks: float) -> Decision:
        """The same decision, counted. One that throttling made or hastened is not for here: a
        name would stay blocked for as long as it is tried, and only one that nobody has did."""
        if decision.allow:
            self.by_identity.succeeded((name, client.address))
        elif client.password:
            self.by_identity.failed((name, client.address), ticks)
            self.by_address.failed(client.address, ticks)
        return decision

    def _upgraded(self, credential: PrincipalCredential, password: str) -> PrincipalCredential:
        """Rewrites an imported or weaker hash while the password is at hand."""
        try:
            encoded = upgraded(credential.encoded, password)
            if encoded is None or not replace_encoded(credential.id, credential.encoded, encoded):
                return credential
        except Error:
            logger.exception("hash not upgraded", extra={"credential": credential.id})
            return credential
        return replace(credential, encoded=encoded)


def _live(principal: Principal | None, now: float) -> list[PrincipalCredential]:
    credentials = principal.credentials if principal else ()
    return [credential for credential in credentials if credential.live(now)]


def _owes_a_hash(client: Client, decision: Decision) -> bool:
    """True for the refusal of a secret that a slow hash could have been computed for: one is
    due however early the refusal came, or the time to answer would tell which names exist."""
    return not decision.allow and client.password != "" and not looks_like_token(client.password)
