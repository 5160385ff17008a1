"""The second factor of staff: a code of an app (TOTP, RFC 6238), or a code kept for when that is gone.

Attempts are throttled by django-otp: after n failures in a row, none is heard for 2^(n-1) seconds. A code is
accepted once. Of the codes to keep, only a digest under the site's SECRET_KEY is stored.
"""

import base64
from secrets import token_bytes
from typing import Any

import segno
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.changes import Change, announce, current_actor
from exhookadmin.staff.history import record
from exhookadmin.staff.states import USER

CODES = 10
_CODE_BYTES = 10  # 80 bits, 16 letters and digits
_DIGEST_CHARACTERS = 16  # what django-otp has room for: 96 bits as base64
NAME = "authenticator app"


def factor_of(user: User) -> TOTPDevice | None:
    """The app that the user has confirmed."""
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return found


def is_missing(user: User) -> bool:
    """Whether the site demands a second factor that this user does not have yet."""
    return bool(settings.REQUIRE_SECOND_FACTOR) and factor_of(user) is None


def prepare(user: User) -> TOTPDevice:
    """The app to be confirmed; the same key until it is, so that a reload does not change the picture."""
    prepared: TOTPDevice
    prepared, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": NAME})
    return prepared


def key_text(factor: TOTPDevice) -> str:
    """The key as apps take it by hand, in groups of four."""
    text = base64.b32encode(factor.bin_key).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def picture(factor: TOTPDevice) -> str:
    """The key as a QR code in SVG, made here: no other site is told."""
    drawn: str = segno.make(factor.config_url, error="m").svg_inline(scale=5, border=4, light="#fff")
    return drawn


@transaction.atomic
def confirm(user: User, code: str) -> list[str] | None:
    """Puts the prepared app in force if the code is its own. Answers the codes to keep, shown only now."""
    factor = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
    if factor is None or factor_of(user) or not factor.verify_token(_plain(code)):
        return None
    factor.confirmed = True
    factor.save()
    _tell(user, "second factor", "off", "on")
    return _new_codes(user)


@transaction.atomic
def replace_codes(user: User) -> list[str]:
    """New codes to keep; the earlier ones are worth nothing any more."""
    _tell(user, "codes to keep", "", "made anew")
    return _new_codes(user)


def codes_left(user: User) -> int:
    """How many of the codes to keep have not been used."""
    return int(StaticToken.objects.filter(device__user=user).count())


@transaction.atomic
def verify(user: User, code: str) -> Any:
    """What the code proves: the app, or the codes to keep, of which it uses one up; None for nothing."""
    plain = _plain(code)
    factor: Any
    # Locked, so that of two equal codes at the same time one is heard first.
    if len(plain) <= 8:
        factor = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
    else:
        factor = StaticDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        plain = _digest(user, plain)
    return factor if factor is not None and factor.verify_token(plain) else None


def seconds_to_wait(user: User) -> int:
    """How long no code is heard after the failures so far; 0 when one is."""
    waits = [0]
    for model in (TOTPDevice, StaticDevice):
        for factor in model.objects.filter(user=user):
            allowed, reason = factor.verify_is_allowed()
            if not allowed:
                waits.append(int((reason["locked_until"] - timezone.now()).total_seconds()) + 1)
    return max(waits)


@transaction.atomic
def give_up(user: User) -> None:
    """The user's own: from now on the password alone logs in."""
    _remove(user)
    _tell(user, "second factor", "on", "off")


@transaction.atomic
def reset(user: User) -> bool:
    """Somebody else's, whose app and codes are gone. Raises NotAllowed. False when there was none."""
    if factor_of(user) is None:
        return False
    before = {"second factor": "on", "is_superuser": user.is_superuser}
    announce([Change(USER, user.pk, user.get_username(), before, {**before, "second factor": "reset"})])
    _remove(user)
    return True


def _remove(user: User) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()


def _new_codes(user: User) -> list[str]:
    kept, _ = StaticDevice.objects.get_or_create(user=user, defaults={"name": "codes to keep"})
    kept.token_set.all().delete()
    codes = [base64.b32encode(token_bytes(_CODE_BYTES)).decode().lower() for _ in range(CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=kept, token=_digest(user, code)) for code in codes)
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _digest(user: User, plain: str) -> str:
    # Base32 knows no 0, 1 and 8, which people read into it.
    read = plain.translate(str.maketrans("018", "olb"))
    digest = salted_hmac("exhookadmin.second_factor", f"{user.pk}:{read}", algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).decode()[:_DIGEST_CHARACTERS]


def _tell(user: User, what: str, before: str, after: str) -> None:
    # One's own account is everybody's to look after: recorded, and not asked for permission.
    change = Change(USER, user.pk, user.get_username(), {what: before}, {what: after})
    record(current_actor(), [change])
