"""Read-only is read-only: every address of the site, visited and sent to by a viewer, changes nothing.

The same requests by a superuser do change things, which is what makes this a proof.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from html.parser import HTMLParser
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib.admin import site
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import get_resolver

from accounts import services
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl
from acl.models import Policy
from audit.fact import Fact, Kind
from audit.models import BrokerNode
from audit.writer import write_facts
from exhookadmin.console.models import SavedSearch
from tests.staff.people import browser, member

pytestmark = pytest.mark.django_db

ONE_S_OWN = (
    "login/",
    "logout/",
    "password_change/",
    "password_change/done/",
    "explorer/save/",
    "explorer/forget/",
)
"""What everybody does with his own account and his own saved searches, and nobody else's."""
NOT_COUNTED = "django_session"
TYPED = {
    "username": "typed-anew", "name": "typed anew", "description": "typed anew", "label": "typed anew",
    "first_name": "Typed", "password": "correct battery staple", "password1": "correct battery staple",
    "password2": "correct battery staple",
}  # fmt: skip


@pytest.fixture(autouse=True)
def world() -> None:
    """A row of everything that has pages."""
    group = services.save_group(DeviceGroup(name="pumps"))
    device = services.create_device("pump-17", groups=[group])
    services.create_token(device)
    services.create_device("off", enabled=False, groups=[group])
    policy = acl.create_policy("own", groups=[group])
    acl.create_rule(policy, "allow", "all", "dev/${clientid}/#")
    acl.create_rule(device, "allow", "all", "a/#")
    write_facts([Fact(Kind.CONNECTED, client_id="pump-17", device="pump-17", device_id=device.pk)])
    BrokerNode.objects.create(name="emqx@one")
    User.objects.create_user("somebody", is_staff=True)
    AccessAttempt.objects.create(username="somebody", ip_address="192.0.2.1", failures_since_start=5)
    Group.objects.create(name="night shift")


def templates() -> list[str]:
    """Every address of the admin, as “accounts/device/%(object_id)s/change/”."""
    resolvers = [get_resolver().namespace_dict[namespace][1] for namespace in ("admin", "console")]
    found = {
        template
        for resolver in resolvers
        for key in resolver.reverse_dict
        for possibilities, *_ in resolver.reverse_dict.getlist(key)
        for template, _ in possibilities
    }
    return sorted(template for template in found if not template.startswith(ONE_S_OWN))


def values(template: str) -> dict[str, Any]:
    """What stands for the placeholders of an address. A new kind of placeholder needs a value here."""
    app, _, rest = template.partition("/")
    model: Any = apps.all_models.get(app, {}).get(rest.partition("/")[0])
    row = model._default_manager.order_by("-pk").first() if model else None
    if model is Group:
        row = Group.objects.get(name="night shift")
    elif model is User:
        row = User.objects.get(username="somebody")
    elif model is Device:
        row = Device.objects.get(username="pump-17")
    device = Device.objects.get(username="pump-17")
    return {
        "object_id": row.pk if row else 1,
        "id": row.pk if row else 1,
        "device_id": device.pk,
        "credential_id": Credential.objects.order_by("pk")[0].pk,
        "content_type_id": 1,
        "app_label": "accounts",
        "url": "nothing-like-it",
        "format": "csv",
        "number": 1,
    }


def addresses() -> list[str]:
    return ["/admin/" + template % values(template) for template in templates()]


class _Forms(HTMLParser):
    """What the forms of a page would send."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        name = own.get("name", "")
        if tag == "form" and own.get("method") == "post":
            self.forms.append({"post": "yes"})
        elif not self.forms or "__prefix__" in name:
            self._select = ""
        elif tag == "input" and name:
            if own.get("type") not in ("checkbox", "radio") or "checked" in own:
                self.forms[-1][name] = own.get("value", "on" if "checked" in own else "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in own:
            self.forms[-1][self._select] = own.get("value", "")
        elif tag == "textarea" and name:
            self.forms[-1][name] = ""


def sendings(page: Any) -> Iterator[dict[str, Any]]:
    """What somebody might send to a page: nothing, and each of its forms, typed anew."""
    yield {"post": "yes"}
    if page.status_code != 200 or not page.headers["Content-Type"].startswith("text/html"):
        return
    parser = _Forms()
    parser.feed(page.content.decode())
    for form in parser.forms:
        yield form | {name: text for name, text in TYPED.items() if name in form}


def actions(path: str) -> Iterator[dict[str, Any]]:
    """Every action of the list at this address, on all of its rows."""
    for model, model_admin in site._registry.items():
        if path != f"/admin/{model._meta.app_label}/{model._meta.model_name}/":
            continue
        request = RequestFactory().get(path)
        request.user = User(is_superuser=True, is_active=True)
        rows = [str(pk) for pk in model._default_manager.values_list("pk", flat=True)]
        for action in model_admin.get_actions(request):
            yield {"action": action, "_selected_action": rows, "post": "yes"}


def digest() -> str:
    """Of every row of every table."""
    found = hashlib.sha256()
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table != NOT_COUNTED:
                cursor.execute(f'SELECT * FROM "{table}"')
                found.update(repr(sorted(map(repr, cursor.fetchall()))).encode())
    return found.hexdigest()


@contextmanager
def staying(client: Client) -> Iterator[None]:
    """Logged in, also after a request that ends its own session and is undone."""
    cookies = copy(client.cookies)
    yield
    client.cookies = cookies


@contextmanager
def changing(before: str) -> Iterator[list[bool]]:
    """Whether what happens inside changes anything. It is undone."""
    writes: list[str] = []
    changed: list[bool] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")) and f'"{NOT_COUNTED}"' not in sql:
            writes.append(sql)
        return execute(sql, *rest)

    with transaction.atomic():
        with connection.execute_wrapper(watch):
            yield changed
        # What was written may have been refused and taken back.
        changed.append(bool(writes) and digest() != before)
        transaction.set_rollback(True)


def walk(superuser: Client, viewer: Client) -> tuple[set[str], set[str]]:
    """Where the superuser changes something, and where the viewer does with the same requests."""
    by_superuser, by_viewer = set[str](), set[str]()
    before = digest()
    for path in addresses():
        with changing(before) as seeing, staying(superuser), staying(viewer):
            page = superuser.get(path)
            viewer.get(path)
        if seeing[0]:
            by_viewer.add(f"GET {path}")
        for data in [*sendings(page), *actions(path)]:
            for sender, found in ((superuser, by_superuser), (viewer, by_viewer)):
                with changing(before) as sending, staying(sender):
                    sender.post(path, data)
                if sending[0]:
                    found.add(path)
    return by_superuser, by_viewer


def test_a_viewer_changes_nothing_that_a_superuser_changes_with_the_same_requests() -> None:
    by_superuser, by_viewer = walk(browser(User.objects.create_superuser("boss")), browser(member("viewer")))
    device, policy = Device.objects.get(username="pump-17"), Policy.objects.get()
    for path in (
        "accounts/device/", "accounts/device/add/", f"accounts/device/{device.pk}/change/",
        f"accounts/device/{device.pk}/delete/", f"accounts/device/{device.pk}/new-token/",
        f"accounts/device/{device.pk}/new-password/", "accounts/devicegroup/", "accounts/devicegroup/add/",
        "acl/policy/", "acl/policy/add/", f"acl/policy/{policy.pk}/delete/", "auth/user/", "auth/user/add/",
        "auth/group/add/", "axes/accessattempt/",
    ):  # fmt: skip
        assert f"/admin/{path}" in by_superuser
    assert len(by_superuser) > 20
    assert by_viewer == set()


def test_a_viewer_sees_what_he_may_look_at_and_nothing_of_staff_and_keys() -> None:
    user = member("viewer")
    viewer = browser(user)
    seen = set()
    for path in addresses():
        if not path.endswith(("/change/", "/history/")):
            continue
        app, model = path.split("/")[2:4]
        may_look = user.has_perm(f"{app}.view_{model}")
        there = apps.get_model(app, model)._default_manager.exists()
        expected = 200 if may_look and there else 302 if may_look else 403
        assert viewer.get(path).status_code == expected or (not there and not may_look), path
        seen |= {f"{app}.{model}"} if expected == 200 else set()
    assert seen >= {
        "accounts.device", "accounts.devicegroup", "acl.policy", "audit.event", "audit.session",
        "exhookadmin.recordedchange",
    }  # fmt: skip
    assert not {name for name in seen if name.startswith(("auth.", "axes.", "exhookadmin.api"))}


def test_a_viewer_saves_searches_for_himself_alone() -> None:
    user = member("viewer")
    save = "/admin/explorer/save/"
    search = {"name": "pump", "query": "device=pump-17"}
    refused = browser(user).post(save, {**search, "shared": "on"}, follow=True)
    assert "not for everybody" in refused.content.decode()
    assert not SavedSearch.objects.exists()
    assert 'name="shared"' not in refused.content.decode()
    browser(user).post(save, search)
    assert not SavedSearch.objects.get().shared


def test_a_viewer_is_offered_nothing_to_press() -> None:
    viewer = browser(member("viewer"))
    device = Device.objects.get(username="pump-17")
    html = viewer.get(f"/admin/accounts/device/{device.pk}/change/").content.decode()
    for words in ("New token", "Rotate", "Set a password", "Revoke", 'name="_save"', "Delete"):
        assert words not in html
    listed = viewer.get("/admin/accounts/device/").content.decode()
    for words in ('value="disable"', 'value="delete_selected"', "device/add/"):
        assert words not in listed
