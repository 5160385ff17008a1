"""EMQX's built-in database: users, as CSV or JSON, with hashes or with passwords.

``user_id`` is a username, or a client id where the authenticator looks users up by that; here either names
the device. The file carries neither the algorithm nor the salt's position: the operator gives them. The
salt is text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from accounts.core.binding import Binding
from accounts.stored_hashes import DIGESTS, UnusableHash, emqx_hash, emqx_plain
from exhookadmin.fleet.formats.csv_rows import csv_rows
from exhookadmin.fleet.formats.json_items import json_items
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.typed import an_object, optional_text, required_text
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Finding, Kind, Read

ORIGIN = "imported from EMQX"
ALGORITHMS = ("plain", *DIGESTS, "bcrypt", "pbkdf2")
"""As EMQX calls them in the settings of its authenticator."""


def read_emqx_users_csv(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """``user_id,password_hash,salt,is_superuser[,namespace]``, or ``user_id,password,…``.

    Raises Malformed.
    """
    secret = "password" if options.plain else "password_hash"
    others = ("is_superuser", "namespace") if options.plain else ("salt", "is_superuser", "namespace")
    for row in csv_rows(stream, required=("user_id", secret), optional=others):
        yield _user(row.line, row.cells, options)


def read_emqx_users_json(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """An array of the same fields. Raises Malformed."""
    for item in json_items(stream):
        if item.key is not None:
            raise Malformed(item.line, "this must be an array of users in brackets")
        yield _user(item.line, an_object(item.value, item.line), options)


def _user(line: int, user: Mapping[str, Any], options: Options) -> Read:
    username = required_text(user, "user_id", line)
    superuser = user.get("is_superuser") is True or user.get("is_superuser") == "true"
    namespace = optional_text(user, "namespace", line)
    if superuser and namespace:
        return Finding(Kind.REFUSED, line, "is_superuser", "EMQX too refuses a superuser inside a namespace")
    if namespace:
        return Finding(
            Kind.REFUSED, line, "namespace", "namespaces are not known here: import its users on their own"
        )
    secret = required_text(user, "password" if options.plain else "password_hash", line)
    salt = "" if options.plain else optional_text(user, "salt", line)
    try:
        credential = _credential(secret, salt, options)
    except UnusableHash as problem:
        return Finding(Kind.REFUSED, line, "password_hash", str(problem))
    values: dict[str, Any] = {"superuser": superuser}
    if options.binding is not None:
        values |= {"client_id_binding": Binding(options.binding).value}
    return DeviceRecord(line, username, values, credentials=(credential,))


def _credential(secret: str, salt: str, options: Options) -> CredentialRecord:
    if options.plain:
        return CredentialRecord(plain=secret, origin=ORIGIN)
    if options.algorithm == "plain":
        password = emqx_plain(secret, salt, salt_position=options.salt_position)
        return CredentialRecord(plain=password, origin=ORIGIN)
    encoded = emqx_hash(
        options.algorithm,
        secret,
        salt,
        salt_position=options.salt_position,
        mac=options.mac,
        iterations=options.iterations,
        dk_length=options.dk_length,
    )
    return CredentialRecord(encoded=encoded, origin=ORIGIN)
