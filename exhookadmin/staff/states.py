"""What is recorded of staff and their groups when they change."""

from collections.abc import Iterable

from django.contrib.auth.models import Group, Permission, User

from accounts.changes import Change
from accounts.states import fields_of

USER = "auth.user"
GROUP = "auth.group"
ATTEMPT = "axes.accessattempt"
API_KEY = "exhookadmin.apikey"

USER_FIELDS = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")


def user_change(
    user: User, groups: Iterable[Group] | None = None, permissions: Iterable[Permission] | None = None
) -> Change:
    """From the user as stored to the user as in memory; None leaves groups or permissions."""
    stored = User.objects.filter(pk=user.pk).first() if user.pk else None
    before = fields_of(stored, USER_FIELDS) if stored else {}
    after = fields_of(user, USER_FIELDS)
    if groups is not None:
        before["groups"] = _names(stored.groups.all() if stored else ())
        after["groups"] = _names(groups)
    if permissions is not None:
        before["permissions"] = _codes(
            stored.user_permissions.select_related("content_type") if stored else ()
        )
        after["permissions"] = _codes(permissions)
    return Change(USER, user.pk, user.get_username(), before if stored else None, after)


def user_deletion(user: User) -> Change:
    state = fields_of(user, USER_FIELDS) | {"groups": _names(user.groups.all())}
    return Change(USER, user.pk, user.get_username(), state, None)


def group_change(group: Group, permissions: Iterable[Permission]) -> Change:
    stored = Group.objects.filter(pk=group.pk).first() if group.pk else None
    before = {"name": stored.name, "permissions": _held(stored)} if stored else None
    after = {"name": group.name, "permissions": _codes(permissions)}
    return Change(GROUP, group.pk, group.name, before, after)


def group_deletion(group: Group) -> Change:
    return Change(GROUP, group.pk, group.name, {"name": group.name, "permissions": _held(group)}, None)


def _held(group: Group) -> frozenset[str]:
    return _codes(group.permissions.select_related("content_type"))


def _codes(permissions: Iterable[Permission]) -> frozenset[str]:
    return frozenset(f"{one.content_type.app_label}.{one.codename}" for one in permissions)


def _names(groups: Iterable[Group]) -> frozenset[str]:
    return frozenset(group.name for group in groups)
