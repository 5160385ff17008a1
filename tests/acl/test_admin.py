"""Policies and rules, as staff see and change them."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import services as accounts_services
from accounts.models import Device, DeviceGroup
from acl import services
from acl.admin import RuleInline
from acl.core.rules import Action, Effect
from acl.core.rules import Rule as CoreRule
from acl.forms import DEVICES_IN_A_FORM
from acl.models import Policy, Rule
from tests.query_count import queries_of
from tests.web_form import Data, form_data

pytestmark = pytest.mark.django_db

LIST = reverse("admin:acl_policy_changelist")
ADD = reverse("admin:acl_policy_add")


def url_of(policy: Policy, part: str = "change") -> str:
    return reverse(f"admin:acl_policy_{part}", args=[policy.pk])


def with_rule(data: Data, **fields: str) -> Data:
    """The form with one more row in its table of rules, as “Add another rule” makes it."""
    number = int(str(data["rules-TOTAL_FORMS"]))
    row = {"id": "", "priority": "0", "effect": "allow", "action": "all", "enabled": "on", **fields}
    rows = {f"rules-{number}-{name}": value for name, value in row.items() if value or name == "id"}
    return {**data, "rules-TOTAL_FORMS": str(number + 1), **rows}


def rule_errors(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200, "the form was accepted"
    formsets = [inline.formset for inline in response.context["inline_admin_formsets"]]
    [formset] = [formset for formset in formsets if getattr(formset, "model", None) is Rule]
    return [{field: " ".join(texts) for field, texts in errors.items()} for errors in formset.errors]


def add(client: Client, **fields: Any) -> Any:
    return client.post(ADD, {**form_data(client.get(ADD), "policy_form"), **fields})


@pytest.fixture
def pump() -> Device:
    return accounts_services.create_device("pump-17")


@pytest.fixture
def pumps(pump: Device) -> DeviceGroup:
    group = accounts_services.save_group(DeviceGroup(name="pumps"))
    pump.groups.add(group)
    return group


def test_a_policy_is_added_with_rules_and_attachments(
    admin_client: Client, pump: Device, pumps: DeviceGroup
) -> None:
    data = with_rule(form_data(admin_client.get(ADD), "policy_form"), topic_filter="dev/${clientid}/#")
    data = with_rule(
        data, topic_filter="dev/+/firmware", effect="deny", action="publish", networks=" 10.0.0.0/8 "
    )
    data |= {"name": "own topics", "devices": [str(pump.pk)], "groups": [str(pumps.pk)]}
    assert admin_client.post(ADD, data).status_code == 302
    policy = Policy.objects.get()
    assert list(policy.devices.all()) == [pump]
    assert list(policy.groups.all()) == [pumps]
    assert [str(rule) for rule in policy.rules.order_by("id")] == [
        "allow all dev/${clientid}/#",
        "deny publish dev/+/firmware",
    ]
    assert policy.rules.get(effect="deny").networks == "10.0.0.0/8", "stored as it is compared"


def test_rules_stand_in_the_order_in_which_they_are_tried(admin_client: Client) -> None:
    policy = services.create_policy("own topics", everyone=True)
    for priority in (0, 5, -5):
        for effect in ("allow", "deny", "allow"):
            services.create_rule(policy, effect, "all", f"{priority}/{effect}", priority=priority)
    shown = list(RuleInline.model.objects.order_by(*RuleInline.ordering))
    core = [
        CoreRule(row.pk, Effect(row.effect), Action(row.action), row.topic_filter, priority=row.priority)
        for row in shown
    ]
    assert core == sorted(core, key=lambda rule: rule.order)
    data = form_data(admin_client.get(url_of(policy)), "policy_form")
    assert [data[f"rules-{number}-id"] for number in range(9)] == [str(row.pk) for row in shown]


def test_rules_are_changed_and_removed(admin_client: Client) -> None:
    policy = services.create_policy("own topics", everyone=True)
    kept = services.create_rule(policy, "allow", "all", "a/#", priority=2)
    services.create_rule(policy, "allow", "all", "b/#", priority=1)
    data = form_data(admin_client.get(url_of(policy)), "policy_form")
    data |= {"rules-0-topic_filter": "c/#", "rules-1-DELETE": "on"}
    assert admin_client.post(url_of(policy), data).status_code == 302
    assert [(rule.pk, rule.topic_filter) for rule in Rule.objects.all()] == [(kept.pk, "c/#")]
    history = admin_client.get(url_of(policy, "history")).content.decode()
    assert "<del>a/#</del> → <ins>c/#</ins>" in history
    assert "own topics: allow all b/#" in history


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        pytest.param({"topic_filter": "a/#/b"}, "topic_filter", "last level; write a/#", id="a/#/b"),
        pytest.param({"topic_filter": "a+/b"}, "topic_filter", "must stand alone", id="a+/b"),
        pytest.param({"topic_filter": ""}, "topic_filter", "required", id="empty"),
        pytest.param({"topic_filter": "a\x00b"}, "topic_filter", "Null characters", id="NUL"),
        pytest.param({"topic_filter": "a" * 65_536}, "topic_filter", "65,535", id="over 65,535 bytes"),
        pytest.param({"topic_filter": "a/${nobody}"}, "topic_filter", "${nobody}", id="unknown placeholder"),
        pytest.param({"topic_filter": "$share/g/a"}, "topic_filter", "inner filter", id="wrapper"),
        pytest.param({"topic_filter": "a", "networks": "10.1/8"}, "networks", "192.0.2.0/24", id="network"),
        pytest.param({"topic_filter": "a", "priority": "high"}, "priority", "whole number", id="priority"),
        pytest.param({"topic_filter": "a", "effect": "maybe"}, "effect", "maybe", id="effect"),
    ],
)
def test_a_wrong_rule_is_refused_where_it_was_typed(
    admin_client: Client, fields: dict[str, str], field: str, words: str
) -> None:
    # An empty note keeps the row from being taken for an untouched one.
    data = with_rule(form_data(admin_client.get(ADD), "policy_form"), **{"note": "new", **fields})
    errors = rule_errors(admin_client.post(ADD, {**data, "name": "own topics"}))
    assert [list(row) for row in errors] == [[field]]
    assert words in errors[0][field]
    assert not Policy.objects.exists()


def test_a_priority_out_of_bounds_is_refused(admin_client: Client) -> None:
    data = with_rule(form_data(admin_client.get(ADD), "policy_form"), topic_filter="a", priority="1000001")
    response = admin_client.post(ADD, {**data, "name": "own topics"})
    assert "between -1,000,000 and 1,000,000" in response.content.decode()
    assert not Rule.objects.exists()


def test_a_name_is_used_once(admin_client: Client) -> None:
    services.create_policy("own topics")
    response = add(admin_client, name="own topics")
    assert "already exists" in response.context["adminform"].form.errors["name"][0]


def test_a_policy_for_nobody_is_saved_with_a_warning(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD), "policy_form")
    response = admin_client.post(ADD, {**data, "name": "lonely"}, follow=True)
    assert "applies to nobody yet" in response.content.decode()


def test_a_policy_with_more_rules_than_a_form_can_hold(admin_client: Client) -> None:
    policy = services.create_policy("big", everyone=True)
    for number in range(100):
        services.create_rule(policy, "allow", "all", f"a/{number}")
    url = f"{url_of(policy)}?rules-page=2"
    data = form_data(admin_client.get(url), "policy_form")
    assert len(data) < 1_000, "Django refuses forms of more fields"
    data["rules-0-topic_filter"] = "changed"
    assert admin_client.post(url, data).status_code == 302
    assert Rule.objects.count() == 100
    assert Rule.objects.order_by("id")[RuleInline.per_page].topic_filter == "changed"


def test_a_policy_with_more_devices_than_a_form_can_hold(admin_client: Client) -> None:
    policy = services.create_policy("big")
    devices = Device.objects.bulk_create(Device(username=f"d{n}") for n in range(DEVICES_IN_A_FORM + 1))
    policy.devices.set(devices)
    response = admin_client.get(url_of(policy))
    assert f"{DEVICES_IN_A_FORM + 1} devices, too many to edit here" in response.content.decode()
    data = form_data(response, "policy_form")
    admin_client.post(url_of(policy), {**data, "description": "changed"})
    policy.refresh_from_db()
    assert policy.description == "changed"
    assert policy.devices.count() == DEVICES_IN_A_FORM + 1


def test_the_list_says_to_whom_each_policy_applies(
    admin_client: Client, pump: Device, pumps: DeviceGroup
) -> None:
    services.create_policy("first", everyone=True)
    services.create_rule(services.create_policy("second", groups=[pumps], devices=[pump]), "deny", "all", "a")
    services.create_policy("third", enabled=False)
    html = admin_client.get(LIST).content.decode()
    text = re.sub(r"<[^>]+>|\s+", " ", html)
    assert re.search(r"first\s+enabled\s+everyone\s+0", text)
    assert re.search(r"second\s+enabled\s+1 group, 1 device\s+1", text)
    assert re.search(r"third\s+disabled\s+nobody yet\s+0", text)


def test_the_list_costs_the_same_however_many_policies_there_are(admin_client: Client, pump: Device) -> None:
    def make(count: int) -> None:
        for _ in range(count):
            policy = services.create_policy(f"policy {Policy.objects.count()}", devices=[pump])
            services.create_rule(policy, "allow", "all", "a")

    make(2)
    few = queries_of(admin_client, LIST)
    make(20)
    assert len(queries_of(admin_client, LIST)) == len(few)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("q=FIRST", {"first"}, id="name"),
        pytest.param("q=river", {"second"}, id="a rule’s filter"),
        pytest.param("q=because", {"second"}, id="a rule’s note"),
        pytest.param("everyone__exact=1", {"first"}, id="for everyone"),
        pytest.param("enabled__exact=0", {"third"}, id="disabled"),
    ],
)
def test_search_and_filters(admin_client: Client, query: str, expected: set[str]) -> None:
    services.create_policy("first", everyone=True)
    services.create_rule(services.create_policy("second"), "allow", "all", "river/#", note="because")
    services.create_policy("third", enabled=False)
    result = admin_client.get(f"{LIST}?{query}").context["cl"].result_list
    assert {policy.name for policy in result} == expected


def test_an_empty_list_says_what_no_policy_means(admin_client: Client) -> None:
    html = admin_client.get(LIST).content.decode()
    assert "What no rule allows is denied" in html
    assert f'href="{ADD}"' in html


def test_a_policy_is_deleted_with_its_rules(admin_client: Client, pump: Device, pumps: DeviceGroup) -> None:
    policy = services.create_policy("own topics", devices=[pump], groups=[pumps])
    services.create_rule(policy, "allow", "all", "a")
    question = admin_client.get(url_of(policy, "delete")).content.decode()
    assert "Rules: 1" in question
    assert "relationship" not in question
    admin_client.post(url_of(policy, "delete"), {"post": "yes"})
    assert not Policy.objects.exists()
    assert not Rule.objects.exists()
    assert Device.objects.exists()


def test_several_policies_are_deleted(admin_client: Client) -> None:
    chosen = [str(services.create_policy(name).pk) for name in ("one", "two")]
    services.create_policy("three")
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert [policy.name for policy in Policy.objects.all()] == ["three"]


def test_a_device_has_rules_of_its_own(admin_client: Client, pump: Device) -> None:
    url = reverse("admin:accounts_device_change", args=[pump.pk])
    data = with_rule(form_data(admin_client.get(url), "device_form"), topic_filter="a/+", action="publish")
    assert admin_client.post(url, data).status_code == 302
    assert str(pump.rules.get()) == "allow publish a/+"
    wrong = with_rule(form_data(admin_client.get(url), "device_form"), topic_filter="a/#/b")
    assert "topic_filter" in rule_errors(admin_client.post(url, wrong))[1]
    gone = {**form_data(admin_client.get(url), "device_form"), "rules-0-DELETE": "on"}
    admin_client.post(url, gone)
    assert not Rule.objects.exists()


def test_a_new_device_can_have_rules_at_once(admin_client: Client) -> None:
    url = reverse("admin:accounts_device_add")
    data = with_rule(form_data(admin_client.get(url), "device_form"), topic_filter="a/+")
    assert admin_client.post(url, {**data, "username": "pump-18"}).status_code == 200, "the token’s page"
    assert str(Device.objects.get().rules.get()) == "allow all a/+"


def test_a_device_shows_every_policy_that_applies(
    admin_client: Client, pump: Device, pumps: DeviceGroup
) -> None:
    services.create_policy("for all", everyone=True)
    services.create_policy("for its group", groups=[pumps], enabled=False)
    services.create_policy("for itself", devices=[pump], groups=[pumps])
    services.create_policy("for others")
    html = admin_client.get(reverse("admin:accounts_device_change", args=[pump.pk])).content.decode()
    assert html.count(">for all</a>") == html.count(">for itself</a>") == 1
    assert ">for its group</a> (disabled)" in html
    assert "for others" not in html


def test_a_group_shows_the_policies_attached_to_it(admin_client: Client, pumps: DeviceGroup) -> None:
    services.create_policy("for pumps", groups=[pumps])
    html = admin_client.get(reverse("admin:accounts_devicegroup_change", args=[pumps.pk])).content.decode()
    assert ">for pumps</a>" in html


def test_a_deleted_device_takes_its_rules_along(admin_client: Client, pump: Device) -> None:
    services.create_rule(pump, "allow", "all", "a")
    services.create_policy("for itself", devices=[pump])
    url = reverse("admin:accounts_device_delete", args=[pump.pk])
    question = admin_client.get(url).content.decode()
    assert "Rules: 1" in question
    assert "relationship" not in question
    admin_client.post(url, {"post": "yes"})
    assert not Rule.objects.exists()
    assert Policy.objects.exists()
