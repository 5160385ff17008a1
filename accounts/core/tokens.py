"""Tokens: secrets that we generate, strong enough that a fast salted hash protects them.

A slow hash defends a secret that can be guessed. A token holds 192 random bits, so
one SHA-256 is as good and verifying costs microseconds.
"""

import hashlib
import hmac
import re
import secrets

PREFIX = "exh_"
_RANDOM_BYTES = 24
_LENGTH = len(PREFIX) + 32
_ALGORITHM = "sha256"
_ENCODED = re.compile(rf"{_ALGORITHM}\$[^$]{{8,128}}\$[0-9a-f]{{64}}")


def generate_token() -> str:
    """A new token: printable, without characters that a shell or a URL would change."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def looks_like_token(secret: str) -> bool:
    """True for what ``generate_token`` could have made.

    Such a secret is compared with tokens only, and is never worth a slow hash:
    passwords of this shape are refused where they are set.
    """
    return len(secret) == _LENGTH and secret.startswith(PREFIX)


def encode_token(token: str) -> str:
    """The form in which a token is stored: ``sha256$<salt>$<hex digest>``."""
    salt = secrets.token_hex(8)
    return f"{_ALGORITHM}${salt}${_digest(salt, token)}"


def token_matches(encoded: str, token: str) -> bool:
    """Compares in constant time; False for a stored value of another form."""
    algorithm, _, rest = encoded.partition("$")
    salt, _, digest = rest.partition("$")
    return algorithm == _ALGORITHM and hmac.compare_digest(
        _digest(salt, token).encode(), digest.encode(errors="surrogatepass")
    )


def encoded_token_problem(encoded: str) -> str | None:
    """Why no token could match this stored form, in words for a report; None when one could."""
    if not _ENCODED.fullmatch(encoded):
        return "it is no stored token: that is sha256$, a salt, $ and 64 hexadecimal digits"
    return None


def _digest(salt: str, token: str) -> str:
    return hashlib.sha256(f"{salt}{token}".encode(errors="surrogatepass")).hexdigest()
