"""All writes to staff and their groups. Each raises NotAllowed where the current actor may not do it."""

from collections.abc import Iterable

from axes.models import AccessAttempt
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import QuerySet

from accounts.changes import Change, announce
from exhookadmin.staff import states


@transaction.atomic
def save_user(
    user: User, groups: Iterable[Group] | None = None, permissions: Iterable[Permission] | None = None
) -> User:
    """Stores a member of the staff; None leaves groups or single permissions as they are."""
    groups = None if groups is None else list(groups)
    permissions = None if permissions is None else list(permissions)
    change = states.user_change(user, groups, permissions)
    user.save()
    if groups is not None:
        user.groups.set(groups)
    if permissions is not None:
        user.user_permissions.set(permissions)
    announce([change.stored_as(user.pk)])
    return user


@transaction.atomic
def delete_users(users: QuerySet[User]) -> None:
    """Deletes staff; the history keeps their names."""
    announce([states.user_deletion(user) for user in users])
    users.delete()


@transaction.atomic
def forgive(attempts: QuerySet[AccessAttempt]) -> None:
    """Forgets failed logins, so that whoever they locked out may try again."""
    announce(
        Change(states.ATTEMPT, one.pk, one.username or "", {"failures": one.failures_since_start}, None)
        for one in attempts
    )
    attempts.delete()


@transaction.atomic
def save_group(group: Group, permissions: Iterable[Permission]) -> Group:
    """Stores a group of staff with its permissions."""
    permissions = list(permissions)
    change = states.group_change(group, permissions)
    group.save()
    group.permissions.set(permissions)
    announce([change.stored_as(group.pk)])
    return group


@transaction.atomic
def delete_groups(groups: QuerySet[Group]) -> None:
    """Deletes groups of staff; their members stay, without what the groups allowed."""
    announce([states.group_deletion(group) for group in groups])
    groups.delete()
