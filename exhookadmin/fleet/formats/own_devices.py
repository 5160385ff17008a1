"""This program's own CSV of devices, one a row; only ``username`` must be there.

A column that is missing leaves the field as it is; an empty cell empties it. ``groups`` and ``networks``
are separated by semicolons. ``attr.<name>`` columns are the attributes, all of them. ``credential`` is a
stored form and ``credential_kind`` says whether of a token or of a password; ``password`` is one in clear.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from accounts.core.principal import CredentialKind
from exhookadmin.fleet.formats.csv_rows import Row, csv_rows
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.own_credentials import credential_problem
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Finding, Kind, Read

TEXTS = ("description", "client_id_binding", "client_id", "certificate_cn")
BOOLEANS = ("enabled", "superuser", "credential_required")
MOMENTS = ("valid_from", "valid_until")
SECRETS = ("credential", "credential_kind", "credential_label", "password")
COLUMNS = ("username", *TEXTS, *BOOLEANS, *MOMENTS, "networks", "groups", *SECRETS, "attr.")
SEPARATOR = ";"
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


def read_own_devices(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Raises Malformed."""
    for row in csv_rows(stream, required=("username",), optional=COLUMNS[1:]):
        yield _device(row)


def _device(row: Row) -> Read:
    line, cells = row.line, row.cells
    if not cells["username"]:
        raise Malformed(line, "this is missing", "username")
    values: dict[str, Any] = {name: cells[name] for name in TEXTS if name in cells}
    values |= {name: _boolean(row, name) for name in BOOLEANS if cells.get(name)}
    values |= {name: cells[name] or None for name in MOMENTS if name in cells}
    if "networks" in cells:
        values["networks"] = "\n".join(cells["networks"].split(SEPARATOR))
    if not values.get("client_id_binding", "…"):
        del values["client_id_binding"]
    attributes = {name.removeprefix("attr."): cells[name] for name in cells if name.startswith("attr.")}
    if attributes:
        values["attributes"] = {name: text for name, text in attributes.items() if text}
    groups = None
    if "groups" in cells:
        groups = tuple(name for part in cells["groups"].split(SEPARATOR) if (name := part.strip()))
    credentials = tuple(_credentials(cells, line))
    for credential in credentials:
        problem = credential_problem(credential)
        if problem:
            return Finding(Kind.REFUSED, line, "credential", problem)
    return DeviceRecord(line, cells["username"], values, groups, credentials)


def _credentials(cells: Mapping[str, str], line: int) -> Iterator[CredentialRecord]:
    label = cells.get("credential_label", "")
    encoded, password = cells.get("credential", ""), cells.get("password", "")
    kind = cells.get("credential_kind", "") or CredentialKind.PASSWORD
    if kind not in list(CredentialKind):
        raise Malformed(line, "this is neither token nor password", "credential_kind")
    if encoded:
        yield CredentialRecord(CredentialKind(kind), encoded=encoded, label=label)
    if password:
        yield CredentialRecord(plain=password, label=label)


def _boolean(row: Row, name: str) -> bool:
    text = row.cells[name].lower()
    if text not in _TRUE + _FALSE:
        raise Malformed(row.line, "this is neither true nor false", name)
    return text in _TRUE
