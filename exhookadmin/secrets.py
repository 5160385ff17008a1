"""Keys that we give to programs: ``<prefix><identifier>_<secret>``.

The identifier finds the row, the secret proves. The secret holds 192 random bits, so that one
SHA-256 protects it.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

_IDENTIFIER_BYTES = 6
_SECRET_BYTES = 24
# Compared with where no row was found, so that it takes as long.
_NO_DIGEST = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What is stored of a new key, and its text, which is not."""

    identifier: str
    digest: str
    text: str = field(repr=False)


def new_secret(prefix: str) -> NewSecret:
    """A new key of the kind that the prefix stands for."""
    identifier, secret = secrets.token_hex(_IDENTIFIER_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    return NewSecret(identifier, _digest(secret), f"{prefix}{identifier}_{secret}")


def identifier_of(prefix: str, text: str) -> str:
    """Which row the text speaks of; empty for what is no key of this kind."""
    return text.removeprefix(prefix).partition("_")[0] if text.startswith(prefix) else ""


def proves(prefix: str, text: str, digest: str | None) -> bool:
    """True when the text holds the secret of the digest; takes the same time where there is none."""
    secret = text.removeprefix(prefix).partition("_")[2]
    same = hmac.compare_digest(_digest(secret), digest or _NO_DIGEST)
    return same and digest is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
