"""What is recorded of devices, credentials and groups when they change: their fields, and no secret."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from accounts.changes import Change, State
from accounts.models import Credential, Device, DeviceGroup

DEVICE = "accounts.device"
CREDENTIAL = "accounts.credential"
GROUP = "accounts.devicegroup"

DEVICE_FIELDS = (
    "username", "description", "enabled", "superuser", "client_id_binding", "client_id", "networks",
    "valid_from", "valid_until", "certificate_cn", "credential_required", "attributes",
)  # fmt: skip
# Not “encoded”: a hash is of use to whoever reads the history.
CREDENTIAL_FIELDS = ("kind", "label", "enabled", "expires_at")
GROUP_FIELDS = ("name", "description")


def fields_of(row: Model, names: Iterable[str]) -> dict[str, Any]:
    """The named fields of a row, as they stand in memory."""
    return {name: getattr(row, name) for name in names}


def device_state(device: Device, groups: Iterable[DeviceGroup]) -> State:
    return fields_of(device, DEVICE_FIELDS) | {"groups": frozenset(group.name for group in groups)}


def device_change(device: Device, groups: Iterable[DeviceGroup] | None = None) -> Change:
    """From the device as it is stored to the device as it is in memory; None leaves its groups."""
    stored = Device.objects.filter(pk=device.pk).first() if device.pk else None
    belongs = list(stored.groups.all()) if stored else []
    return Change(
        DEVICE,
        device.pk,
        device.username,
        device_state(stored, belongs) if stored else None,
        device_state(device, belongs if groups is None else groups),
    )


def device_update(stored: Device, device: Device) -> Change:
    """The same of a device that was read before, its groups left out."""
    before, after = fields_of(stored, DEVICE_FIELDS), fields_of(device, DEVICE_FIELDS)
    return Change(DEVICE, device.pk, device.username, before, after)


def device_deletion(device: Device) -> Change:
    return Change(DEVICE, device.pk, device.username, device_state(device, device.groups.all()), None)


def membership(device: Device, left: frozenset[str], joined: frozenset[str]) -> Change:
    """A device leaves groups and joins others, and stays otherwise as it is."""
    same = fields_of(device, ("enabled", "superuser"))
    return Change(DEVICE, device.pk, device.username, {**same, "groups": left}, {**same, "groups": joined})


def credential_change(
    credential: Credential, before: State | None, after: State | None, device: Device | None = None
) -> Change:
    """A change of a credential, which belongs on its device's page."""
    device = device or credential.device
    return Change(
        CREDENTIAL, credential.pk, f"{device.username}: {credential}", before, after, (DEVICE, device.pk)
    )


def credential_state(credential: Credential) -> State:
    return fields_of(credential, CREDENTIAL_FIELDS)


def group_state(group: DeviceGroup) -> State:
    return fields_of(group, GROUP_FIELDS)
