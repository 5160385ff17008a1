"""Making, finding and ending API keys; `exhookadmin.secrets` tells what one looks like."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.changes import Change, State, announce
from accounts.states import fields_of
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope
from exhookadmin.secrets import identifier_of, new_secret, proves
from exhookadmin.staff.states import API_KEY

PREFIX = "exk_"
# A key that is in use all the time is not written to all the time.
USED_AGAIN_AFTER = timedelta(minutes=1)


@transaction.atomic
def create_key(
    name: str, scopes: Collection[Scope], *, created_by: Any = None, **fields: Any
) -> tuple[ApiKey, str]:
    """A new key. Its text is returned once and stored nowhere. Raises ValidationError naming each field."""
    secret = new_secret(PREFIX)
    key = ApiKey(
        name=name,
        identifier=secret.identifier,
        digest=secret.digest,
        scopes=[str(scope) for scope in scopes],
        created_by=created_by,
        **fields,
    )
    key.full_clean()
    key.save()
    announce([Change(API_KEY, key.pk, key.name, None, _state(key))])
    return key, secret.text


@transaction.atomic
def save_key(key: ApiKey) -> ApiKey:
    """Stores name, scopes, networks and expiry. Raises ValidationError naming each field."""
    key.full_clean()
    before = _state(ApiKey.objects.get(pk=key.pk))
    key.save(update_fields=["name", "scopes", "networks", "expires_at"])
    announce([Change(API_KEY, key.pk, key.name, before, _state(key))])
    return key


@transaction.atomic
def revoke_keys(keys: Any) -> int:
    """Ends keys for good. Answers how many were live."""
    live = keys.filter(revoked_at=None)
    announce(
        Change(API_KEY, key.pk, key.name, {"revoked": False}, {"revoked": True})
        for key in live.select_for_update()
    )
    return int(live.update(revoked_at=timezone.now()))


def find_key(text: str) -> ApiKey | None:
    """The live key that the text proves, if any; takes the same time for an unknown identifier."""
    key = ApiKey.objects.filter(identifier=identifier_of(PREFIX, text)).first()
    proved = proves(PREFIX, text, key.digest if key else None)
    return key if key is not None and proved and key.live else None


def note_use(key: ApiKey, now: datetime) -> None:
    """Keeps ``last_used_at``, to the minute."""
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_AGAIN_AFTER)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def _state(key: ApiKey) -> State:
    fields = fields_of(key, ("name", "networks", "expires_at"))
    return fields | {"scopes": frozenset(key.scopes)}
