"""The three roles, as groups of Django's with permissions.

They are put in place after every ``migrate``, so that a model that a new version brings is covered
at once; whoever needs another set of permissions makes a further group. docs/security.md tells people.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.db.models import Q

VIEWER = "viewer"
OPERATOR = "operator"
ADMINISTRATOR = "administrator"

OPEN_EVERYTHING = "exhookadmin.open_everything"
"""The permission to make superuser devices, and rules that open everything."""

WRITE = ("add", "change", "delete")


@dataclass(frozen=True, slots=True)
class Grant:
    """These verbs for every model of an app, or for one model: “accounts”, “exhookadmin.recordedchange”."""

    what: str
    verbs: tuple[str, ...]

    def permissions(self) -> Iterator[str]:
        app, _, name = self.what.partition(".")
        models = [apps.get_model(self.what)] if name else list(apps.get_app_config(app).get_models())
        for model in models:
            for verb in self.verbs:
                if verb in model._meta.default_permissions:
                    yield f"{app}.{verb}_{model._meta.model_name}"


_LOOK = (
    Grant("accounts", ("view",)),
    Grant("acl", ("view",)),
    Grant("audit", ("view",)),
    Grant("exhookadmin.recordedchange", ("view",)),
)
_OPERATE = (
    Grant("accounts", WRITE),
    Grant("acl", WRITE),
    Grant("exhookadmin.savedsearch", WRITE),
    Grant("exhookadmin.dismissal", WRITE),
)
_ADMINISTER = (
    Grant("audit", WRITE),
    Grant("exhookadmin", ("view", *WRITE)),
    Grant("auth.user", ("view", *WRITE)),
    Grant("auth.group", ("view", *WRITE)),
    Grant("axes.accessattempt", ("view", "delete")),
    Grant("axes.accesslog", ("view",)),
)

ROLES: dict[str, tuple[Grant, ...]] = {
    VIEWER: _LOOK,
    OPERATOR: _LOOK + _OPERATE,
    ADMINISTRATOR: _LOOK + _OPERATE + _ADMINISTER,
}
_SPECIAL: dict[str, tuple[str, ...]] = {ADMINISTRATOR: (OPEN_EVERYTHING,)}


def permissions_of(role: str) -> frozenset[str]:
    """What the role may do, such as “accounts.change_device”."""
    granted = {permission for grant in ROLES[role] for permission in grant.permissions()}
    return frozenset(granted.union(_SPECIAL.get(role, ())))


def put_in_place(using: str = "default", **signal: Any) -> None:
    """Makes the groups where they are missing, and gives them exactly their permissions.

    Where ``migrate`` went no further than before Django's own groups, there is nothing to do yet.
    """
    if Permission._meta.db_table not in connections[using].introspection.table_names():
        return
    for role in ROLES:
        group, _ = Group.objects.using(using).get_or_create(name=role)
        wanted = Q(pk__in=())
        for permission in permissions_of(role):
            app, codename = permission.split(".")
            wanted |= Q(content_type__app_label=app, codename=codename)
        group.permissions.set(Permission.objects.using(using).filter(wanted))
