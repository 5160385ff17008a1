"""This program's own CSV of devices: their fields, groups and attributes, and one credential each."""

import csv
from collections.abc import Iterable, Iterator, Mapping

from exhookadmin.fleet.formats.csv_rows import is_formula
from exhookadmin.fleet.formats.own_devices import BOOLEANS, MOMENTS, SEPARATOR, TEXTS
from exhookadmin.fleet.records import DeviceRecord, Kind
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.unsaid import Unsaid

FREE = ("credential",)


def write_own_devices(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """A header with a column for each attribute that any device has, then the devices."""
    attributes = sorted({name for device in fleet.devices() for name in device.values["attributes"]})
    columns = (
        "username", *TEXTS, *BOOLEANS, *MOMENTS, "networks", "groups",
        "credential", "credential_kind", "credential_label", *(f"attr.{name}" for name in attributes),
    )  # fmt: skip
    yield csv_row(columns)
    for device in fleet.devices():
        cells = _cells(device)
        problem = _unreadable(device.groups or (), cells)
        if problem:
            yield Unsaid(Kind.REFUSED, device.username, *problem)
            continue
        usable = [one for one in device.credentials if one.enabled and one.expires_at is None]
        if len(device.credentials) > len(usable[:1]):
            reason = "one is written, which is on and never expires; the others would be left out"
            yield Unsaid(Kind.ALLOW_LOST, device.username, "credentials", reason)
        yield csv_row([cells.get(name, "") for name in columns])


def csv_row(cells: Iterable[str]) -> bytes:
    """One row (RFC 4180), ended by a line feed."""
    text: str = csv.writer(_Row(), lineterminator="\n").writerow(cells)
    return text.encode()


class _Row:
    """What the csv module writes a row to, and gives back."""

    def write(self, text: str) -> str:
        return text


def _cells(device: DeviceRecord) -> dict[str, str]:
    values = device.values
    cells = {"username": device.username} | {name: values[name] for name in TEXTS}
    cells |= {name: "true" if values[name] else "false" for name in BOOLEANS}
    cells |= {name: values[name] or "" for name in MOMENTS}
    cells["networks"] = SEPARATOR.join(values["networks"].splitlines())
    cells["groups"] = SEPARATOR.join(device.groups or ())
    cells |= {f"attr.{name}": text for name, text in values["attributes"].items()}
    for credential in device.credentials:
        if credential.enabled and credential.expires_at is None:
            cells |= {
                "credential": credential.encoded,
                "credential_kind": credential.kind.value,
                "credential_label": credential.label,
            }
            break
    return cells


def _unreadable(groups: Iterable[str], cells: Mapping[str, str]) -> tuple[str, str] | None:
    """The field and why the cell would not be read as it is."""
    for name, text in cells.items():
        if name not in FREE and text and is_formula(text):
            return name, "a spreadsheet would run it as a formula"
        if "\r" in text:
            return name, "it holds a carriage return, which is taken for the end of a line"
    for group in groups:
        if SEPARATOR in group or group.strip() != group or not group:
            return "groups", "the name of a group holds a semicolon, or begins or ends with a space"
    return None
