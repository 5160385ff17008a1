"""All devices of groups switched on or off: asked about with the count first, as every step on many is."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.models import Device, DeviceGroup
from exhookadmin.console import group_steps
from tests.console.test_bulk_steps import stored
from tests.recorded import recorded
from tests.staff.people import browser, member
from tests.web_form import form_data

pytestmark = pytest.mark.django_db

LIST = reverse("admin:accounts_devicegroup_changelist")


@pytest.fixture(autouse=True)
def fleet() -> None:
    """“both” is in two groups, and “other” in none."""
    pumps = services.save_group(DeviceGroup(name="pumps"))
    valves = services.save_group(DeviceGroup(name="valves"))
    services.save_group(DeviceGroup(name="nobody’s"))
    services.create_device("pump", groups=[pumps])
    services.create_device("both", groups=[pumps, valves])
    services.create_device("off", groups=[valves], enabled=False)
    services.create_device("other")


def chosen(action: str, *names: str) -> dict[str, Any]:
    groups = DeviceGroup.objects.filter(name__in=names)
    return {"action": action, "_selected_action": [group.pk for group in groups]}


def enabled() -> set[str]:
    return set(Device.objects.filter(enabled=True).values_list("username", flat=True))


@pytest.mark.parametrize("action", ["enable_devices", "disable_devices"])
def test_it_asks_first_with_the_count_and_the_names(admin_client: Client, action: str) -> None:
    before = stored()
    html = admin_client.post(LIST, chosen(action, "pumps", "valves")).content.decode()
    assert "3 devices in “pumps” and “valves”?" in html
    for name in ("both", "off", "pump"):
        assert f">{name}<" in html
    assert "other" not in html
    already = {"enable_devices": "2 of them are enabled", "disable_devices": "1 of them is disabled"}
    assert f"{already[action]} already." in html
    assert stored() == before


@pytest.mark.parametrize(
    ("action", "done", "left"),
    [
        ("disable_devices", "2 devices disabled.", {"other"}),
        ("enable_devices", "1 device enabled.", {"pump", "both", "off", "other"}),
    ],
)
def test_the_answer_switches_them(admin_client: Client, action: str, done: str, left: set[str]) -> None:
    data = form_data(admin_client.post(LIST, chosen(action, "pumps", "valves")), "bulk_form")
    assert done in admin_client.post(LIST, data, follow=True).content.decode()
    assert enabled() == left
    assert len(recorded(actor="admin", kind="accounts.device")) == int(done[0])


def test_it_asks_again_where_other_devices_are_in_them_meanwhile(admin_client: Client) -> None:
    data = form_data(admin_client.post(LIST, chosen("disable_devices", "pumps")), "bulk_form")
    services.join_group(Device.objects.filter(username="other"), DeviceGroup.objects.get(name="pumps"))
    again = admin_client.post(LIST, data)
    assert "Nothing was changed yet" in again.content.decode()
    assert "Disable 3 devices in “pumps”?" in again.content.decode()
    assert enabled() == {"pump", "both", "other"}
    admin_client.post(LIST, form_data(again, "bulk_form"))
    assert enabled() == set()


def test_without_any_device_there_is_nothing_to_ask(admin_client: Client) -> None:
    response = admin_client.post(LIST, chosen("disable_devices", "nobody’s"), follow=True)
    assert "No device is in them" in response.content.decode()


def test_of_many_the_first_are_named(admin_client: Client) -> None:
    pumps = DeviceGroup.objects.get(name="pumps")
    for number in range(12):
        services.create_device(f"a-{number:02}", groups=[pumps])
    html = admin_client.post(LIST, chosen("disable_devices", "pumps")).content.decode()
    assert "a-09" in html
    assert "a-10" not in html
    assert "and 4 more" in html


def test_of_many_groups_the_first_are_named(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_steps, "NAMED", 1)
    html = admin_client.post(LIST, chosen("disable_devices", "pumps", "valves")).content.decode()
    assert "Disable 3 devices in “pumps” and 1 more group?" in html


def test_more_groups_than_the_limit_are_refused(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_steps, "AT_ONCE", 1)
    html = admin_client.post(LIST, chosen("disable_devices", "pumps", "valves"), follow=True).content.decode()
    assert "Choose at most 1 group at once" in html


def test_a_viewer_is_not_offered_it_and_does_nothing_by_it() -> None:
    client = browser(member("viewer"))
    before = stored()
    client.post(LIST, {**chosen("disable_devices", "pumps"), "post": "yes", "counted": "2"})
    assert stored() == before
    assert "disable_devices" not in client.get(LIST).content.decode()


def test_where_one_is_refused_none_is_switched() -> None:
    valves = DeviceGroup.objects.get(name="valves")
    services.create_device("root", superuser=True, enabled=False, groups=[valves])
    client = browser(member("operator"))
    data = form_data(client.post(LIST, chosen("enable_devices", "valves")), "bulk_form")
    assert "Nothing was changed." in client.post(LIST, data, follow=True).content.decode()
    assert "off" not in enabled()


def test_it_costs_the_same_however_many_devices(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    services.store_devices([Device(username=f"many-{number}") for number in range(600)], [], [])
    services.join_group(
        Device.objects.filter(username__startswith="many"), DeviceGroup.objects.get(name="pumps")
    )
    with django_assert_max_num_queries(30):
        asked = admin_client.post(LIST, chosen("disable_devices", "pumps"))
    with django_assert_max_num_queries(30):
        admin_client.post(LIST, form_data(asked, "bulk_form"))
    assert enabled() == {"other"}
