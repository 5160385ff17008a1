"""Who may make which change, by whatever door: asked of the services, and sent as forms and actions."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.changes import Actor, NotAllowed, acting
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl
from acl.models import Policy, Rule
from exhookadmin.staff import services as staff
from exhookadmin.staff.models import RecordedChange
from exhookadmin.staff.roles import ADMINISTRATOR, OPERATOR, VIEWER
from tests.staff.people import actor, browser, member
from tests.web_form import Data, form_data

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def world() -> None:
    """A plain device, a superuser, and policies that open little, much and everything."""
    pumps = services.save_group(DeviceGroup(name="pumps"))
    backends = services.save_group(DeviceGroup(name="backends"))
    plain = services.create_device("plain", groups=[pumps])
    root = services.create_device("root", superuser=True)
    services.create_device("retired", superuser=True, enabled=False)
    for device in (plain, root):
        services.create_token(device, "first")
        services.switch_credential(services.create_token(device, "revoked")[0], False)
    own = acl.create_policy("own", groups=[pumps])
    acl.create_rule(own, "allow", "all", "dev/${clientid}/#")
    everything = acl.create_policy("everything", groups=[backends])
    acl.create_rule(everything, "allow", "all", "#")
    acl.create_rule(own, "allow", "all", "+/#", enabled=False)
    acl.create_rule(own, "deny", "all", "#", priority=-1)


def device(name: str, **fields: Any) -> Device:
    """The device as somebody is about to save it."""
    found = Device.objects.get(username=name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def rule(wanted: str, policy: str = "own", /, **fields: Any) -> Rule:
    found = Rule.objects.get(policy__name=policy, topic_filter=wanted, effect="allow")
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def policy(name: str, **fields: Any) -> Policy:
    found = Policy.objects.get(name=name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def credential(name: str, label: str) -> Credential:
    return Credential.objects.get(device__username=name, label=label)


def group(name: str) -> DeviceGroup:
    return DeviceGroup.objects.get(name=name)


def turned(denial: Rule) -> Rule:
    denial.effect = "allow"
    return denial


EVERYDAY: dict[str, Callable[[], Any]] = {
    "add a device": lambda: services.create_device("new", groups=[group("pumps")]),
    "change a device": lambda: services.save_device(device("plain", description="x")),
    "delete a device": lambda: services.delete_devices(Device.objects.filter(username="plain")),
    "disable a device": lambda: services.set_enabled(Device.objects.filter(username="plain"), False),
    "make a token": lambda: services.create_token(device("plain")),
    "set a password": lambda: services.add_password(device("plain"), "correct horse"),
    "revoke a credential": lambda: services.switch_credential(credential("plain", "first"), False),
    "restore a credential": lambda: services.switch_credential(credential("plain", "revoked"), True),
    "delete a credential": lambda: services.delete_credential(credential("plain", "first")),
    "add a group": lambda: services.save_group(DeviceGroup(name="valves")),
    "delete a group": lambda: services.delete_groups(DeviceGroup.objects.filter(name="pumps")),
    "join a group": lambda: services.join_group(Device.objects.filter(username="root"), group("pumps")),
    "leave a group": lambda: services.leave_group(Device.objects.all(), group("pumps")),
    "attach a policy": lambda: acl.attach_policies(device("plain"), [policy("own")]),
    "add a policy": lambda: acl.create_policy("new", everyone=True),
    "add a rule": lambda: acl.create_rule(policy("own"), "allow", "publish", "a/#"),
    "deny everything": lambda: acl.create_rule(policy("own"), "deny", "all", "#"),
    "delete a policy": lambda: acl.delete_policies(Policy.objects.filter(name="everything")),
    "disable a superuser": lambda: services.set_enabled(Device.objects.filter(username="root"), False),
    "disable a superuser in a form": lambda: services.save_device(device("root", enabled=False)),
    "describe a superuser": lambda: services.save_device(device("root", description="x")),
    "make a superuser a plain device": lambda: services.save_device(device("root", superuser=False)),
    "delete a superuser": lambda: services.delete_devices(Device.objects.filter(username="root")),
    "revoke a superuser's credential": lambda: services.switch_credential(credential("root", "first"), False),
    "delete a superuser's credential": lambda: services.delete_credential(credential("root", "first")),
    "switch off the rule that opens everything": lambda: acl.save_rule(
        rule("#", "everything", enabled=False)
    ),
    "note on the rule that opens everything": lambda: acl.save_rule(rule("#", "everything", note="why")),
    "narrow the rule that opens everything": lambda: acl.save_rule(
        rule("#", "everything", topic_filter="a/#")
    ),
    "delete the rule that opens everything": lambda: acl.delete_rule(rule("#", "everything")),
    "detach the policy that opens everything": lambda: acl.save_policy(policy("everything"), groups=[]),
    "disable the policy that opens everything": lambda: acl.save_policy(policy("everything", enabled=False)),
    "prepare a rule that opens everything": lambda: acl.create_rule(
        policy("own"), "allow", "all", "#", enabled=False
    ),
}
"""What operators do, and viewers do not."""

POWERFUL: dict[str, Callable[[], Any]] = {
    "add a superuser": lambda: services.create_device("new", superuser=True),
    "add a disabled superuser": lambda: services.create_device("new", superuser=True, enabled=False),
    "make a device a superuser": lambda: services.save_device(device("plain", superuser=True)),
    "enable a superuser": lambda: services.set_enabled(Device.objects.filter(username="retired"), True),
    "enable a superuser in a form": lambda: services.save_device(device("retired", enabled=True)),
    "enable a superuser among others": lambda: services.set_enabled(Device.objects.all(), True),
    "free a superuser's client id": lambda: services.save_device(device("root", client_id_binding="any")),
    "rename a superuser": lambda: services.save_device(device("root", username="mine")),
    "give a superuser a certificate": lambda: services.save_device(device("root", certificate_cn="mine")),
    "let a superuser in without a credential": lambda: services.save_device(
        device("root", credential_required=False)
    ),
    "make a superuser's token": lambda: services.create_token(device("root")),
    "set a superuser's password": lambda: services.add_password(device("root"), "correct horse"),
    "restore a superuser's credential": lambda: services.switch_credential(
        credential("root", "revoked"), True
    ),
    "add a rule that opens everything": lambda: acl.create_rule(policy("own"), "allow", "all", "#"),
    "one for all topics with a slash": lambda: acl.create_rule(policy("own"), "allow", "publish", "+/#"),
    "one for all topics of the broker": lambda: acl.create_rule(
        policy("own"), "allow", "subscribe", "$SYS/#"
    ),
    "one for the subscription to all": lambda: acl.create_rule(
        device("plain"), "allow", "subscribe", "#", literal=True
    ),
    "widen a rule": lambda: acl.save_rule(rule("dev/${clientid}/#", topic_filter="+/+/#")),
    "turn a denial round": lambda: acl.save_rule(turned(Rule.objects.get(effect="deny"))),
    "switch on a rule that opens everything": lambda: acl.save_rule(rule("+/#", enabled=True)),
    "lift the rule that opens everything": lambda: acl.save_rule(rule("#", "everything", priority=9)),
    "attach what opens everything to a device": lambda: acl.save_policy(
        policy("everything"), devices=[device("plain")]
    ),
    "attach what opens everything to a group": lambda: acl.save_policy(
        policy("everything"), groups=[group("pumps"), group("backends")]
    ),
    "attach what opens everything to everyone": lambda: acl.save_policy(policy("everything", everyone=True)),
    "join the group to which everything is open": lambda: services.save_device(
        device("plain"), groups=[group("backends")]
    ),
    "join it with others": lambda: services.join_group(Device.objects.all(), group("backends")),
    "attach what opens everything": lambda: acl.attach_policies(device("plain"), [policy("everything")]),
    "be born in the group to which everything is open": lambda: services.create_device(
        "new", groups=[group("backends")]
    ),
}
"""What only administrators do."""

STAFF: dict[str, Callable[[], Any]] = {
    "add staff": lambda: staff.save_user(User(username="new", password="!"), groups=[]),
    "name a viewer": lambda: staff.save_user(
        User.objects.get(username="somebody"), groups=[Group.objects.get(name=VIEWER)]
    ),
    "delete staff": lambda: staff.delete_users(User.objects.filter(username="somebody")),
    "add a group of staff": lambda: staff.save_group(Group(name="night shift"), []),
}


@pytest.fixture
def somebody() -> User:
    return User.objects.create_user("somebody", is_staff=True)


def state() -> list[Any]:
    models = (Device, Credential, DeviceGroup, Policy, Rule, User, Group, RecordedChange)
    attached = (Device.groups.through, Policy.devices.through, Policy.groups.through, User.groups.through)
    return [list(model._default_manager.order_by("pk").values()) for model in (*models, *attached)]


def outcome(who: Actor, change: Callable[[], Any]) -> str:
    """What becomes of a change, which is then undone."""
    before = state()
    with transaction.atomic():
        try:
            with acting(who):
                change()
        except NotAllowed:
            return "refused" if state() == before else "refused, and left something behind"
        stored = state() != before
        written = RecordedChange.objects.filter(actor=who.name, address="192.0.2.7", channel="api").exists()
        transaction.set_rollback(True)
    return "done and recorded" if stored and written else f"{stored=} {written=}"


@pytest.mark.parametrize(
    ("role", "changes", "expected"),
    [
        pytest.param(VIEWER, {**EVERYDAY, **POWERFUL, **STAFF}, "refused", id="a viewer changes nothing"),
        pytest.param(OPERATOR, EVERYDAY, "done and recorded", id="an operator does the everyday things"),
        pytest.param(OPERATOR, {**POWERFUL, **STAFF}, "refused", id="and opens nothing"),
        pytest.param(
            ADMINISTRATOR,
            {**EVERYDAY, **POWERFUL, **STAFF},
            "done and recorded",
            id="an administrator does everything",
        ),
    ],
)
def test_who_may_do_what(
    somebody: User, role: str, changes: dict[str, Callable[[], Any]], expected: str
) -> None:
    who = actor(member(role))
    outcomes = {words: outcome(who, change) for words, change in changes.items()}
    assert outcomes == dict.fromkeys(changes, expected)


def test_a_command_on_the_server_may_do_everything() -> None:
    services.create_device("new", superuser=True)
    assert RecordedChange.objects.filter(channel="cli", name="new").exists()


def test_saving_what_has_not_changed_needs_nothing() -> None:
    with acting(actor(member(VIEWER))):
        services.save_device(device("root"))
        acl.save_rule(rule("#", "everything"))


@pytest.mark.parametrize("role", [OPERATOR, ADMINISTRATOR])
def test_only_superusers_make_superusers_of_the_site(somebody: User, role: str) -> None:
    who = member(role)
    somebody.is_superuser = True
    with pytest.raises(NotAllowed), acting(actor(who)):
        staff.save_user(somebody)
    root = User.objects.create_superuser("boss")
    with pytest.raises(NotAllowed), acting(actor(who)):
        staff.delete_users(User.objects.filter(pk=root.pk))
    root.is_active = False
    with pytest.raises(NotAllowed), acting(actor(who)):
        staff.save_user(root)
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1


# --- as forms and actions


@pytest.fixture
def operator() -> Client:
    return browser(member(OPERATOR))


def device_url(name: str, part: str = "change") -> str:
    return reverse(f"admin:accounts_device_{part}", args=[Device.objects.get(username=name).pk])


def errors(response: Any) -> str:
    assert response.status_code == 200, "the form was accepted"
    return response.content.decode()


def test_the_form_of_a_device_says_who_makes_superusers(operator: Client) -> None:
    data = form_data(operator.get(device_url("plain")), "device_form")
    html = errors(operator.post(device_url("plain"), {**data, "superuser": "on"}))
    assert "Only administrators may do this" in html
    assert not Device.objects.get(username="plain").superuser


def test_the_form_of_a_superuser_disables_it_and_does_not_enable_it_again(operator: Client) -> None:
    data = form_data(operator.get(device_url("root")), "device_form")
    del data["enabled"]
    assert operator.post(device_url("root"), data).status_code == 302
    assert not Device.objects.get(username="root").enabled
    html = errors(operator.post(device_url("root"), {**data, "enabled": "on"}))
    assert "“root” is a superuser device" in html
    assert not Device.objects.get(username="root").enabled


def test_bulk_actions_enable_no_superuser(operator: Client) -> None:
    services.set_enabled(Device.objects.all(), False)
    chosen = [str(pk) for pk in Device.objects.values_list("pk", flat=True)]
    url = reverse("admin:accounts_device_changelist")
    data = {"action": "enable", "_selected_action": chosen, "post": "yes"}
    html = operator.post(url, data, follow=True).content.decode()
    assert "Nothing was changed." in html
    assert "superuser device" in html
    assert not Device.objects.filter(enabled=True).exists()


def test_nor_do_the_actions_of_a_group(operator: Client) -> None:
    retired = device("retired")
    retired.groups.add(group("pumps"))
    url = reverse("admin:accounts_devicegroup_changelist")
    asked = {"action": "enable_devices", "_selected_action": [str(group("pumps").pk)]}
    data = form_data(operator.post(url, asked), "bulk_form")
    assert "Nothing was changed." in operator.post(url, data, follow=True).content.decode()
    assert not device("retired").enabled


@pytest.mark.parametrize("part", ["new_token", "new_password"])
def test_the_pages_of_credentials_give_none_to_a_superuser(operator: Client, part: str) -> None:
    url = device_url("root", part)
    newest = Credential.objects.filter(device__username="root").order_by("-pk")[0].pk
    html = errors(operator.post(url, {"newest": str(newest), "password": "correct horse"}))
    assert "would let somebody connect as a superuser device" in html
    assert Credential.objects.filter(device__username="root").count() == 2
    assert credential("root", "first").enabled


def test_a_superuser_s_credential_is_revoked_and_not_restored(operator: Client) -> None:
    first = credential("root", "first")
    revoke, restore = (
        reverse(f"admin:accounts_credential_{step}", args=[first.device_id, first.pk])
        for step in ("revoke", "restore")
    )
    assert operator.post(revoke).status_code == 302
    refused = operator.post(restore)
    assert refused.status_code == 403
    assert "Only administrators may do this" in refused.content.decode()
    assert not credential("root", "first").enabled


def with_rule(data: Data, **fields: str) -> Data:
    number = int(str(data["rules-TOTAL_FORMS"]))
    row = {"id": "", "priority": "0", "effect": "allow", "action": "all", "enabled": "on", **fields}
    return {**data, "rules-TOTAL_FORMS": str(number + 1)} | {
        f"rules-{number}-{name}": value for name, value in row.items()
    }


@pytest.mark.parametrize("owner", ["a policy", "a new policy", "a device"])
def test_a_rule_in_a_form_that_opens_everything_is_refused_beside_it(operator: Client, owner: str) -> None:
    url, form = {
        "a policy": (reverse("admin:acl_policy_change", args=[policy("own").pk]), "policy_form"),
        "a new policy": (reverse("admin:acl_policy_add"), "policy_form"),
        "a device": (device_url("plain"), "device_form"),
    }[owner]
    data = with_rule(form_data(operator.get(url), form), topic_filter="+/#")
    before = Rule.objects.count()
    html = errors(operator.post(url, data | ({"name": "new"} if owner == "a new policy" else {})))
    assert "“+/#” opens everything" in html
    assert Rule.objects.count() == before
    assert not Policy.objects.filter(name="new").exists()


def test_a_policy_that_opens_everything_is_not_attached_in_a_form(operator: Client) -> None:
    url = reverse("admin:acl_policy_change", args=[policy("everything").pk])
    data = form_data(operator.get(url), "policy_form")
    html = errors(operator.post(url, {**data, "everyone": "on"}))
    assert "opens everything to whomever it applies to" in html
    assert not policy("everything").everyone


def test_an_administrator_does_it_all_in_the_same_forms() -> None:
    client = browser(member(ADMINISTRATOR))
    data = form_data(client.get(device_url("plain")), "device_form")
    assert client.post(device_url("plain"), {**data, "superuser": "on"}).status_code == 302
    url = reverse("admin:acl_policy_change", args=[policy("own").pk])
    data = with_rule(form_data(client.get(url), "policy_form"), topic_filter="#")
    assert client.post(url, data).status_code == 302
    assert device("plain").superuser
    assert Rule.objects.filter(policy__name="own", topic_filter="#", effect="allow").exists()


def test_an_administrator_gives_roles_and_no_superuser_rights() -> None:
    client = browser(member(ADMINISTRATOR))
    carol = User.objects.create_user("carol", is_staff=True)
    url = reverse("admin:auth_user_change", args=[carol.pk])
    data = form_data(client.get(url), "user_form")
    chosen = str(Group.objects.get(name=OPERATOR).pk)
    assert client.post(url, {**data, "groups": [chosen], "is_superuser": "on"}).status_code == 302
    carol.refresh_from_db()
    assert [one.name for one in carol.groups.all()] == [OPERATOR]
    assert not carol.is_superuser
