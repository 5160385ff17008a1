"""EMQX's built-in database: users with hashes in the form of its authenticator, as CSV or JSON.

A token of ours is a SHA-256 over salt and token, which is EMQX's sha256 with the salt as prefix.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from accounts.core.principal import CredentialKind
from accounts.stored_hashes import UnusableHash, emqx_hash
from exhookadmin.fleet.formats.csv_rows import is_formula
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Kind
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.json_arrays import JsonArray
from exhookadmin.fleet.writing.logins import login
from exhookadmin.fleet.writing.own_devices import csv_row
from exhookadmin.fleet.writing.unsaid import Unsaid

COLUMNS = ("user_id", "password_hash", "salt", "is_superuser")


class Hash(NamedTuple):
    """What EMQX stores of a password."""

    password_hash: str
    salt: str


def write_emqx_users_csv(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """``user_id,password_hash,salt,is_superuser``."""
    yield csv_row(COLUMNS)
    for device, found in _users(fleet, options):
        if isinstance(found, Unsaid):
            yield found
        elif is_formula(device.username) or "\r" in device.username:
            yield Unsaid(Kind.REFUSED, device.username, "username", "no spreadsheet may open this: use JSON")
        else:
            superuser = "true" if device.values["superuser"] else "false"
            yield csv_row((device.username, *found, superuser))


def write_emqx_users_json(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """An array of the same."""
    array = JsonArray()
    for device, found in _users(fleet, options):
        if isinstance(found, Unsaid):
            yield found
        else:
            user = {"user_id": device.username, **found._asdict()}
            yield array.item({**user, "is_superuser": device.values["superuser"]})
    yield from array.end()


def _users(fleet: Fleet, options: WriteOptions) -> Iterator[tuple[DeviceRecord, Hash | Unsaid]]:
    wanted = f"an EMQX {options.algorithm} hash"
    if options.algorithm not in ("bcrypt", "pbkdf2"):
        wanted += f" with the salt position {options.salt_position}"
    for device in fleet.devices():
        for found in login(device, options, partial(_hash, options), wanted=wanted):
            yield device, found


def _hash(options: WriteOptions, credential: CredentialRecord) -> Hash | None:
    found = _parts(options, credential)
    if found is None:
        return None
    # Whatever is written is read back as the very form that is stored here.
    try:
        again = emqx_hash(
            options.algorithm,
            *found,
            salt_position=options.salt_position,
            mac=options.mac,
            iterations=options.iterations,
            dk_length=options.dk_length,
        )
    except UnusableHash:
        return None
    if credential.kind is CredentialKind.TOKEN:
        return found
    return found if again == credential.encoded else None


def _parts(options: WriteOptions, credential: CredentialRecord) -> Hash | None:
    encoded = credential.encoded
    if credential.kind is CredentialKind.TOKEN:
        _, salt, digest = encoded.split("$", 2)
        fits = (options.algorithm, options.salt_position) == ("sha256", "prefix")
        return Hash(digest, salt) if fits else None
    if options.algorithm == "bcrypt":
        return Hash(encoded, "") if encoded.startswith("$2") else None
    if options.algorithm == "pbkdf2":
        start = f"emqx_pbkdf2${options.mac}${options.iterations}$"
    else:
        start = f"emqx${options.algorithm}${options.salt_position}$"
    if not encoded.startswith(start):
        return None
    # The salt may hold “$”.
    salt, _, digest = encoded.removeprefix(start).rpartition("$")
    return Hash(digest, salt)
