"""Devices, their credentials and groups, as staff see and change them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session as WebSession
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.core.tokens import token_matches
from accounts.models import Credential, Device, DeviceGroup
from accounts.passwords import password_matches
from tests.query_count import queries_of
from tests.recorded import recorded
from tests.web_form import Data, form_data

pytestmark = pytest.mark.django_db

LIST = reverse("admin:accounts_device_changelist")
ADD = reverse("admin:accounts_device_add")
TOKEN = re.compile(r"exh_[A-Za-z0-9_-]{32}")


def page(device: Device, *parts: object) -> str:
    return "".join(
        [reverse("admin:accounts_device_change", args=[device.pk]).removesuffix("change/")]
        + [f"{part}/" for part in parts or ("change",)]
    )


def add(client: Client, **fields: Any) -> Any:
    return client.post(ADD, {**form_data(client.get(ADD), "device_form"), **fields})


def change(client: Client, device: Device, **fields: Any) -> Any:
    url = page(device)
    return client.post(url, {**form_data(client.get(url), "device_form"), **fields})


def field_errors(response: Any) -> dict[str, str]:
    assert response.status_code == 200, "the form was accepted"
    errors = response.context["adminform"].form.errors
    return {field: " ".join(texts) for field, texts in errors.items()}


def the_token(response: Any) -> str:
    found = set(TOKEN.findall(response.content.decode()))
    assert len(found) == 1
    return found.pop()


def everything_stored() -> str:
    """The text of every row of every table."""
    with connection.cursor() as cursor:
        texts = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            texts += [repr(row) for row in cursor.fetchall()]
    texts += [repr(session.get_decoded()) for session in WebSession.objects.all()]
    return "\n".join(texts)


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", password="unused", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    client = Client()
    client.force_login(user)
    return client


# --- the list


def make_devices(first: int, count: int) -> None:
    groups = [DeviceGroup.objects.create(name=f"group {first}-{number}") for number in range(3)]
    for number in range(first, first + count):
        device = services.create_device(f"pump-{number:04}", groups=groups[: number % 4])
        services.create_token(device)
        services.create_token(device, expires_at=timezone.now() + timedelta(days=1))


def test_the_list_costs_the_same_however_many_devices_it_shows(admin_client: Client) -> None:
    make_devices(0, 3)
    few = queries_of(admin_client, LIST)
    make_devices(100, 30)
    many = queries_of(admin_client, LIST)
    assert len(many) == len(few)
    assert not [sql for sql in many if "COUNT(" in sql]


def test_the_list_never_reads_a_stored_secret(admin_client: Client) -> None:
    make_devices(0, 1)
    assert not [sql for sql in queries_of(admin_client, LIST) if '"encoded"' in sql]


@pytest.fixture
def fleet() -> dict[str, Device]:
    now, day = timezone.now(), timedelta(days=1)
    pumps = services.save_group(DeviceGroup(name="pumps"))
    fleet = {
        "plain": services.create_device("plain", description="by the river", groups=[pumps]),
        "off": services.create_device("off", enabled=False),
        "root": services.create_device("root", superuser=True, certificate_cn="root.example.com"),
        "early": services.create_device("early", valid_from=now + day),
        "late": services.create_device("late", valid_until=now - day),
        "soon": services.create_device("soon", valid_until=now + day),
        "bound": services.create_device("bound", client_id_binding="prefix", client_id="van-"),
    }
    services.create_token(fleet["plain"])
    services.switch_credential(services.create_token(fleet["off"])[0], enabled=False)
    return fleet


def listed(client: Client, query: str) -> set[str]:
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 200
    return {device.username for device in response.context["cl"].result_list}


ALL = {"plain", "off", "root", "early", "late", "soon", "bound"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ALL, id="everything"),
        pytest.param("q=plai", {"plain"}, id="search: username"),
        pytest.param("q=RIVER", {"plain"}, id="search: description"),
        pytest.param("q=van", {"bound"}, id="search: bound client id"),
        pytest.param("q=root.example", {"root"}, id="search: certificate CN"),
        pytest.param("q=a%00b", ALL, id="search: NUL is refused"),
        pytest.param("enabled__exact=0", {"off"}, id="disabled"),
        pytest.param("superuser__exact=1", {"root"}, id="superuser"),
        pytest.param("client_id_binding__exact=prefix", {"bound"}, id="binding"),
        pytest.param("validity=not-yet", {"early"}, id="not yet valid"),
        pytest.param("validity=over", {"late"}, id="no longer valid"),
        pytest.param("validity=soon", {"soon"}, id="ends soon"),
        pytest.param("validity=valid", ALL - {"early", "late"}, id="valid now"),
        pytest.param("validity=nonsense", ALL, id="unknown validity"),
        pytest.param("credential=live", {"plain"}, id="with a live credential"),
        pytest.param("credential=none", ALL - {"plain"}, id="without a live credential"),
    ],
)
def test_search_and_filters(
    admin_client: Client, fleet: dict[str, Device], query: str, expected: set[str]
) -> None:
    assert listed(admin_client, query) == expected


@pytest.mark.parametrize("query", ["q=plai", "enabled__exact=0", "validity=soon", "credential=none", "p=2"])
def test_no_search_and_no_filter_counts(admin_client: Client, fleet: dict[str, Device], query: str) -> None:
    queries = queries_of(admin_client, f"{LIST}?{query}")
    assert not [sql for sql in queries if "COUNT(" in sql]
    assert len(queries) <= 15


def test_filter_by_group(admin_client: Client, fleet: dict[str, Device]) -> None:
    group = DeviceGroup.objects.get()
    assert listed(admin_client, f"groups__id__exact={group.pk}") == {"plain"}


def test_the_list_says_what_state_each_device_is_in(admin_client: Client, fleet: dict[str, Device]) -> None:
    html = admin_client.get(LIST).content.decode()
    rows = {
        match[1]: re.sub(r"<[^>]+>|\s+", " ", match[0])
        for match in re.findall(
            r"(<tr class=\"data-row.*?<strong[^>]*>(\w+)</strong>.*?</tr>)", html, re.DOTALL
        )
    }
    assert "enabled" in rows["plain"]
    assert "1 live" in rows["plain"]
    assert "disabled" in rows["off"]
    assert "1 revoked" in rows["off"]
    assert "not yet valid" in rows["early"]
    assert "expired" in rows["late"]
    assert "certificate" in rows["root"]
    assert "van-…" in rows["bound"]


def test_an_empty_list_leads_to_the_first_device(admin_client: Client) -> None:
    html = admin_client.get(LIST).content.decode()
    assert "Add the first device" in html
    assert f'href="{ADD}"' in html


def test_an_empty_list_offers_nothing_to_those_who_may_not_add() -> None:
    assert "Add the first device" not in staff("view_device").get(LIST).content.decode()


def test_a_search_without_result_says_so(admin_client: Client, fleet: dict[str, Device]) -> None:
    html = admin_client.get(f"{LIST}?q=nobody").content.decode()
    assert "Nothing matches" in html
    assert "Add the first device" not in html


def test_groups_are_chosen_by_typing(admin_client: Client, fleet: dict[str, Device]) -> None:
    query = {"app_label": "accounts", "model_name": "device", "field_name": "groups", "term": "pum"}
    found = admin_client.get(reverse("admin:autocomplete"), query).json()["results"]
    assert [result["text"] for result in found] == ["pumps"]


def test_several_devices_are_deleted_after_a_question(admin_client: Client, fleet: dict[str, Device]) -> None:
    data: Data = {
        "action": "delete_selected",
        "_selected_action": [str(fleet["plain"].pk), str(fleet["off"].pk)],
    }
    question = admin_client.post(LIST, data).content.decode()
    assert "Credentials: 2" in question
    assert Device.objects.count() == len(ALL)
    admin_client.post(LIST, {**data, "post": "yes"})
    assert set(Device.objects.values_list("username", flat=True)) == ALL - {"plain", "off"}


# --- adding


def test_a_new_device_gets_a_token_that_is_shown_once_and_stored_nowhere(admin_client: Client) -> None:
    response = add(admin_client, username="pump-17")
    token = the_token(response)
    device = Device.objects.get()
    assert token_matches(device.credentials.get().encoded, token)
    assert "no-store" in response["Cache-Control"]
    stored = everything_stored()
    assert "pump-17" in stored
    assert token not in stored
    assert token.removeprefix("exh_") not in stored
    for url in (page(device), page(device, "history"), LIST, page(device, "new-token")):
        assert not TOKEN.search(admin_client.get(url).content.decode())


def test_sending_the_form_again_makes_no_second_token(admin_client: Client) -> None:
    data = {**form_data(admin_client.get(ADD), "device_form"), "username": "pump-17"}
    assert TOKEN.search(admin_client.post(ADD, data).content.decode())
    again = admin_client.post(ADD, data)
    assert "exists already" in field_errors(again)["username"]
    assert not TOKEN.search(again.content.decode())
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_the_token_is_shown_whichever_button_saved(admin_client: Client, button: str) -> None:
    assert the_token(add(admin_client, username="pump-17", **{button: "1"}))


def test_without_the_tick_there_is_no_token(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD), "device_form")
    assert data.pop("generate_token") == "on", "a token is the default"
    response = admin_client.post(ADD, {**data, "username": "pump-17"})
    assert response.status_code == 302
    assert not Credential.objects.exists()


def test_a_new_device_may_have_a_password_instead(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD), "device_form")
    del data["generate_token"]
    response = admin_client.post(ADD, {**data, "username": "alice", "password": " correct horse "})
    assert response.status_code == 302
    assert password_matches(Credential.objects.get().encoded, " correct horse ")
    assert "correct horse" not in everything_stored()


def test_the_form_explains_the_binding_and_starts_with_the_safe_one(admin_client: Client) -> None:
    response = admin_client.get(ADD)
    assert "Protects other devices from this one" in response.content.decode()
    assert form_data(response, "device_form")["client_id_binding"] == "equals_username"


REFUSALS = [
    pytest.param({"username": ""}, "username", "required", id="no username"),
    pytest.param({"username": "taken"}, "username", "exists already", id="username taken"),
    pytest.param({"username": "a\x00b"}, "username", "Null characters", id="NUL in the username"),
    pytest.param({"username": "x" * 513}, "username", "512", id="username too long"),
    pytest.param(
        {"client_id_binding": "prefix", "client_id": "fleet1"}, "client_id", "“fleet1-”", id="bare prefix"
    ),
    pytest.param({"client_id_binding": "exact"}, "client_id", "“pump-17”", id="exactly nothing"),
    pytest.param({"client_id": "left over"}, "client_id", "Leave this empty", id="client id without a use"),
    pytest.param({"networks": "10.0.0.0/8\n10.0.0.7/8"}, "networks", "write 10.0.0.0/8", id="host bits"),
    pytest.param({"networks": "anywhere"}, "networks", "192.0.2.0/24", id="no network"),
    pytest.param(
        {
            "valid_from_0": "2026-02-01",
            "valid_from_1": "00:00",
            "valid_until_0": "2026-01-01",
            "valid_until_1": "00:00",
        },
        "valid_until",
        "later than “valid from”",
        id="ends before it starts",
    ),
    pytest.param({"certificate_cn": "taken.example.com"}, "certificate_cn", "Another device", id="CN taken"),
    pytest.param({"attributes": "site=berlin\nline 4"}, "attributes", "Line 2", id="attribute without ="),
    pytest.param({"attributes": "site=a\nsite=b"}, "attributes", "twice", id="attribute twice"),
    pytest.param({"attributes": "si te=berlin"}, "attributes", "“site_id”", id="attribute name"),
    pytest.param({"attributes": "site=" + "x" * 257}, "attributes", "256", id="attribute too long"),
    pytest.param({"password": "exh_" + "x" * 32}, "password", "generated token", id="password like a token"),
    pytest.param({"password": "x" * 65_536}, "password", "65,535", id="password over MQTT’s limit"),
]


@pytest.mark.parametrize(("fields", "field", "words"), REFUSALS)
def test_wrong_input_is_refused_where_it_was_typed(
    admin_client: Client, fields: dict[str, str], field: str, words: str
) -> None:
    services.create_device("taken", certificate_cn="taken.example.com")
    errors = field_errors(add(admin_client, **{"username": "pump-17", **fields}))
    assert list(errors) == [field]
    assert words in errors[field]
    assert Device.objects.count() == 1
    assert not Credential.objects.exists()


def test_attributes_and_networks_are_stored_as_they_are_compared(admin_client: Client) -> None:
    add(admin_client, username="pump-17", attributes=" site = berlin \n\nline=4=b", networks=" 192.0.2.1 \n")
    device = Device.objects.get()
    assert device.attributes == {"site": "berlin", "line": "4=b"}
    assert device.networks == "192.0.2.1/32"
    data = form_data(admin_client.get(page(device)), "device_form")
    assert str(data["attributes"]).splitlines() == ["line=4=b", "site=berlin"]


def test_staff_without_the_right_to_credentials_add_devices_without_one() -> None:
    client = staff("add_device", "view_device")
    response = add(client, username="pump-17", generate_token="on", password="smuggled in")
    assert response.status_code == 302
    assert Device.objects.count() == 1
    assert not Credential.objects.exists()


# --- changing


@pytest.fixture
def pump() -> Device:
    return services.create_device("pump-17")


def test_a_change_is_saved_with_its_groups(admin_client: Client, pump: Device) -> None:
    group = services.save_group(DeviceGroup(name="pumps"))
    services.create_token(pump, "spare")
    response = change(admin_client, pump, description="by the river", groups=[str(group.pk)])
    assert response.status_code == 302
    pump.refresh_from_db()
    assert pump.description == "by the river"
    assert list(pump.groups.all()) == [group]
    assert recorded(actor="admin") == ["changed pump-17: description → by the river; groups → pumps"]
    history = admin_client.get(page(pump, "history")).content.decode()
    for words in ("by the river", "admin", "the admin, from 127.0.0.1", "token “"):
        assert words in history


def test_the_page_shows_the_state_of_each_credential_and_no_secret(
    admin_client: Client, pump: Device
) -> None:
    services.create_token(pump, "new one")
    services.create_token(pump, "old one", timezone.now() - timedelta(days=1))
    services.switch_credential(services.add_password(pump, "correct horse", "lost one"), enabled=False)
    html = admin_client.get(page(pump)).content.decode()
    text = re.sub(r"<[^>]+>|\s+", " ", html)
    for label, state in (("new one", "live"), ("old one", "expired"), ("lost one", "revoked")):
        assert re.search(rf"“{label}”\s+{state}", text)
    for credential in Credential.objects.all():
        assert credential.encoded not in html


def test_a_forged_form_changes_no_credential(admin_client: Client, pump: Device) -> None:
    credential, _ = services.create_token(pump)
    change(
        admin_client,
        pump,
        **{
            "credentials-TOTAL_FORMS": "1",
            "credentials-INITIAL_FORMS": "1",
            "credentials-0-id": str(credential.pk),
            "credentials-0-enabled": "",
            "credentials-0-encoded": "sha256$salt$digest",
            "credentials-0-DELETE": "on",
        },
    )
    assert Credential.objects.get().encoded == credential.encoded
    assert Credential.objects.get().enabled


def test_errors_are_shown_although_a_credential_s_row_names_none(admin_client: Client, pump: Device) -> None:
    services.create_token(pump, "gone soon")
    data = form_data(admin_client.get(page(pump)), "device_form") | {"username": ""}
    data |= {"credentials-INITIAL_FORMS": "1", "credentials-0-id": "rubbish"}
    answer = admin_client.post(page(pump), data)
    assert answer.status_code == 200
    assert "username" in answer.context["adminform"].form.errors


def test_a_deleted_device_takes_its_credentials_along(admin_client: Client, pump: Device) -> None:
    services.create_token(pump)
    assert "Credentials: 1" in admin_client.get(page(pump, "delete")).content.decode()
    admin_client.post(page(pump, "delete"), {"post": "yes"})
    assert not Device.objects.exists()
    assert not Credential.objects.exists()


# --- credentials


def send(client: Client, url: str, **fields: str) -> Any:
    data = {name: str(value) for name, value in client.get(url).context["form"].initial.items() if value}
    return client.post(url, {**data, **fields})


def test_a_new_token_is_shown_once_and_stored_nowhere(admin_client: Client, pump: Device) -> None:
    services.create_token(pump, "first")
    response = send(
        admin_client, page(pump, "new-token"), label="second", expires_at_0="2099-01-01", expires_at_1="0:00"
    )
    token = the_token(response)
    assert "no-store" in response["Cache-Control"]
    second = pump.credentials.get(label="second")
    assert token_matches(second.encoded, token)
    assert second.expires_at
    assert pump.credentials.get(label="first").enabled
    stored = everything_stored()
    assert token.removeprefix("exh_") not in stored
    assert recorded(actor="admin") == [
        "added pump-17: token “second”: enabled → on; expires at → 2099-01-01 00:00:00; "
        "kind → token; label → second"
    ]


def test_a_reload_of_the_token_makes_no_second_one(admin_client: Client, pump: Device) -> None:
    url = page(pump, "new-token")
    sent = {"label": "once"}
    the_token(admin_client.post(url, sent))
    again = admin_client.post(url, sent)
    assert "This page was used before" in again.content.decode()
    assert not TOKEN.search(again.content.decode())
    assert pump.credentials.count() == 1
    newest = again.context["form"]["newest"].value()
    the_token(admin_client.post(url, {**sent, "newest": newest}))
    assert pump.credentials.count() == 2, "who wants a further one sends the page again"


def test_a_password_is_set_and_the_earlier_ones_end(admin_client: Client, pump: Device) -> None:
    token, _ = services.create_token(pump)
    old = services.add_password(pump, "old horse")
    response = send(admin_client, page(pump, "new-password"), password="new horse", revoke_others="on")
    assert response.status_code == 302
    old.refresh_from_db()
    token.refresh_from_db()
    assert not old.enabled
    assert token.enabled
    assert password_matches(pump.credentials.order_by("-pk")[0].encoded, "new horse")
    assert "new horse" not in everything_stored()


def test_earlier_passwords_may_stay(admin_client: Client, pump: Device) -> None:
    services.add_password(pump, "old horse")
    send(admin_client, page(pump, "new-password"), password="new horse")
    assert pump.credentials.filter(enabled=True).count() == 2


@pytest.mark.parametrize(
    ("part", "fields", "field", "words"),
    [
        pytest.param("new-password", {"password": ""}, "password", "required", id="no password"),
        pytest.param("new-password", {"password": "exh_" + "x" * 32}, "password", "token", id="like a token"),
        pytest.param(
            "new-token",
            {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
            "expires_at",
            "passed",
            id="past",
        ),
        pytest.param(
            "new-token", {"expires_at_0": "soon", "expires_at_1": ""}, "expires_at", "valid", id="no date"
        ),
        pytest.param("new-token", {"label": "x" * 101}, "label", "100", id="label too long"),
    ],
)
def test_wrong_input_for_a_credential(
    admin_client: Client, pump: Device, part: str, fields: dict[str, str], field: str, words: str
) -> None:
    response = send(admin_client, page(pump, part), **fields)
    errors = response.context["form"].errors
    assert list(errors) == [field]
    assert words in " ".join(errors[field])
    assert not pump.credentials.exists()


def test_a_credential_is_revoked_and_restored(admin_client: Client, pump: Device) -> None:
    credential, _ = services.create_token(pump, "spare")
    html = admin_client.get(page(pump)).content.decode()
    for step, enabled in (("revoke", False), ("restore", True)):
        url = page(pump, "credentials", credential.pk, step)
        assert admin_client.get(url).status_code == 405, "a link must not change anything"
        assert admin_client.post(url).status_code == 302
        credential.refresh_from_db()
        assert credential.enabled is enabled
    assert f'formaction="{page(pump, "credentials", credential.pk, "revoke")}"' in html
    assert recorded(actor="admin") == [
        "changed pump-17: token “spare”: enabled on → off",
        "changed pump-17: token “spare”: enabled off → on",
    ]


def test_a_credential_is_deleted_after_a_question(admin_client: Client, pump: Device) -> None:
    credential, _ = services.create_token(pump)
    url = page(pump, "credentials", credential.pk, "delete")
    assert "cannot be brought back" in admin_client.get(url).content.decode()
    assert pump.credentials.exists()
    admin_client.post(url)
    assert not pump.credentials.exists()


def test_a_credential_is_only_reached_through_its_own_device(admin_client: Client, pump: Device) -> None:
    credential, _ = services.create_token(services.create_device("other"))
    for step in ("revoke", "restore", "delete"):
        assert admin_client.post(page(pump, "credentials", credential.pk, step)).status_code == 404


@pytest.mark.parametrize(
    ("permissions", "part"),
    [
        pytest.param(["view_device", "add_credential"], ["new-token"], id="new token"),
        pytest.param(["change_device"], ["new-token"], id="new token, no right to credentials"),
        pytest.param(["change_device"], ["new-password"], id="new password"),
        pytest.param(["change_device", "view_credential"], ["credentials", "{}", "revoke"], id="revoke"),
        pytest.param(["change_device", "change_credential"], ["credentials", "{}", "delete"], id="delete"),
        pytest.param(["view_device"], ["change"], id="change the device"),
        pytest.param(["change_device"], ["delete"], id="delete the device"),
    ],
)
def test_what_staff_have_no_right_to_is_refused(
    pump: Device, permissions: list[str], part: list[str]
) -> None:
    credential, _ = services.create_token(pump)
    url = page(pump, *(text.format(credential.pk) for text in part))
    assert staff(*permissions).post(url, {"username": "changed"}).status_code == 403
    assert Device.objects.get().username == "pump-17"
    assert Credential.objects.get().enabled


@pytest.mark.parametrize("part", ["new-token", "new-password", "change"])
def test_a_device_that_is_gone(admin_client: Client, pump: Device, part: str) -> None:
    url = page(pump, part)
    services.delete_devices(Device.objects.all())
    assert admin_client.get(url).status_code in (302, 404)


# --- groups


def test_groups_lead_to_their_devices(admin_client: Client, fleet: dict[str, Device]) -> None:
    response = admin_client.get(reverse("admin:accounts_devicegroup_changelist"))
    link = re.search(r'href="([^"]+groups__id__exact=\d+)">1<', response.content.decode())
    assert link
    assert "plain" in admin_client.get(link[1]).content.decode()


def test_groups_list_costs_the_same_however_many_there_are(admin_client: Client) -> None:
    url = reverse("admin:accounts_devicegroup_changelist")
    make_devices(0, 3)
    few = queries_of(admin_client, url)
    make_devices(100, 10)
    assert len(queries_of(admin_client, url)) == len(few)


def test_a_group_is_added_changed_and_deleted(admin_client: Client) -> None:
    add_url = reverse("admin:accounts_devicegroup_add")
    admin_client.post(add_url, {"name": "pumps", "description": ""})
    group = DeviceGroup.objects.get(name="pumps")
    refused = admin_client.post(add_url, {"name": "pumps", "description": ""})
    assert "already exists" in field_errors(refused)["name"]
    url = reverse("admin:accounts_devicegroup_change", args=[group.pk])
    admin_client.post(url, {"name": "valves", "description": "all valves"})
    group.refresh_from_db()
    assert group.name == "valves"
    pump = services.create_device("pump-17", groups=[group])
    admin_client.post(reverse("admin:accounts_devicegroup_delete", args=[group.pk]), {"post": "yes"})
    assert not DeviceGroup.objects.exists()
    assert Device.objects.get() == pump
