"""Hashing and verifying device passwords. Slow by design: never called on the event loop."""

from functools import lru_cache

from django.conf import settings
from django.contrib.auth import hashers

from accounts.stored_hashes import read_hash

ALGORITHM = "bcrypt_sha256"


def encode_password(password: str) -> str:
    """The form in which a password is stored."""
    return hashers.make_password(password, hasher=ALGORITHM)


def password_matches(encoded: str, password: str) -> bool:
    """Whether this is the password. A stored hash that cannot be read matches nothing, and so
    does a password that its algorithm cannot take."""
    try:
        return read_hash(encoded)(password.encode())
    except (ValueError, OverflowError, MemoryError):
        return False


def is_ours(encoded: str) -> bool:
    """True for the form in which passwords are stored here, whatever its cost; False for an imported one."""
    return encoded.startswith(ALGORITHM + "$")


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
    if is_ours(encoded):
        try:
            if not hashers.identify_hasher(encoded).must_update(encoded):
                return None
        except (ValueError, TypeError, IndexError):
            return None
    return encode_password(password)
