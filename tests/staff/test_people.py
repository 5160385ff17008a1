"""Those who use this site: what they see of it, and that nobody makes himself a superuser."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from tests.web_form import form_data

pytestmark = pytest.mark.django_db

USERS = reverse("admin:auth_user_changelist")


def staff(*permissions: str) -> tuple[Client, User]:
    user = User.objects.create_user("carol", password="correct horse battery", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client, user


def url_of(user: User, part: str = "change") -> str:
    return reverse(f"admin:auth_user_{part}", args=[user.pk])


def sidebar(client: Client) -> list[str]:
    html = client.get(reverse("admin:index")).content.decode()
    navigation = html.split('id="nav-sidebar-apps"')[1].split('id="main"')[0]
    return re.findall(r"<span>([^<]+)</span>", navigation)


def test_the_sidebar_leads_to_everything(admin_client: Client) -> None:
    assert sidebar(admin_client) == [
        "Devices", "Groups", "Policies", "Sessions", "Broker nodes", "Audit log", "Strangers", "Explain",
        "Changes",
        "API keys", "Enrolment keys", "Enrolments", "Users", "User groups", "Logins", "Failed logins",
    ]  # fmt: skip


def test_the_sidebar_shows_what_one_may_see() -> None:
    client, _ = staff("view_event", "change_policy")
    assert sidebar(client) == ["Policies", "Audit log", "Strangers"]


def test_the_site_has_its_name(admin_client: Client) -> None:
    html = admin_client.get(reverse("admin:index")).content.decode()
    assert re.search(r"<title>[^<]*ExHook Admin[^<]*</title>", html)
    assert "ExHook Admin" in Client().get(reverse("admin:login")).content.decode()


@pytest.mark.parametrize("path", ["", "accounts/device/", "audit/event/", "accounts/device/1/new-token/"])
def test_nothing_is_shown_before_the_login(path: str) -> None:
    response = Client().get(reverse("admin:index") + path)
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


def test_staff_are_added_with_a_password(admin_client: Client) -> None:
    url = reverse("admin:auth_user_add")
    data = form_data(admin_client.get(url), "user_form")
    secret = "correct horse battery"
    admin_client.post(url, {**data, "username": "dave", "password1": secret, "password2": secret})
    assert User.objects.get(username="dave").check_password(secret)
    weak = admin_client.post(url, {**data, "username": "eve", "password1": "short", "password2": "short"})
    assert "at least 12 characters" in weak.content.decode()


def test_a_superuser_makes_superusers(admin_client: Client) -> None:
    _, carol = staff()
    data = form_data(admin_client.get(url_of(carol)), "user_form")
    assert admin_client.post(url_of(carol), {**data, "is_superuser": "on"}).status_code == 302
    carol.refresh_from_db()
    assert carol.is_superuser


def test_nobody_else_does() -> None:
    client, carol = staff("view_user", "change_user")
    group = Group.objects.create(name="all rights")
    data = form_data(client.get(url_of(carol)), "user_form")
    rights = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    forged: dict[str, Any] = {"is_superuser": "on", "groups": [str(group.pk)], "user_permissions": rights}
    assert client.post(url_of(carol), {**data, "first_name": "Carol", **forged}).status_code == 302
    carol.refresh_from_db()
    assert carol.first_name == "Carol"
    assert not carol.is_superuser
    assert not carol.groups.exists()
    assert carol.user_permissions.count() == 2


@pytest.mark.parametrize("part", ["change", "delete", "password"])
def test_the_account_of_a_superuser_is_out_of_reach_of_others(part: str) -> None:
    client, _ = staff("view_user", "change_user", "delete_user")
    root = User.objects.create_superuser("root", password="their own password")
    url = f"{USERS}{root.pk}/password/" if part == "password" else url_of(root, part)
    secret = "taken over now"
    data = {"username": "root", "post": "yes", "password1": secret, "password2": secret}
    assert client.post(url, data).status_code == 403
    assert User.objects.get(username="root").check_password("their own password")


def test_no_action_deletes_a_superuser_for_others() -> None:
    client, _ = staff("view_user", "change_user", "delete_user")
    root = User.objects.create_superuser("root")
    client.post(USERS, {"action": "delete_selected", "_selected_action": [str(root.pk)], "post": "yes"})
    assert User.objects.filter(username="root").exists()


def test_groups_of_staff_hold_permissions(admin_client: Client) -> None:
    url = reverse("admin:auth_group_add")
    right = Permission.objects.get(codename="view_event")
    admin_client.post(url, {"name": "auditors", "permissions": [str(right.pk)]})
    assert list(Group.objects.get(name="auditors").permissions.all()) == [right]
