"""Staff in the three roles, and browsers in which they are logged in."""

from django.contrib.auth.models import Group, User
from django.test import Client

from accounts.changes import Actor, Channel

PASSWORD = "correct horse battery"


def member(role: str, name: str = "") -> User:
    """Somebody in this role, named like it unless told."""
    user = User.objects.create_user(name or role, password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def actor(user: User) -> Actor:
    return Actor(user.username, Channel.API, "192.0.2.7", user.pk, user.has_perm)
