"""All writes to devices, credentials and groups. Admin, API and commands only call these.

Each of them raises NotAllowed, having changed nothing, where the current actor may not do it: see
`accounts.changes`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from accounts import states
from accounts.changes import Change, announce
from accounts.core.principal import CredentialKind
from accounts.core.tokens import encode_token, generate_token, looks_like_token
from accounts.models import Credential, Device, DeviceGroup, DeviceQuerySet
from accounts.passwords import encode_password
from accounts.sightings import store_seen, store_used
from accounts.validators import MQTT_STRING_BYTES


@transaction.atomic
def save_device(device: Device, groups: Iterable[DeviceGroup] | None = None) -> Device:
    """Checks and stores a device; ``groups`` replaces its groups unless it is None.

    Raises ValidationError naming each wrong field, also when the device has been deleted meanwhile.
    """
    device.full_clean()
    groups = None if groups is None else list(groups)
    change = states.device_change(device, groups)
    if device.pk is None:
        device.save()
    elif Device.objects.filter(pk=device.pk).select_for_update().exists():
        # But for when it was seen last, which the endpoint may have written since this was read.
        device.save(update_fields=[name for name in _STORED if name != "last_seen_at"])
    else:
        raise ValidationError("This device has been deleted meanwhile.")
    if groups is not None:
        device.groups.set(groups)
    announce([change.stored_as(device.pk)])
    return device


_STORED = [field.name for field in Device._meta.concrete_fields if not field.primary_key]


def create_device(username: str, *, groups: Iterable[DeviceGroup] = (), **fields: Any) -> Device:
    """A new device. Raises ValidationError naming each wrong field."""
    return save_device(Device(username=username, **fields), groups)


@transaction.atomic
def delete_devices(devices: DeviceQuerySet) -> int:
    """Deletes devices with their credentials; the audit log keeps their names. Answers how many."""
    doomed = Device.objects.filter(pk__in=devices.order_by().values("pk"))
    announce([states.device_deletion(device) for device in doomed.prefetch_related("groups")])
    _, by_model = devices.delete()
    return by_model.get(Device._meta.label, 0)


@transaction.atomic
def set_enabled(devices: DeviceQuerySet, enabled: bool) -> int:
    """Switches devices on or off, effective at their next publish. Answers how many changed."""
    others = devices.exclude(enabled=enabled)
    # Locked, so that what is recorded is what is changed.
    rows = Device.objects.filter(pk__in=others.order_by().values("pk")).select_for_update()
    announce(
        Change(
            states.DEVICE,
            pk,
            username,
            {"enabled": not enabled, "superuser": superuser},
            {"enabled": enabled, "superuser": superuser},
        )
        for pk, username, superuser in rows.values_list("pk", "username", "superuser")
    )
    return others.update(enabled=enabled, updated_at=timezone.now())


@transaction.atomic
def save_group(group: DeviceGroup) -> DeviceGroup:
    """Checks and stores a group. Raises ValidationError naming each wrong field."""
    group.full_clean()
    stored = DeviceGroup.objects.filter(pk=group.pk).first()
    before = states.group_state(stored) if stored else None
    group.save()
    announce([Change(states.GROUP, group.pk, group.name, before, states.group_state(group))])
    return group


@transaction.atomic
def delete_groups(groups: models.QuerySet[DeviceGroup]) -> int:
    """Deletes groups; their devices stay, without what the groups' policies allowed. Answers how many."""
    announce(
        Change(states.GROUP, group.pk, group.name, states.group_state(group), None)
        for group in DeviceGroup.objects.filter(pk__in=groups.order_by().values("pk"))
    )
    _, by_model = groups.delete()
    return by_model.get(DeviceGroup._meta.label, 0)


@transaction.atomic
def join_group(devices: DeviceQuerySet, group: DeviceGroup) -> int:
    """Puts devices into a group. Answers how many were not in it yet."""
    members = Device.groups.through.objects
    fresh = list(devices.exclude(groups=group))
    announce(states.membership(device, frozenset(), frozenset({group.name})) for device in fresh)
    rows = [Device.groups.through(device_id=device.pk, devicegroup_id=group.pk) for device in fresh]
    members.bulk_create(rows, batch_size=1000, ignore_conflicts=True)
    return len(rows)


@transaction.atomic
def leave_group(devices: DeviceQuerySet, group: DeviceGroup) -> int:
    """Takes devices out of a group. Answers how many were in it."""
    gone = devices.filter(groups=group)
    announce(states.membership(device, frozenset({group.name}), frozenset()) for device in gone)
    members = Device.groups.through.objects.filter(devicegroup=group, device__in=devices)
    return members.delete()[0]


@transaction.atomic
def create_token(
    device: Device, label: str = "", expires_at: datetime | None = None
) -> tuple[Credential, str]:
    """A new token for the device. The token itself is returned once and stored nowhere."""
    token = generate_token()
    credential = Credential(
        device=device,
        kind=CredentialKind.TOKEN,
        label=label,
        encoded=encode_token(token),
        expires_at=expires_at,
    )
    return _add(credential), token


@transaction.atomic
def add_password(
    device: Device, password: str, label: str = "", expires_at: datetime | None = None
) -> Credential:
    """A further password for the device; its other credentials stay live.

    Raises ValidationError for a password that MQTT cannot carry as text.
    """
    check_password(password)
    credential = Credential(
        device=device,
        kind=CredentialKind.PASSWORD,
        label=label,
        encoded=encode_password(password),
        expires_at=expires_at,
    )
    return _add(credential)


def _add(credential: Credential) -> Credential:
    credential.full_clean()
    credential.save()
    announce([states.credential_change(credential, None, states.credential_state(credential))])
    return credential


def end_credential(credential: Credential, after: timedelta) -> Credential:
    """Lets a credential expire after so long, unless it does so earlier anyway. Raises ValidationError."""
    if after < timedelta(0):
        raise ValidationError({"overlap": "The overlap cannot be shorter than nothing."})
    ends = timezone.now() + after
    if credential.expires_at is None or credential.expires_at > ends:
        credential.expires_at = ends
        _store(credential, "expires_at")
    return credential


@transaction.atomic
def rotate_token(
    credential: Credential, overlap: timedelta, label: str = "", expires_at: datetime | None = None
) -> tuple[Credential, str]:
    """A new token in the place of a credential, which stays live for the overlap and then expires.

    The token itself is returned once. Raises ValidationError for an overlap below zero, and when
    the credential has been deleted meanwhile.
    """
    end_credential(credential, overlap)
    return create_token(credential.device, label or credential.label, expires_at)


@transaction.atomic
def rotate_tokens(
    devices: Collection[Device], overlap: timedelta, label: str = "", expires_at: datetime | None = None
) -> list[tuple[Credential, str]]:
    """A new token for each of these devices that has a live one; its live ones expire after the overlap.

    The tokens are returned once, in the order of the devices; passwords stay as they are. A label left
    empty is the one of the device's newest live token. Raises ValidationError for an overlap below zero
    and for what no credential can have.
    """
    if overlap < timedelta(0):
        raise ValidationError({"overlap": "The overlap cannot be shorter than nothing."})
    ends = timezone.now() + overlap
    # Locked in one order, so that two rotations of the same devices wait for each other.
    live = Credential.objects.live().filter(device__in=devices, kind=CredentialKind.TOKEN.value)
    old = list(live.defer("encoded").order_by("pk").select_for_update())
    newest = {credential.device_id: credential for credential in old}
    rotated = [device for device in devices if device.pk in newest]
    made = []
    for device in rotated:
        token = generate_token()
        credential = Credential(
            device=device,
            kind=CredentialKind.TOKEN,
            label=label or newest[device.pk].label,
            encoded=encode_token(token),
            expires_at=expires_at,
        )
        credential.clean_fields(exclude=["device"])
        made.append((credential, token))
    ending = [row for row in old if row.expires_at is None or row.expires_at > ends]
    Credential.objects.filter(pk__in=[row.pk for row in ending]).update(expires_at=ends)
    Credential.objects.bulk_create([credential for credential, _ in made])
    owners = {device.pk: device for device in rotated}
    announce(
        states.credential_change(
            row, {"expires_at": row.expires_at}, {"expires_at": ends}, owners[row.device_id]
        )
        for row in ending
    )
    announce(
        states.credential_change(credential, None, states.credential_state(credential))
        for credential, _ in made
    )
    return made


def save_credential(credential: Credential) -> Credential:
    """Stores label, expiry and the switch of an existing credential; its secret never changes.

    Raises ValidationError, also when the credential has been deleted meanwhile.
    """
    credential.full_clean()
    return _store(credential, "label", "expires_at", "enabled")


def switch_credential(credential: Credential, enabled: bool) -> Credential:
    """Revokes a credential, or admits it again. Connections that live stay until they end."""
    credential.enabled = enabled
    return _store(credential, "enabled")


@transaction.atomic
def revoke_passwords(device: Device) -> int:
    """Switches off every password of the device, its tokens stay. Answers how many were on."""
    live = device.credentials.filter(kind=CredentialKind.PASSWORD.value, enabled=True)
    announce(
        states.credential_change(credential, {"enabled": True}, {"enabled": False}, device)
        for credential in live.defer("encoded").select_for_update()
    )
    return live.update(enabled=False)


@transaction.atomic
def revoke_credentials(devices: Collection[Device]) -> int:
    """Switches off every credential of these devices. Answers how many were on."""
    on = Credential.objects.filter(device__in=devices, enabled=True)
    owners = {device.pk: device for device in devices}
    rows = list(on.defer("encoded").order_by("pk").select_for_update())
    announce(
        states.credential_change(row, {"enabled": True}, {"enabled": False}, owners[row.device_id])
        for row in rows
    )
    return Credential.objects.filter(pk__in=[row.pk for row in rows]).update(enabled=False)


@transaction.atomic
def delete_credential(credential: Credential) -> None:
    """Deletes a credential for good; the audit log keeps its number."""
    announce([states.credential_change(credential, states.credential_state(credential), None)])
    credential.delete()


@transaction.atomic
def _store(credential: Credential, *fields: str) -> Credential:
    row = Credential.objects.filter(pk=credential.pk)
    stored = row.defer("encoded").first()
    values = states.fields_of(credential, fields)
    if stored is None or not row.update(**values):
        raise ValidationError("This credential has been deleted meanwhile.")
    announce([states.credential_change(credential, states.fields_of(stored, fields), values)])
    return credential


def replace_encoded(credential_id: int, old: str, new: str) -> bool:
    """Stores another hash of the same secret; False when the credential has changed meanwhile.

    Not announced: it is the endpoint that does it, at a login, and nothing is decided differently.
    """
    return Credential.objects.filter(pk=credential_id, encoded=old).update(encoded=new) == 1


def check_password(password: str) -> None:
    """Raises ValidationError on the field “password” for one that a device could never log in with."""
    problem = None
    if not password:
        problem = "Enter a password; to admit a device without one, switch off “credential required”."
    elif "\x00" in password or any("\ud800" <= character <= "\udfff" for character in password):
        problem = "A password may not hold NUL or broken characters: EMQX passes on UTF-8 text only."
    elif len(password.encode()) > MQTT_STRING_BYTES:
        problem = f"MQTT carries passwords of at most {MQTT_STRING_BYTES:,} bytes."
    elif looks_like_token(password):
        problem = "This has the form of a generated token. Choose another password, or generate a token."
    if problem:
        raise ValidationError({"password": problem})


def device_problems(given: Iterable[tuple[Device, Collection[str]]]) -> list[dict[str, list[str]]]:
    """What is wrong with each of many devices, by field; nothing for one that can be stored.

    Only the fields given with a device are looked at: the others are defaults, or were stored before.
    That a username is free is the caller's to know. Cleans the fields, as a form does. Costs one query.
    """
    listed = list(given)
    common_names = {device.certificate_cn for device, fields in listed if "certificate_cn" in fields} - {""}
    owners = dict(
        Device.objects.filter(certificate_cn__in=common_names).values_list("certificate_cn", "pk")
        if common_names
        else ()
    )
    found = []
    for device, fields in listed:
        excluded = (
            _DEVICE_FIELDS - set(fields) - {other for one in fields for other in _TOGETHER.get(one, ())}
        )
        problems: dict[str, list[str]] = {}
        try:
            device.clean_fields(excluded)
        except ValidationError as error:
            problems = error.message_dict
        cn = device.certificate_cn
        if "certificate_cn" in fields and cn and owners.setdefault(cn, device.pk) != device.pk:
            problems.setdefault("certificate_cn", []).append("Another device has this certificate CN.")
        found.append(problems)
    return found


@transaction.atomic
def store_devices(
    new: Sequence[Device],
    changed: Sequence[Device],
    fields: Collection[str],
    credentials: Sequence[Credential] = (),
) -> None:
    """Stores many devices that ``device_problems`` found nothing wrong with, new ones and changed ones.

    Of those that changed these fields are written. ``credentials`` are the cleaned ones of new devices, and
    are recorded with these. Raises IntegrityError where somebody took a name meanwhile.
    """
    Device.objects.bulk_create(new)
    Credential.objects.bulk_create(credentials)
    held: dict[int, list[str]] = {}
    for credential in credentials:
        held.setdefault(credential.device_id, []).append(str(credential))
    announced = []
    for device in new:
        state = {**states.device_state(device, ()), "credentials": frozenset(held.get(device.pk, ()))}
        announced.append(Change(states.DEVICE, device.pk, device.username, None, state))
    if changed:
        now = timezone.now()
        for device in changed:
            device.updated_at = now
        stored = Device.objects.select_for_update().in_bulk([device.pk for device in changed])
        announced += [states.device_update(stored[device.pk], device) for device in changed]
        Device.objects.bulk_update(changed, [*fields, "updated_at"])
    announce(announced)


@transaction.atomic
def store_credentials(new: Sequence[Credential], changed: Sequence[Credential]) -> None:
    """Stores many cleaned credentials, whose secret is a stored form that can be verified.

    One with another secret is announced as a new one: whoever has that secret could not connect before.
    """
    Credential.objects.bulk_create(new)
    before: dict[int, Mapping[str, Any] | None] = {}
    if changed:
        stored = Credential.objects.in_bulk([credential.pk for credential in changed])
        for credential in changed:
            former = stored[credential.pk]
            same = former.encoded == credential.encoded
            before[credential.pk] = states.credential_state(former) if same else None
        Credential.objects.bulk_update(changed, ["encoded", "label", "enabled", "expires_at"])
    announce(
        states.credential_change(credential, before.get(credential.pk), states.credential_state(credential))
        for credential in (*new, *changed)
    )


def groups_named(names: Collection[str]) -> dict[str, DeviceGroup]:
    """The groups with these names; those that were not there are made. Raises ValidationError."""
    groups = {group.name: group for group in DeviceGroup.objects.filter(name__in=names)}
    for name in sorted(set(names) - groups.keys()):
        groups[name] = save_group(DeviceGroup(name=name))
    return groups


@transaction.atomic
def set_memberships(wanted: Sequence[tuple[Device, Collection[DeviceGroup]]]) -> None:
    """Puts each device into exactly these groups, many devices at once."""
    members = Device.groups.through
    target = {(device.pk, group.pk) for device, groups in wanted for group in groups}
    rows = members.objects.filter(device__in=[device for device, _ in wanted]).select_related("devicegroup")
    present = {(row.device_id, row.devicegroup_id): row.pk for row in rows}
    former: dict[int, set[str]] = {}
    for row in rows:
        former.setdefault(row.device_id, set()).add(row.devicegroup.name)
    gone = [pk for pair, pk in present.items() if pair not in target]
    if gone:
        members.objects.filter(pk__in=gone).delete()
    members.objects.bulk_create(
        [members(device_id=device, devicegroup_id=group) for device, group in sorted(target - present.keys())]
    )
    announce(
        states.membership(
            device, frozenset(former.get(device.pk, ())), frozenset(group.name for group in groups)
        )
        for device, groups in wanted
    )


_DEVICE_FIELDS = frozenset(field.name for field in Device._meta.concrete_fields)
# Each is only right together with the other.
_TOGETHER = {
    "client_id_binding": ("client_id",),
    "client_id": ("client_id_binding",),
    "valid_from": ("valid_until",),
    "valid_until": ("valid_from",),
}


def record_sightings(devices: Mapping[int, float], credentials: Mapping[int, float]) -> None:
    """When devices were seen and credentials used last, by id, as seconds since 1970.

    Only ever moves forward, and at most once a minute each. Raises django.db.Error.
    """
    store_seen(devices)
    store_used(credentials)
