"""What a worker remembers of passwords that it has hashed, so that the next login costs microseconds.

Kept in memory only, as digests under a key that this process made up: they are of no use
elsewhere, and cannot be reversed. An entry is bound to the stored hash it was checked
against, so it ends when the credential changes.
"""

import hashlib
import hmac
import random
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable

from accounts.core.decision import Reason
from accounts.core.principal import PrincipalCredential

Digest = bytes


class RememberedPasswords:
    """Which password verified against which credential, for ``seconds``; at most ``capacity``."""

    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[int, tuple[Digest, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._verified)

    def verifies(self, credential: PrincipalCredential, password: str, now: float) -> bool:
        """True when this password is known to be right. False says nothing."""
        entry = self._verified.get(credential.id)
        if entry is None or now >= entry[1]:
            return False
        return hmac.compare_digest(entry[0], _digest(self._key, password, (credential.encoded,)))

    def remember(self, credential: PrincipalCredential, password: str, now: float) -> None:
        """Notes that a slow verification has just succeeded."""
        digest = _digest(self._key, password, (credential.encoded,))
        with self._lock:
            self._verified.pop(credential.id, None)
            self._verified[credential.id] = (digest, now + self._seconds)
            if len(self._verified) > self._capacity:
                self._verified.popitem(last=False)


class RememberedFailures:
    """Which logins have just failed a slow verification, whether or not such a device exists.

    A device with an old password that tries every second then costs one hash a minute.
    An entry is bound to the reason: a right password of a device that was disabled has
    failed for that reason only, and is hashed once the device is enabled.
    Entries end after ``seconds`` less a random part, so that they do not end together.
    """

    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._failed: OrderedDict[Digest, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._failed)

    def failed(
        self, name: str, password: str, reason: Reason, live: Iterable[PrincipalCredential], now: float
    ) -> bool:
        """True when this very login failed a moment ago, for this reason and against these live
        credentials."""
        until = self._failed.get(self._login(name, password, reason, live))
        return until is not None and now < until

    def remember(
        self, name: str, password: str, reason: Reason, live: Iterable[PrincipalCredential], now: float
    ) -> None:
        """Notes that a slow verification has just failed, or been spent on nobody."""
        login = self._login(name, password, reason, live)
        with self._lock:
            self._failed.pop(login, None)
            self._failed[login] = now + self._seconds * random.uniform(0.5, 1.0)
            if len(self._failed) > self._capacity:
                self._failed.popitem(last=False)

    def _login(self, name: str, password: str, reason: Reason, live: Iterable[PrincipalCredential]) -> Digest:
        return _digest(self._key, password, (name, reason, *(credential.encoded for credential in live)))


def _digest(key: bytes, password: str, bound_to: tuple[str, ...]) -> Digest:
    keyed = hashlib.blake2b(key=key, digest_size=32)
    for text in (password, *bound_to):
        part = text.encode(errors="surrogatepass")
        keyed.update(len(part).to_bytes(4, "big") + part)  # so that parts cannot run together
    return keyed.digest()
