"""Keys in the admin: shown once, by the POST that made them."""

import re
from typing import Any

import pytest
from axes.models import AccessLog
from django.contrib.auth.models import User
from django.test import Client

from accounts.models import DeviceGroup
from exhookadmin.api.keys import find_key
from exhookadmin.api.models import ApiKey
from exhookadmin.enrolment.models import EnrolmentKey
from exhookadmin.staff.models import RecordedChange
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db

ADD = "/admin/exhookadmin/apikey/add/"
FACTORY = {
    "name": "factory",
    "scopes": ["devices:read", "check"],
    "networks": "",
    "expires_at_0": "",
    "expires_at_1": "",
}


def test_a_new_key_is_shown_once_and_works(admin_client: Client, admin_user: User):
    answer = admin_client.post(ADD, FACTORY)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [text] = set(re.findall(r"exk_[0-9a-f]+_[\w-]+", answer.content.decode()))
    key = find_key(text)
    assert key is not None
    assert (key.scopes, key.created_by_id) == (["devices:read", "check"], admin_user.pk)
    assert Caller(text)("get", "devices/").status_code == 200
    for path in (f"/admin/exhookadmin/apikey/{key.pk}/change/", "/admin/exhookadmin/apikey/", "/admin/"):
        assert text not in admin_client.get(path).content.decode()
    assert text.split("_", 2)[2] not in str(list(RecordedChange.objects.values()))


def test_a_key_can_be_narrowed_and_revoked(admin_client: Client):
    admin_client.post(ADD, FACTORY)
    key = ApiKey.objects.get()
    page = f"/admin/exhookadmin/apikey/{key.pk}"
    changed = admin_client.post(
        f"/admin/exhookadmin/apikey/{key.pk}/change/", FACTORY | {"scopes": ["check"]}
    )
    assert changed.status_code == 302
    action = {"action": "revoke", "_selected_action": [key.pk]}
    admin_client.post("/admin/exhookadmin/apikey/", action)
    key.refresh_from_db()
    assert (key.scopes, key.state) == (["check"], "revoked")
    assert admin_client.post(f"{page}/delete/", {"post": "yes"}).status_code == 403


def test_what_is_wrong_is_told_at_its_field(admin_client: Client):
    answer = admin_client.post(ADD, FACTORY | {"scopes": [], "networks": "nowhere"})
    assert answer.context["adminform"].form.errors.keys() == {"scopes", "networks"}
    assert not ApiKey.objects.exists()


def test_an_enrolment_key_is_shown_once(admin_client: Client):
    group = DeviceGroup.objects.create(name="pumps")
    sent = {
        "name": "line 3", "group": group.pk, "limit": 5, "expires_at_0": "2099-01-01",
        "expires_at_1": "00:00", "username_prefix": "pump-", "token_days": "",
        "networks": "", "attributes": "",
    }  # fmt: skip
    answer = admin_client.post("/admin/exhookadmin/enrolmentkey/add/", sent)
    assert re.search(r"exe_[0-9a-f]+_[\w-]+", answer.content.decode())
    assert EnrolmentKey.objects.get().state == "live"
    for path in ("enrolmentkey", "enrolmentattempt"):
        assert admin_client.get(f"/admin/exhookadmin/{path}/").status_code == 200


def test_an_enrolment_key_takes_attributes_as_a_device_does(admin_client: Client):
    group = DeviceGroup.objects.create(name="line-3")
    fields = {
        "name": "line 3", "group": group.pk, "username_prefix": "", "limit": 5, "token_days": "",
        "expires_at_0": "2099-01-01", "expires_at_1": "00:00:00", "networks": "192.0.2.0/24",
        "attributes": "site=berlin\nline = 3",
    }  # fmt: skip
    assert admin_client.post("/admin/exhookadmin/enrolmentkey/add/", fields).status_code == 200
    key = EnrolmentKey.objects.get()
    assert key.attributes == {"site": "berlin", "line": "3"}
    assert (
        "site=berlin"
        in admin_client.get(f"/admin/exhookadmin/enrolmentkey/{key.pk}/change/").content.decode()
    )


@pytest.mark.parametrize("page", ["", "add/"])
@pytest.mark.parametrize("enrolment", [False, True])
def test_keys_without_use_say_so(admin_client: Client, settings: Any, page: str, enrolment: bool):
    settings.ENROLMENT = enrolment
    html = admin_client.get(f"/admin/exhookadmin/enrolmentkey/{page}").content.decode()
    assert html.count("Enrolment is switched off") == (0 if enrolment else 1)


@pytest.mark.parametrize(
    ("path", "told"),
    [("exhookadmin/enrolmentattempt", "No enrolments yet"), ("axes/accesslog", "Nothing yet")],
)
def test_a_list_that_never_had_a_row_blames_no_search(admin_client: Client, path: str, told: str):
    AccessLog.objects.all().delete()
    html = admin_client.get(f"/admin/{path}/").content.decode()
    assert told in html
    assert "Nothing matches" not in html
    assert "Nothing matches" in admin_client.get(f"/admin/{path}/?q=nobody").content.decode()


def test_the_number_of_all_keys_is_no_search_result(admin_client: Client):
    admin_client.post(ADD, FACTORY)
    assert "Show all" not in admin_client.get("/admin/exhookadmin/apikey/").content.decode()
