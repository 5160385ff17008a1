"""Self-provisioning: a device obtains its own token, once, with a key of its group.

Off unless ``ENROLMENT`` is set. Every attempt is kept, whatever comes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.changes import Actor, Change, Channel, acting, announce
from accounts.core.binding import Binding
from accounts.core.networks import address_allowed, parse_networks
from accounts.models import Device
from accounts.services import create_device, create_token
from accounts.validators import validate_mqtt_name
from exhookadmin.enrolment.models import EnrolmentAttempt, EnrolmentKey
from exhookadmin.secrets import identifier_of, new_secret, proves

PREFIX = "exe_"
KIND = "exhookadmin.enrolmentkey"
LABEL = "enrolled"
MAY = frozenset({"accounts.add_device", "accounts.change_device", "accounts.add_credential"})
"""What an enrolment may do. Not open everything: such devices are made by administrators."""

_TOLD = ("name", "username_prefix", "attributes", "limit", "expires_at", "token_days", "networks")


class Refused(Exception):
    """The reason in words. ``public`` is what the caller is told."""

    def __init__(self, reason: str, public: str = "") -> None:
        super().__init__(reason)
        self.public = public or reason


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that may connect from now on, and its token, which is shown this once."""

    device: Device
    token: str = field(repr=False)
    expires_at: datetime | None = None


@transaction.atomic
def create_key(created_by: Any = None, **fields: Any) -> tuple[EnrolmentKey, str]:
    """A new key. Its text is returned once and stored nowhere. Raises ValidationError naming each field."""
    secret = new_secret(PREFIX)
    key = EnrolmentKey(identifier=secret.identifier, digest=secret.digest, created_by=created_by, **fields)
    key.full_clean()
    key.save()
    announce([Change(KIND, key.pk, key.name, None, _state(key))])
    return key, secret.text


@transaction.atomic
def save_key(key: EnrolmentKey) -> EnrolmentKey:
    """Stores what can be changed of a key. Raises ValidationError naming each field."""
    key.full_clean()
    before = _state(EnrolmentKey.objects.get(pk=key.pk))
    key.save(update_fields=[*_TOLD, "group"])
    announce([Change(KIND, key.pk, key.name, before, _state(key))])
    return key


@transaction.atomic
def revoke_keys(keys: QuerySet[EnrolmentKey]) -> int:
    """Ends keys for good; what they enrolled stays. Answers how many were not revoked yet."""
    live = keys.filter(revoked_at=None)
    announce(
        Change(KIND, key.pk, key.name, {"revoked": False}, {"revoked": True})
        for key in live.select_for_update()
    )
    return live.update(revoked_at=timezone.now())


def enrol(text: str, username: str, client_id: str, address: str, now: datetime) -> Enrolled:
    """Gives a device its token. Raises Refused, and ValidationError naming each wrong field."""
    key = EnrolmentKey.objects.filter(identifier=identifier_of(PREFIX, text)).first()
    known = proves(PREFIX, text, key.digest if key else None)
    attempt = EnrolmentAttempt(
        time=now, key=key if known else None, key_name=key.name if key and known else "",
        username=username, address=address or None, granted=False,
    )  # fmt: skip
    try:
        if key is None or not known:
            raise Refused("This enrolment key is not known.")
        with transaction.atomic(), acting(_actor(key, address)):
            enrolled = _enrol(key, username, client_id, address, now)
            attempt.granted, attempt.device_id = True, enrolled.device.pk
            attempt.save()
            return enrolled
    except (Refused, PermissionDenied, ValidationError) as refusal:
        attempt.granted, attempt.device_id = False, None
        attempt.reason = " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)
        attempt.save()
        if isinstance(refusal, PermissionDenied):
            raise Refused(
                str(refusal), "Devices of this group are not enrolled: ask an administrator."
            ) from None
        raise


def _enrol(key: EnrolmentKey, username: str, client_id: str, address: str, now: datetime) -> Enrolled:
    # Locked first: of two that come at once for the last place, one waits and then finds none.
    key = EnrolmentKey.objects.select_for_update().get(pk=key.pk)
    networks = parse_networks(key.networks.splitlines())
    if key.revoked_at is not None:
        raise Refused("This enrolment key is revoked.")
    if key.expires_at <= now:
        raise Refused("This enrolment key has expired.")
    if networks and not address_allowed(networks, address):
        raise Refused("This enrolment key is not for your address.")
    if key.used >= key.limit:
        raise Refused("This enrolment key is used up.")
    if not username.startswith(key.username_prefix):
        raise Refused(f"The username must begin with “{key.username_prefix}”.")
    # Before a database is asked for it: PostgreSQL knows no text with a NUL.
    try:
        validate_mqtt_name(username)
    except ValidationError as problem:
        raise ValidationError({"username": problem.messages}) from None
    device = _prepared(key, username) or create_device(
        username, groups=[key.group], attributes=key.attributes, **_binding(client_id)
    )
    ends = None if key.token_days is None else now + timedelta(days=key.token_days)
    _, token = create_token(device, LABEL, ends)
    EnrolmentKey.objects.filter(pk=key.pk).update(used=F("used") + 1, last_used_at=now)
    return Enrolled(device, token, ends)


def _prepared(key: EnrolmentKey, username: str) -> Device | None:
    """A device that was entered before, is of the key's group, and never had a credential."""
    device = Device.objects.select_for_update().filter(username=username).first()
    if device is None:
        return None
    if device.credentials.exists() or not device.groups.filter(pk=key.group_id).exists():
        raise Refused("A device with this username exists already.")
    if not device.enabled or device.superuser:
        raise Refused("The device is not to be enrolled.", "A device with this username exists already.")
    return device


def _binding(client_id: str) -> Mapping[str, Any]:
    if not client_id:
        return {"client_id_binding": Binding.EQUALS_USERNAME.value}
    return {"client_id_binding": Binding.EXACT.value, "client_id": client_id}


def _actor(key: EnrolmentKey, address: str) -> Actor:
    return Actor(f"enrolment key {key.name}", Channel.API, address, has_permission=MAY.__contains__)


def _state(key: EnrolmentKey) -> dict[str, Any]:
    told = {name: getattr(key, name) for name in _TOLD} | {"group": key.group.name}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}
