"""Steps on many devices: asked about with the count, taken on all of them or on none."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.core.tokens import token_matches
from accounts.models import Credential, Device, DeviceGroup
from acl.services import create_policy, create_rule
from exhookadmin.console import bulk_steps
from exhookadmin.console.bulk_steps import STEPS
from exhookadmin.staff.models import RecordedChange
from tests.accounts.test_admin import everything_stored
from tests.recorded import recorded
from tests.staff.people import browser, member
from tests.web_form import form_data

pytestmark = pytest.mark.django_db

LIST = reverse("admin:accounts_device_changelist")


@pytest.fixture
def group() -> DeviceGroup:
    return services.save_group(DeviceGroup(name="pumps"))


@pytest.fixture
def fleet(group: DeviceGroup) -> dict[str, Device]:
    """“on” has two live tokens and a password, “off” has a revoked token, “bare” has nothing."""
    fleet = {
        "on": services.create_device("on", groups=[group]),
        "off": services.create_device("off", enabled=False),
        "bare": services.create_device("bare"),
    }
    services.create_token(fleet["on"], "old")
    services.create_token(fleet["on"], "older")
    services.add_password(fleet["on"], "correct horse")
    services.switch_credential(services.create_token(fleet["off"])[0], enabled=False)
    return fleet


def stored() -> list[Any]:
    """Everything that a step may change."""
    tables: list[Any] = [Device, Credential, Device.groups.through, RecordedChange]
    return [list(table.objects.order_by("pk").values()) for table in tables]


def ask(client: Client, action: str, devices: Any) -> Any:
    return client.post(LIST, {"action": action, "_selected_action": [device.pk for device in devices]})


def confirm(client: Client, action: str, devices: Any, **fields: object) -> Any:
    """Sends what the question's form holds, with these fields filled in."""
    asked = form_data(ask(client, action, devices), "bulk_form")
    return client.post(LIST, {**asked, **fields}, follow=True)


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_every_step_asks_first_with_the_count_and_the_names(
    admin_client: Client, fleet: dict[str, Device], step: bulk_steps.Step
) -> None:
    before = stored()
    html = ask(admin_client, step.name, fleet.values()).content.decode()
    assert "3 devices" in html
    for name in fleet:
        assert f">{name}<" in html
    assert step.consequence in html.replace("&#x27;", "'")
    assert stored() == before


def test_of_many_the_first_are_named(admin_client: Client) -> None:
    devices = [services.create_device(f"pump-{number:02}") for number in range(12)]
    html = ask(admin_client, "disable", devices).content.decode()
    assert "pump-09" in html
    assert "and 2 more" in html


@pytest.mark.parametrize(
    ("action", "already", "done", "enabled"),
    [
        ("disable", "1 of them is disabled already.", "2 devices disabled.", set()),
        ("enable", "2 of them are enabled already.", "1 device enabled.", {"on", "off", "bare"}),
    ],
)
def test_switching(
    admin_client: Client, fleet: dict[str, Device], action: str, already: str, done: str, enabled: set[str]
) -> None:
    assert already in ask(admin_client, action, fleet.values()).content.decode()
    assert done in confirm(admin_client, action, fleet.values()).content.decode()
    assert set(Device.objects.filter(enabled=True).values_list("username", flat=True)) == enabled
    switched = recorded(actor="admin", kind="accounts.device")
    assert len(switched) == int(done[0]), "who switched which device is in its history"


def test_joining_and_leaving_a_group(
    admin_client: Client, fleet: dict[str, Device], group: DeviceGroup
) -> None:
    response = confirm(admin_client, "join_group", fleet.values(), group=group.pk)
    assert "2 devices added to “pumps”." in response.content.decode()
    assert group.devices.count() == 3
    response = confirm(admin_client, "leave_group", [fleet["on"], fleet["bare"]], group=group.pk)
    assert "2 devices removed from “pumps”." in response.content.decode()
    assert [device.username for device in group.devices.all()] == ["off"]


@pytest.mark.parametrize("chosen", ["", "999999"], ids=["none", "one that is gone"])
def test_a_group_must_be_chosen(admin_client: Client, fleet: dict[str, Device], chosen: str) -> None:
    response = confirm(admin_client, "join_group", fleet.values(), group=chosen)
    assert list(response.context["form"].errors) == ["group"]


def test_revoking_credentials(admin_client: Client, fleet: dict[str, Device]) -> None:
    question = ask(admin_client, "revoke_credentials", fleet.values()).content.decode()
    assert "3 credentials that are not revoked yet" in question
    done = confirm(admin_client, "revoke_credentials", fleet.values()).content.decode()
    assert "3 credentials revoked." in done
    assert not Credential.objects.filter(enabled=True).exists()


# --- rotating


def rows(response: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode(), newline="")))


def test_rotating_answers_with_the_only_copy_of_the_tokens(
    admin_client: Client, fleet: dict[str, Device]
) -> None:
    question = ask(admin_client, "rotate_tokens", fleet.values()).content.decode()
    assert "2 of them have no live token" in question
    response = confirm(admin_client, "rotate_tokens", fleet.values(), overlap="86400", label="autumn")
    assert response["Content-Type"].startswith("text/csv")
    assert "no-store" in response["Cache-Control"]
    assert response["Content-Disposition"].startswith("attachment; filename=")
    head, (username, token) = rows(response)
    assert (head, username) == (["username", "token"], "on")
    made = Credential.objects.latest("pk")
    assert token_matches(made.encoded, token)
    assert made.label == "autumn"
    ends = Credential.objects.filter(label__in=["old", "older"]).values_list("expires_at", flat=True)
    assert all(end and end <= timezone.now() + timedelta(days=1) for end in ends)
    assert token.removeprefix("exh_") not in everything_stored()


def test_sending_the_question_again_rotates_nothing(admin_client: Client, fleet: dict[str, Device]) -> None:
    data = form_data(ask(admin_client, "rotate_tokens", fleet.values()), "bulk_form")
    assert len(rows(admin_client.post(LIST, data))) == 2
    again = admin_client.post(LIST, data)
    assert "Nothing was made this time" in again.content.decode()
    assert Credential.objects.filter(device=fleet["on"]).count() == 4


def test_without_any_live_token_nothing_is_made(admin_client: Client, fleet: dict[str, Device]) -> None:
    response = confirm(admin_client, "rotate_tokens", [fleet["off"], fleet["bare"]])
    assert "None of these devices has a live token" in response.content.decode()


def test_a_name_that_a_spreadsheet_would_calculate_is_guarded() -> None:
    assert rows(bulk_steps.tokens_file([("=1+1", "a"), ('say "a,b"', "b")]))[1:] == [
        ["'=1+1", "a"],
        ['say "a,b"', "b"],
    ]


# --- who, and how many


def test_more_than_the_limit_is_refused(
    admin_client: Client, fleet: dict[str, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_steps, "AT_ONCE", 2)
    response = admin_client.post(
        LIST, {"action": "disable", "_selected_action": [1], "select_across": "1", "post": "yes"}, follow=True
    )
    assert "Choose at most 2 devices at once" in response.content.decode()
    assert set(Device.objects.filter(enabled=True).values_list("username", flat=True)) == {"on", "bare"}


@pytest.mark.parametrize("step", STEPS, ids=[step.name for step in STEPS])
def test_a_viewer_takes_no_step(fleet: dict[str, Device], group: DeviceGroup, step: bulk_steps.Step) -> None:
    client = browser(member("viewer"))
    before = stored()
    for data in ({}, {"post": "yes", "group": group.pk, "overlap": "0"}):
        client.post(
            LIST,
            {"action": step.name, "_selected_action": [device.pk for device in fleet.values()], **data},
        )
    assert stored() == before
    assert f'value="{step.name}"' not in client.get(LIST).content.decode()


def test_of_an_operator_s_step_that_is_refused_for_one_nothing_stays(fleet: dict[str, Device]) -> None:
    root = services.create_device("root", superuser=True)
    services.create_token(root)
    client = browser(member("operator"))
    response = confirm(client, "rotate_tokens", [fleet["on"], root])
    assert "Nothing was changed." in response.content.decode()
    assert Credential.objects.count() == 5
    assert not Credential.objects.exclude(expires_at=None).exists()


@pytest.mark.parametrize("number", [10, 200])
@pytest.mark.parametrize("action", ["join_group", "leave_group", "enable", "disable", "rotate_tokens"])
def test_an_operator_s_step_costs_the_same_however_many_devices_it_is_taken_on(
    group: DeviceGroup, django_assert_max_num_queries: Any, action: str, number: int
) -> None:
    crowd = services.save_group(DeviceGroup(name="crowd"))
    devices = [Device(username=f"pump-{one:03}", enabled=action != "enable") for one in range(number)]
    tokens = [Credential(device=device, kind="token", encoded="!") for device in devices]
    services.store_devices(devices, [], [], tokens)
    if action == "leave_group":
        services.join_group(Device.objects.all(), crowd)
    client = browser(member("operator"))
    data = form_data(ask(client, action, devices), "bulk_form")
    before = RecordedChange.objects.count()
    fields = {"group": crowd.pk} if action.endswith("group") else {}
    with django_assert_max_num_queries(40):
        response = client.post(LIST, {**data, **fields})
    if action == "rotate_tokens":
        assert len(rows(response)) == 1 + number
    else:
        assert response.status_code == 302
    told = RecordedChange.objects.order_by("pk")[before:]
    assert {change.part_of_id for change in told} == {device.pk for device in devices}


def test_in_a_step_on_many_a_group_that_opens_everything_is_refused_for_all(fleet: dict[str, Device]) -> None:
    backends = services.save_group(DeviceGroup(name="backends"))
    policy = create_policy("everything", groups=[backends])
    create_rule(policy, "allow", "all", "#")
    before = stored()
    client = browser(member("operator"))
    response = confirm(client, "join_group", fleet.values(), group=backends.pk)
    assert re.search(
        "Policy “everything” opens everything, then to “(on|off|bare)” too", response.content.decode()
    )
    assert stored() == before
