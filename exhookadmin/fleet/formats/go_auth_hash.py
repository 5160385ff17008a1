"""mosquitto-go-auth's hashes: as they are, but for a PBKDF2 salt that its configuration says is text."""

import base64
import binascii

from accounts.stored_hashes import UnusableHash

SALT_ENCODINGS = ("base64", "utf-8")


def go_auth_hash(encoded: str, salt_encoding: str) -> str:
    """The stored form. With ``hasher_salt_encoding: utf-8`` the salt stands in the hash as it is used, which
    the hash itself does not say. Raises UnusableHash."""
    if salt_encoding not in SALT_ENCODINGS:
        raise UnusableHash(f"the salt encoding must be one of {', '.join(SALT_ENCODINGS)}")
    if salt_encoding == "base64" or not encoded.startswith("PBKDF2$"):
        return encoded
    parts = encoded.split("$")
    if len(parts) != 5:
        raise UnusableHash("it is cut off: a part of it is missing")
    _, mac, iterations, salt, key = parts
    try:
        digits = base64.b64decode(key, validate=True).hex()
    except (binascii.Error, ValueError):
        raise UnusableHash("a part of it is not base64") from None
    return f"emqx_pbkdf2${mac}${iterations}${salt}${digits}"
