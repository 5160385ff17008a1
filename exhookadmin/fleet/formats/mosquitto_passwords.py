"""Password files of Mosquitto and of mosquitto-go-auth: ``user:hash``, one a line.

Mosquitto writes ``$6$`` (SHA-512), ``$7$`` (PBKDF2) and, from 2.1, ``$argon2id$``; mosquitto-go-auth writes
``PBKDF2$``, bcrypt and argon2id. A name cannot hold a colon.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from accounts.core.binding import Binding
from accounts.core.text import text_problem
from accounts.stored_hashes import UnusableHash, read_hash
from exhookadmin.fleet.formats.go_auth_hash import go_auth_hash
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.text_lines import text_lines
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Finding, Kind, Read

ORIGIN = "imported from Mosquitto"


def read_password_file(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Raises Malformed for a line that is no ``user:hash`` at all."""
    for line, text in text_lines(stream):
        if not text.strip() or text.startswith("#"):
            continue
        username, colon, encoded = text.partition(":")
        if not colon or not username:
            raise Malformed(line, "write user:hash, as mosquitto_passwd does")
        problem = text_problem(text)
        if problem:
            raise Malformed(line, problem)
        yield _user(line, username, encoded.strip(), options)


def _user(line: int, username: str, encoded: str, options: Options) -> Read:
    if not encoded:
        return Finding(Kind.REFUSED, line, "hash", "this user has no password, so it could never connect")
    try:
        encoded = go_auth_hash(encoded, options.salt_encoding)
        read_hash(encoded)
    except UnusableHash as problem:
        hint = "" if "$" in encoded else "; for passwords in clear run mosquitto_passwd -U on the file first"
        return Finding(Kind.REFUSED, line, "hash", f"{problem}{hint}")
    values: dict[str, Any] = {}
    if options.binding is not None:
        values["client_id_binding"] = Binding(options.binding).value
    return DeviceRecord(
        line, username, values, credentials=(CredentialRecord(encoded=encoded, origin=ORIGIN),)
    )
