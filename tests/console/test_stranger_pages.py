"""The inbox: who knocks, whom they may have meant to be, and one click to a device. Looking is for all."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.core.binding import Binding
from accounts.models import Device, DeviceGroup
from audit.fact import Fact, Kind
from audit.writer import write_facts
from exhookadmin.console import stranger_pages
from exhookadmin.console.dismissals import dismiss_strangers
from exhookadmin.console.models import Dismissal
from exhookadmin.staff.models import RecordedChange
from tests.staff.people import browser, member

pytestmark = pytest.mark.django_db

INBOX = "/admin/strangers/"
FAN = {"source": "username", "identity": "fan", "reason": "unknown_device"}


def knock(username: str = "", reason: str = "unknown_device", minutes: float = 1, **fields: Any) -> None:
    time = (timezone.now() - timedelta(minutes=minutes)).timestamp()
    known = {"username": username, "client_id": username, "address": "192.0.2.7"} | fields
    write_facts([Fact(Kind.AUTHENTICATE, time=time, allowed=False, reason=reason, **known)])


def inbox(client: Client, query: str = "") -> str:
    answer = client.get(INBOX + query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def near(page: str) -> list[str]:
    """Near misses as they read."""
    found = re.findall(r'<ul class="exhook-near">(.*?)</ul>', page, re.DOTALL)
    items = [item for group in found for item in re.findall(r"<li>(.*?)</li>", group)]
    return [re.sub(r"<[^>]*>", "", item) for item in items]


def test_who_was_refused_is_listed(admin_client: Client):
    knock("<b>fan</b>", cn="fan.example", minutes=5)
    knock("pump", "credential_wrong")
    page = inbox(admin_client)
    assert "<b>fan" not in page
    assert page.index("<strong>pump</strong>") < page.index("<strong>&lt;b&gt;fan")
    for text in (
        "2 waiting",
        "wrong credential",
        "unknown device",
        "192.0.2.7",
        "certificate CN fan.example",
    ):
        assert text in page
    knock("old", minutes=8 * 24 * 60)
    assert "old</strong>" not in inbox(admin_client)


@pytest.mark.parametrize(
    ("device", "sent", "words"),
    [
        pytest.param({"username": "Fan"}, {}, "Fan exists: the name differs by case", id="case"),
        pytest.param({"username": "fan"}, {"username": "fan "},
                     "fan exists: the name differs by spaces or case", id="spaces"),
        pytest.param({"username": "fan", "enabled": False}, {"reason": "device_disabled"},
                     "fan exists but is disabled", id="disabled"),
        pytest.param({"username": "fan"}, {"reason": "client_id_not_bound", "client_id": "other"},
                     "fan exists: client id “other” is not bound to it", id="not bound"),
        pytest.param({"username": "fan"}, {}, "fan exists now: it was added since", id="added since"),
        pytest.param({"username": "dev-1"}, {"client_id": "dev-1"},
                     "dev-1 is named like its client id: it should send that as its username", id="id"),
        pytest.param({"username": "dev-1", "certificate_cn": "cn-1"}, {"cn": "cn-1"},
                     "dev-1 has the CN of its certificate: it should send this device’s username", id="CN"),
        pytest.param({"username": "fän"}, {"username": "fän"}, "fän exists now: it was added since",
                     id="other letters"),
        pytest.param({"username": "somebody"}, {}, None, id="nobody like it"),
    ],
)  # fmt: skip
def test_the_device_that_may_have_been_meant_is_named(
    device: dict[str, Any], sent: dict[str, str], words: str | None, admin_client: Client
):
    services.create_device(**device)
    knock(**{"username": "fan"} | sent)  # type: ignore[arg-type]
    assert near(inbox(admin_client)) == ([words] if words else [])


def test_one_click_makes_a_device_in_a_group_and_leads_to_its_token(admin_client: Client):
    services.save_group(DeviceGroup(name="fans"))
    knock("fan")
    assert "Create device fan" in inbox(admin_client)
    answer = admin_client.post(f"{INBOX}create/", {**FAN, "client_id": "fan", "group": "fans"})
    device = Device.objects.get()
    assert answer["Location"] == reverse("admin:accounts_device_new_token", args=[device.pk])
    assert admin_client.get(answer["Location"]).status_code == 200
    assert device.client_id_binding == Binding.EQUALS_USERNAME
    assert [group.name for group in device.groups.all()] == ["fans"]
    assert RecordedChange.objects.get(kind="accounts.device").actor == "admin"
    assert "0 waiting" in inbox(admin_client)


def test_a_device_is_bound_to_the_client_id_that_knocked(admin_client: Client):
    knock("fan", client_id="f-7")
    admin_client.post(f"{INBOX}create/", {**FAN, "client_id": "f-7"})
    device = Device.objects.get()
    assert (device.client_id_binding, device.client_id) == (Binding.EXACT, "f-7")


@pytest.mark.parametrize(
    ("sent", "form"),
    [
        pytest.param([{"client_id": "a"}, {"client_id": "b"}], "?username=fan", id="several client ids"),
        pytest.param(
            [{"username": "", "client_id": "", "cn": "x"}], "?username=x&amp;certificate_cn=x", id="CN"
        ),
    ],
)
def test_what_one_click_cannot_decide_is_left_to_the_form(
    sent: list[dict[str, str]], form: str, admin_client: Client
):
    for fields in sent:
        knock(**{"username": "fan"} | fields)  # type: ignore[arg-type]
    page = inbox(admin_client)
    assert "Create device" not in page
    [url] = re.findall(r'href="(/admin/accounts/device/add/[^"]*)"', page)
    assert url.endswith(form)
    filled = admin_client.get(url.replace("&amp;", "&")).content.decode()
    assert re.search(r'name="username" value="(fan|x)"', filled)


@pytest.mark.parametrize("reason", ["credential_wrong", "device_disabled", "throttled"])
def test_only_an_unknown_device_can_be_made(reason: str, admin_client: Client):
    knock("fan", reason)
    assert "Create device" not in inbox(admin_client)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        pytest.param({"identity": "pump"}, "exists already", id="there is one"),
        pytest.param({"group": "nobody’s"}, "There is no group", id="no such group"),
    ],
)
def test_what_cannot_be_made_is_told(form: dict[str, str], words: str, admin_client: Client):
    services.create_device("pump")
    answer = admin_client.post(f"{INBOX}create/", {**FAN, **form}, follow=True)
    assert words in answer.content.decode()
    assert [device.username for device in Device.objects.all()] == ["pump"]
    assert not Dismissal.objects.exists()


def test_a_dismissed_stranger_stays_away_until_it_comes_again(admin_client: Client):
    knock("fan")
    admin_client.post(f"{INBOX}dismiss/", FAN)
    assert "0 waiting" in inbox(admin_client)
    assert "by admin" in inbox(admin_client, "?dismissed=")
    knock("fan", "credential_wrong", minutes=-1)
    page = inbox(admin_client)
    assert "1 waiting" in page
    assert "wrong credential" in page
    knock("fan", minutes=-2)
    assert "2 waiting" in inbox(admin_client)


def test_a_stranger_is_dismissed_for_days_and_brought_back(admin_client: Client):
    admin_client.post(f"{INBOX}dismiss/", {**FAN, "days": "30"})
    knock("fan", minutes=-5)
    assert "0 waiting" in inbox(admin_client)
    admin_client.post(f"{INBOX}recall/", FAN)
    assert "1 waiting" in inbox(admin_client)
    assert (
        "one of those offered"
        in admin_client.post(f"{INBOX}dismiss/", {**FAN, "days": "9999999"}, follow=True).content.decode()
    )


def test_old_dismissals_are_forgotten():
    now = timezone.now()
    for name, days, until in (("old", 100, None), ("kept", 100, now + timedelta(days=1)), ("new", 1, None)):
        dismiss_strangers([("username", name, "x")], "admin", now - timedelta(days=days), until)
    dismiss_strangers([], "admin", now)
    assert set(Dismissal.objects.values_list("identity", flat=True)) == {"kept", "new"}


def test_a_viewer_looks_and_cannot_act():
    knock("fan")
    viewer = browser(member("viewer"))
    page = inbox(viewer)
    assert "fan</strong>" in page
    assert "Create device" not in page
    assert "Dismiss" not in page
    for step in ("create", "dismiss", "recall"):
        assert viewer.post(f"{INBOX}{step}/", FAN).status_code == 403
    assert not Device.objects.exists()
    assert not Dismissal.objects.exists()


def test_an_operator_acts():
    knock("fan")
    operator = browser(member("operator"))
    assert "Create device fan" in inbox(operator)
    assert operator.post(f"{INBOX}create/", FAN).status_code == 302
    assert Device.objects.get().username == "fan"


def test_nobody_else_gets_in(django_user_model: Any):
    newcomer = browser(django_user_model.objects.create_user("newcomer", password="x", is_staff=True))
    assert newcomer.get(INBOX).status_code == 403
    for step in ("create", "dismiss", "recall"):
        assert newcomer.post(f"{INBOX}{step}/", FAN).status_code == 403
    assert newcomer.get(f"{INBOX}create/").status_code == 405


@pytest.mark.parametrize("field", ["source", "identity", "reason"])
def test_what_no_form_would_send_is_refused(field: str, admin_client: Client):
    assert admin_client.post(f"{INBOX}dismiss/", {**FAN, field: "x" * 600}).status_code == 403


def test_it_has_pages(admin_client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stranger_pages, "SIZE", 2)
    for number in range(3):
        knock(f"x{number}", minutes=number + 1)
    assert "x2</strong>" not in inbox(admin_client)
    assert "x2</strong>" in inbox(admin_client, "?page=2")
    for query in ("?page=0", "?page=x", "?page=99999999999999", "?page=²"):
        inbox(admin_client, query)


def test_it_costs_the_same_for_many(admin_client: Client, django_assert_max_num_queries: Any):
    for number in range(25):
        knock(f"x{number}", cn=f"cn-{number}")
    with django_assert_max_num_queries(15):
        inbox(admin_client)
