"""The history: who changed what, when, from where, by which door; before and after, and never a secret."""

import getpass
import socket
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.changes import Actor, Channel, acting, current_actor
from accounts.models import Device, DeviceGroup
from acl import services as acl
from acl.models import Policy
from exhookadmin.staff import services as staff
from exhookadmin.staff.actors import client_address
from exhookadmin.staff.history import MEMBERS_KEPT
from exhookadmin.staff.models import RecordedChange
from exhookadmin.staff.roles import OPERATOR
from tests.recorded import recorded
from tests.staff.people import browser, member
from tests.web_form import form_data

pytestmark = pytest.mark.django_db

LIST = reverse("admin:exhookadmin_recordedchange_changelist")
CAROL = Actor("carol", Channel.API, "192.0.2.7", 7)


def test_every_service_says_what_it_changed() -> None:
    with acting(CAROL):
        pumps = services.save_group(DeviceGroup(name="pumps", description="all"))
        device = services.create_device("pump-17", groups=[pumps], attributes={"site": "berlin"})
        device.networks = "192.0.2.0/24"
        services.save_device(device, groups=[])
        token, _ = services.create_token(device, "first")
        services.add_password(device, "correct horse", "second")
        token.label = "old"
        services.save_credential(token)
        services.switch_credential(token, False)
        services.revoke_passwords(device)
        services.delete_credential(token)
        policy = acl.create_policy("own", devices=[device])
        rule = acl.create_rule(policy, "allow", "all", "a/#")
        rule.topic_filter = "b/#"
        acl.save_rule(rule)
        services.set_enabled(Device.objects.all(), False)
        policy.enabled = False
        acl.save_policy(policy, devices=[], groups=[pumps])
        acl.delete_policies(Policy.objects.all())
        own = acl.create_rule(device, "deny", "publish", "c")
        acl.delete_rule(own)
        services.join_group(Device.objects.all(), pumps)
        services.leave_group(Device.objects.all(), pumps)
        acl.attach_policies(device, [acl.create_policy("second")])
        services.delete_groups(DeviceGroup.objects.all())
        services.delete_devices(Device.objects.all())
    assert [line.partition(": ")[0] for line in recorded()] == [
        "added pumps", "added pump-17", "changed pump-17", "added pump-17", "added pump-17",
        "changed pump-17", "changed pump-17", "changed pump-17", "deleted pump-17", "added own", "added own",
        "changed own", "changed pump-17", "changed own", "deleted own", "added pump-17", "deleted pump-17",
        "changed pump-17", "changed pump-17", "added second", "changed pump-17", "deleted pumps",
        "deleted pump-17",
    ]  # fmt: skip
    for line in (
        "changed pump-17: groups pumps →; networks → 192.0.2.0/24",
        "changed pump-17: token “old”: label first → old",
        "changed pump-17: password “second”: enabled on → off",
        "changed own: allow all b/#: topic filter a/# → b/#",
        "changed pump-17: enabled on → off",
        "changed pump-17: groups → pumps",
        "changed pump-17: groups pumps →",
        "changed pump-17: policies → second",
        "changed own: devices pump-17 →; enabled on → off; groups → pumps",
    ):
        assert line in recorded()
    change = RecordedChange.objects.get(name="pumps", verb="add")
    assert (change.actor, change.user_id, change.channel, change.address) == ("carol", 7, "api", "192.0.2.7")
    assert timezone.now() - change.time < timedelta(minutes=1)


def test_what_did_not_change_is_not_told() -> None:
    device = services.create_device("pump-17", valid_until=timezone.now(), networks="192.0.2.0/24")
    group = services.save_group(DeviceGroup(name="pumps"))
    policy = acl.create_policy("own")
    rule = acl.create_rule(policy, "allow", "all", "a/#")
    before = RecordedChange.objects.count()
    services.save_device(Device.objects.get(pk=device.pk), groups=[])
    services.save_group(group)
    acl.save_policy(policy, devices=[], groups=[])
    acl.save_rule(rule)
    services.set_enabled(Device.objects.all(), True)
    assert RecordedChange.objects.count() == before


def test_what_is_undone_is_not_told() -> None:
    with transaction.atomic():
        services.create_device("pump-17")
        transaction.set_rollback(True)
    assert not RecordedChange.objects.exists()


def test_no_secret_is_told() -> None:
    device = services.create_device("pump-17")
    credential, token = services.create_token(device)
    services.add_password(device, "correct horse battery")
    services.switch_credential(credential, False)
    User.objects.create_superuser("admin", password="another horse battery")
    told = str(list(RecordedChange.objects.values()))
    assert "pump-17" in told
    hashes = [*device.credentials.values_list("encoded", flat=True), User.objects.get().password]
    for secret in ("correct horse", "another horse", token.removeprefix("exh_"), *hashes):
        assert secret not in told


def test_a_command_is_told_with_the_user_and_the_machine() -> None:
    call_command("first_admin", stdout=StringIO())
    for change in RecordedChange.objects.all():
        assert (change.actor, change.channel) == (getpass.getuser(), "cli")
        assert change.address == socket.gethostname()
    assert recorded()[0] == "changed admin: password → set anew"
    assert recorded()[1].endswith("is superuser → on; username → admin")


def test_who_acts_inside_of_another_is_told_and_then_the_first_again() -> None:
    with acting(CAROL):
        with acting(Actor("dave", Channel.IMPORT)):
            assert current_actor().name == "dave"
        assert current_actor().name == "carol"
    assert current_actor().channel is Channel.CLI


def test_bulk_actions_are_told_device_by_device_and_stored_many_at_once() -> None:
    Device.objects.bulk_create([Device(username=f"pump-{number:04}") for number in range(1_200)])
    with CaptureQueriesContext(
        connection,
    ) as asked:
        services.set_enabled(Device.objects.all(), False)
    assert len(asked) < 50
    assert RecordedChange.objects.filter(verb="change", kind="accounts.device").count() == 1_200
    services.delete_devices(Device.objects.all())
    assert RecordedChange.objects.filter(verb="delete").count() == 1_200


def test_of_many_members_some_are_named_and_the_rest_is_counted() -> None:
    Device.objects.bulk_create([Device(username=f"pump-{number:04}") for number in range(MEMBERS_KEPT + 7)])
    acl.create_policy("all", devices=Device.objects.all())
    members = RecordedChange.objects.get(name="all").after["devices"]
    assert members[0] == "pump-0000"
    assert members[-1] == "and 7 more"
    assert len(members) == MEMBERS_KEPT + 1


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        pytest.param(0, "", "192.0.2.1", id="nothing in between"),
        pytest.param(0, "203.0.113.9", "192.0.2.1", id="a header that nobody was to send"),
        pytest.param(1, "203.0.113.9", "203.0.113.9", id="one proxy"),
        pytest.param(1, "10.9.9.9, 203.0.113.9", "203.0.113.9", id="one proxy, and a client who lies"),
        pytest.param(2, "10.9.9.9, 203.0.113.9, 10.0.0.1", "203.0.113.9", id="two proxies, and the same"),
        pytest.param(1, "2001:DB8::1", "2001:db8::1", id="IPv6"),
        pytest.param(1, "", "192.0.2.1", id="past the proxy"),
        pytest.param(2, "203.0.113.9", "192.0.2.1", id="past one of the proxies"),
        pytest.param(1, "unknown", "192.0.2.1", id="no address"),
    ],
)
def test_where_a_request_came_from(settings: Any, proxies: int, forwarded: str, address: str) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory(headers=headers).get("/", REMOTE_ADDR="192.0.2.1")
    assert client_address(request) == address


def test_what_a_page_changes_is_told_with_who_is_logged_in(settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    carol = member(OPERATOR, "carol")
    client = browser(carol)
    url = reverse("admin:accounts_devicegroup_add")
    client.post(url, {"name": "pumps", "description": ""}, headers={"X-Forwarded-For": "203.0.113.9"})
    change = RecordedChange.objects.get(name="pumps")
    assert (change.actor, change.user_id, change.channel) == ("carol", carol.pk, "admin")
    assert change.address == "203.0.113.9"


# --- staff


def test_staff_and_their_groups_are_told(admin_client: Client) -> None:
    url = reverse("admin:auth_user_add")
    secret = "correct horse battery"
    data = form_data(admin_client.get(url), "user_form")
    data |= {"username": "dave", "password1": secret, "password2": secret}
    data |= {"groups": [str(Group.objects.get(name=OPERATOR).pk)]}
    admin_client.post(url, data)
    dave = User.objects.get(username="dave")
    change = reverse("admin:auth_user_change", args=[dave.pk])
    form = form_data(admin_client.get(change), "user_form")
    admin_client.post(change, {**form, "first_name": "Dave", "groups": []})
    set_password = reverse("admin:auth_user_changelist") + f"{dave.pk}/password/"
    again = {"password1": secret + "!", "password2": secret + "!"}
    assert admin_client.post(set_password, {**again, "usable_password": "true"}).status_code == 302
    rights = Permission.objects.filter(codename="view_event")
    staff.save_group(Group(name="auditors"), rights)
    admin_client.post(reverse("admin:auth_user_delete", args=[dave.pk]), {"post": "yes"})
    told = recorded(kind__startswith="auth.", name__in=["dave", "auditors"])
    assert told == [
        "changed dave: password → set anew",
        "added dave: groups → operator; is active → on; is staff → on; is superuser → off; username → dave",
        "changed dave: first name → Dave; groups operator →",
        "changed dave: password → set anew",
        "added auditors: name → auditors; permissions → audit.view_event",
        "deleted dave: first name Dave →; is active on →; is staff on →; is superuser off →; username dave →",
    ]
    history = admin_client.get(LIST + "?name=dave").content.decode()
    assert "set anew" in history
    assert secret not in str(list(RecordedChange.objects.values()))


def test_somebody_s_own_new_password_is_told() -> None:
    carol = member("viewer", "carol")
    client = browser(carol)
    data = {
        "old_password": "correct horse battery",
        "new_password1": "battery horse correct",
        "new_password2": "battery horse correct",
    }
    assert client.post(reverse("admin:password_change"), data).status_code == 302
    assert recorded(actor="carol") == ["changed carol: password → set anew"]


# --- the pages


@pytest.fixture
def told() -> Device:
    with acting(CAROL):
        device = services.create_device("pump-17")
        services.create_token(device, "<b>first</b>")
        acl.create_rule(device, "allow", "all", "dev/${clientid}/#")
    services.create_device("valve-1")
    return device


def test_the_page_of_a_device_has_the_history_of_all_that_belongs_to_it(
    admin_client: Client, told: Device
) -> None:
    html = admin_client.get(reverse("admin:accounts_device_history", args=[told.pk])).content.decode()
    for words in ("carol", "the API", "192.0.2.7", "&lt;b&gt;first", "dev/${clientid}/#"):
        assert words in html
    assert "valve-1" not in html
    assert "<b>first" not in html


def test_the_history_of_what_is_gone_or_not_to_be_seen(told: Device) -> None:
    url = reverse("admin:accounts_device_history", args=[told.pk])
    assert browser(User.objects.create_user("guest", is_staff=True)).get(url).status_code == 403
    client = browser(member("viewer"))
    assert client.get(url).status_code == 200
    told.delete()
    assert client.get(url).status_code == 302


def test_a_long_history_has_pages(admin_client: Client, told: Device) -> None:
    for _ in range(30):
        services.set_enabled(Device.objects.filter(pk=told.pk), False)
        services.set_enabled(Device.objects.filter(pk=told.pk), True)
    url = reverse("admin:accounts_device_history", args=[told.pk])
    first, second = (admin_client.get(f"{url}?p={number}").content.decode() for number in (1, 2))
    assert "Older" in first
    assert "carol" not in first
    assert "carol" in second


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("actor=carol", 3),
        ("actor=car", 0),
        ("name=valve-1", 1),
        ("kind=acl.rule", 1),
        ("verb__exact=change", 0),
        ("channel__exact=cli", 1),
        ("q=pump", 3),
        ("q=nobody", 0),
        ("time_from_0=2020-01-01", 4),
        ("time_to_0=2020-01-01", 0),
    ],
)
def test_the_list_of_all_changes_is_searched(
    admin_client: Client, told: Device, query: str, count: int
) -> None:
    page = admin_client.get(f"{LIST}?{query}")
    assert len(page.context["cl"].result_list) == count


def test_an_empty_list_says_what_will_be_there(admin_client: Client) -> None:
    RecordedChange.objects.all().delete()
    assert "No changes yet" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("part", ["add", "change", "delete"])
def test_nobody_writes_or_deletes_history_in_the_admin(admin_client: Client, told: Device, part: str) -> None:
    change = RecordedChange.objects.order_by("pk")[0]
    args = [] if part == "add" else [change.pk]
    url = reverse(f"admin:exhookadmin_recordedchange_{part}", args=args)
    before = list(RecordedChange.objects.values())
    assert admin_client.post(url, {"actor": "nobody", "post": "yes"}).status_code == 403
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": [change.pk], "post": "yes"})
    assert list(RecordedChange.objects.values()) == before


def test_the_list_costs_the_same_however_long_it_is(admin_client: Client, told: Device) -> None:
    with CaptureQueriesContext(connection) as few:
        admin_client.get(LIST)
    for number in range(20):
        services.create_device(f"valve-{number + 2}")
    with CaptureQueriesContext(connection) as many:
        admin_client.get(LIST)
    assert len(many) == len(few)
    assert not [query["sql"] for query in many if "COUNT(" in query["sql"]]
