"""Who changes something when a key calls: its scopes, as the permissions that the services ask for."""

from django.http import HttpRequest

from accounts.changes import Actor, Channel
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope
from exhookadmin.staff.actors import client_address
from exhookadmin.staff.roles import OPEN_EVERYTHING, WRITE

_WRITTEN = {
    "accounts.{}_device": Scope.DEVICES_WRITE,
    "accounts.{}_devicegroup": Scope.DEVICES_WRITE,
    "accounts.{}_credential": Scope.CREDENTIALS_WRITE,
    "acl.{}_policy": Scope.POLICIES_WRITE,
    "acl.{}_rule": Scope.POLICIES_WRITE,
}
SCOPES: dict[str, Scope] = {
    permission.format(verb): scope for permission, scope in _WRITTEN.items() for verb in WRITE
} | {OPEN_EVERYTHING: Scope.OPEN_EVERYTHING}
"""The scope that stands for a permission. What is not here no key may do."""


def key_actor(key: ApiKey, request: HttpRequest) -> Actor:
    """The key as the one who acts, by its name."""

    def has_permission(permission: str) -> bool:
        scope = SCOPES.get(permission)
        return scope is not None and key.may(scope)

    return Actor(f"key {key.name}", Channel.API, client_address(request), has_permission=has_permission)
