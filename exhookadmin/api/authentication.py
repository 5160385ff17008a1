"""Who is calling: a key in ``Authorization: Bearer``, from an address that the key may be used from."""

from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from accounts.core.networks import address_allowed, parse_networks
from exhookadmin.api.keys import find_key, note_use
from exhookadmin.api.models import ApiKey
from exhookadmin.staff.actors import client_address

SCHEME = "Bearer"


class KeyAuthentication(BaseAuthentication):
    """Answers 401 to everybody without a live key; which part was wrong is not said."""

    def authenticate(self, request: Request) -> tuple[ApiKey, str] | None:
        scheme, _, text = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != SCHEME.lower():
            return None
        key = find_key(text.strip())
        if key is None or not _may_come_from(key, client_address(request._request)):
            raise exceptions.AuthenticationFailed(
                "This key is unknown, expired, revoked or not for your address."
            )
        note_use(key, timezone.now())
        return key, text.strip()

    def authenticate_header(self, request: Request) -> str:
        return f'{SCHEME} realm="ExHook Admin"'


def _may_come_from(key: ApiKey, address: str) -> bool:
    networks = parse_networks(key.networks.splitlines())
    return not networks or address_allowed(networks, address)
