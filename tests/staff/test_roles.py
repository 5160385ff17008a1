"""The roles viewer, operator and administrator: made by ``migrate``, and the same in every installation."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from exhookadmin.staff.roles import ADMINISTRATOR, OPEN_EVERYTHING, OPERATOR, ROLES, VIEWER, permissions_of
from tests.staff.people import member
from tests.web_form import form_data

pytestmark = pytest.mark.django_db


def held(role: str) -> set[str]:
    """What the group has in the database."""
    rows = Permission.objects.filter(group__name=role).values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


@pytest.mark.parametrize("role", ROLES)
def test_migrate_made_the_group_with_its_permissions(role: str) -> None:
    assert held(role) == permissions_of(role)
    assert held(role)


def test_each_role_may_all_that_the_one_below_may() -> None:
    assert permissions_of(VIEWER) < permissions_of(OPERATOR) < permissions_of(ADMINISTRATOR)


def test_a_viewer_only_looks() -> None:
    assert {permission.partition(".")[2].partition("_")[0] for permission in permissions_of(VIEWER)} == {
        "view"
    }


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        ("accounts.view_device", {VIEWER, OPERATOR, ADMINISTRATOR}),
        ("audit.view_event", {VIEWER, OPERATOR, ADMINISTRATOR}),
        ("exhookadmin.view_recordedchange", {VIEWER, OPERATOR, ADMINISTRATOR}),
        ("accounts.add_credential", {OPERATOR, ADMINISTRATOR}),
        ("acl.delete_rule", {OPERATOR, ADMINISTRATOR}),
        ("accounts.change_devicegroup", {OPERATOR, ADMINISTRATOR}),
        (OPEN_EVERYTHING, {ADMINISTRATOR}),
        ("auth.change_user", {ADMINISTRATOR}),
        ("auth.view_user", {ADMINISTRATOR}),
        ("exhookadmin.change_recordedchange", set()),
        ("exhookadmin.delete_recordedchange", set()),
        ("auth.be_superuser", set()),
    ],
)
def test_who_may_what(permission: str, roles: set[str]) -> None:
    assert {role for role in ROLES if member(role).has_perm(permission)} == roles


@pytest.mark.parametrize("app", ["accounts", "acl", "audit", "exhookadmin"])
def test_every_model_can_be_administered(app: str) -> None:
    """A model that a new version brings is covered without anybody thinking of it."""
    for model in apps.get_app_config(app).get_models():
        for verb in model._meta.default_permissions:
            assert f"{app}.{verb}_{model._meta.model_name}" in permissions_of(ADMINISTRATOR)


def test_migrate_puts_back_what_was_changed_and_leaves_other_groups_alone() -> None:
    Group.objects.get(name=VIEWER).permissions.set(Permission.objects.filter(codename="delete_device"))
    Group.objects.get(name=OPERATOR).delete()
    own = Group.objects.create(name="night shift")
    own.permissions.set(Permission.objects.filter(codename="change_device"))
    call_command("migrate", verbosity=0)
    assert held(VIEWER) == permissions_of(VIEWER)
    assert held(OPERATOR) == permissions_of(OPERATOR)
    assert held("night shift") == {"accounts.change_device"}


def test_the_project_s_own_app_is_the_last() -> None:
    """Permissions are made app by app after a migrate; the roles take them when all are there."""
    assert list(apps.get_app_configs())[-1].name == "exhookadmin"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("part", ["change", "delete"])
def test_nobody_changes_a_role_in_the_admin(admin_client: Client, role: str, part: str) -> None:
    group = Group.objects.get(name=role)
    url = reverse(f"admin:auth_group_{part}", args=[group.pk])
    assert admin_client.post(url, {"name": "mine", "permissions": [], "post": "yes"}).status_code == 403
    assert held(role) == permissions_of(role)


def test_no_action_deletes_a_role(admin_client: Client) -> None:
    url = reverse("admin:auth_group_changelist")
    chosen = [str(pk) for pk in Group.objects.values_list("pk", flat=True)]
    admin_client.post(url, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert set(Group.objects.values_list("name", flat=True)) >= set(ROLES)


def test_staff_are_added_in_a_role(admin_client: Client) -> None:
    url = reverse("admin:auth_user_add")
    secret = "correct horse battery"
    operator = Group.objects.get(name=OPERATOR)
    data = form_data(admin_client.get(url), "user_form")
    data |= {"username": "dave", "password1": secret, "password2": secret, "groups": [str(operator.pk)]}
    assert admin_client.post(url, data).status_code == 302
    dave = User.objects.get(username="dave")
    assert dave.is_staff
    assert dave.has_perm("accounts.change_device")
    assert not dave.has_perm(OPEN_EVERYTHING)
