"""Hashing and verifying device passwords. Slow by design: never called on the event loop."""

from functools import lru_cache

from django.conf import settings
from django.contrib.auth import hashers

ALGORITHM = "bcrypt_sha256"


def encode_password(password: str) -> str:
    """The form in which a password is stored."""
    return hashers.make_password(password, hasher=ALGORITHM)


def password_matches(encoded: str, password: str) -> bool:
    """Whether this is the password. A stored hash that cannot be read matches nothing:
    bcrypt raises ValueError on a broken hash, and on a password over 72 bytes; PBKDF2
    raises OverflowError for an absurd number of rounds."""
    try:
        return bool(hashers.identify_hasher(encoded).verify(password, encoded))
    except (ValueError, TypeError, AssertionError, IndexError, OverflowError):
        return False


def spend_a_verification(password: str) -> None:
    """Costs what verifying a password costs, for logins that fail without one.

    Otherwise the time to answer would tell a stranger which names exist.
    """
    password_matches(_of_nobody(settings.EXHOOK_BCRYPT_ROUNDS), password)


@lru_cache(maxsize=8)
def _of_nobody(rounds: int) -> str:
    """Some hash of this cost, which is all that matters about it; the hasher reads the same setting."""
    return encode_password("")


def upgraded(encoded: str, password: str) -> str | None:
    """A new hash of the password, where the stored one is not what we would store today."""
    try:
        hasher = hashers.identify_hasher(encoded)
        if hasher.algorithm == ALGORITHM and not hasher.must_update(encoded):
            return None
    except (ValueError, TypeError, IndexError):
        return None
    return encode_password(password)
