"""Remarks on rules: while they are typed, for the right rows, and after saving. Asking stores nothing."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.core.binding import Binding
from accounts.models import Device, DeviceGroup
from accounts.services import create_device, save_group
from acl import services
from acl.core.lint import Fleet
from acl.core.rule_lines import read_rule
from acl.fleet import fleet_of, fleet_of_device
from acl.models import Policy, Rule
from acl.rule_checks import TOLD_AFTER_SAVING
from tests.query_count import besides_the_login
from tests.web_form import Data, form_data

pytestmark = pytest.mark.django_db

CHECK = reverse("admin:acl_policy_check")


def table(*lines: str, **fields: str) -> dict[str, str]:
    """A form with these rules; “3 allow all a” is the stored rule 3."""
    data = {"rules-TOTAL_FORMS": str(len(lines)), "enabled": "on", **fields}
    for number, line in enumerate(lines):
        said = re.fullmatch(r"(?:(\d+) )?(.*)", line)
        assert said is not None
        effect, action, topic_filter, *priority = said[2].split(" ")
        row = {"id": said[1] or "", "effect": effect, "action": action, "topic_filter": topic_filter}
        row |= {"priority": (priority or ["0"])[0], "enabled": "on"}
        data |= {f"rules-{number}-{name}": value for name, value in row.items()}
    return data


def remarks(client: Client, data: dict[str, Any], query: str = "") -> dict[int, str]:
    """By the number of the row, the text below its filter."""
    response = client.post(f"{CHECK}?{query}", data)
    assert response.status_code == 200
    html = response.content.decode()
    lists = re.findall(r'id="id_rules-(\d+)-topic_filter_findings"[^>]*>(.*?)</ul>', html, re.DOTALL)
    texts = {int(number): " ".join(re.sub(r"<[^>]+>", " ", text).split()) for number, text in lists}
    return {number: text for number, text in texts.items() if text}


def summary(client: Client, data: dict[str, Any], query: str = "") -> str:
    html = client.post(f"{CHECK}?{query}", data).content.decode()
    return html.partition('hx-swap-oob="innerHTML">')[2].partition("</span>")[0]


def test_each_remark_is_below_the_filter_of_its_rule(admin_client: Client) -> None:
    data = table("allow all a/#/b", "allow all #", "allow publish a/b", "deny all x")
    assert {number: text[:30] for number, text in remarks(admin_client, data).items()} == {
        0: "“a/#/b”: # is only allowed as ",
        1: "It opens every topic, whoever’",
        2: "It never decides: “allow all #",
    }
    assert summary(admin_client, data) == "3 remarks on the rules shown."
    assert summary(admin_client, table("deny all x")) == "Nothing odd about these rules."


def test_a_row_that_does_not_count_hides_nothing(admin_client: Client) -> None:
    def of_last(**first: str) -> dict[int, str]:
        return remarks(admin_client, table("allow all a/#", "allow all a/b") | first)

    assert set(of_last()) == {1}
    assert of_last(**{"rules-0-DELETE": "on"}) == {}
    assert of_last(**{"rules-0-enabled": ""}) == {}
    assert set(of_last(**{"rules-0-priority": "x"})) == {0}, "a wrong row is told, and is in nobody’s way"
    assert of_last(**{"rules-0-topic_filter": ""}) == {}, "a row just added is not wrong yet"


def test_rules_of_the_policy_that_the_form_does_not_hold_count_too(admin_client: Client) -> None:
    policy = services.create_policy("p")
    hidden = services.create_rule(policy, "allow", "all", "a/#")
    shown = services.create_rule(policy, "allow", "all", "a/b")
    data = table(f"{shown.pk} allow all a/b")
    assert "“allow all a/#” is tried before" in remarks(admin_client, data, f"policy={policy.pk}")[0]
    assert remarks(admin_client, data) == {}
    moved = table(f"{shown.pk} allow all b", f"{hidden.pk} allow all b")
    assert set(remarks(admin_client, moved, f"policy={policy.pk}")) == {0}, "the older of the two decides"
    other = table("allow all # 9")
    assert "2 on others of this policy" in summary(admin_client, other, f"policy={policy.pk}")


def test_what_the_devices_cannot_fill_in_is_told(admin_client: Client) -> None:
    pumps = save_group(DeviceGroup(name="pumps"))
    pump = create_device("pump", groups=[pumps], attributes={"site": "berlin"})
    create_device("bare", groups=[pumps])
    data = table("deny all ${attr.site}/#")
    assert remarks(admin_client, data) == {}, "it applies to nobody"
    grouped = remarks(admin_client, {**data, "groups": [str(pumps.pk)]})
    assert grouped == {0: "1 device of 2 has no usable attribute “site”: the rule denies them everything."}
    assert set(remarks(admin_client, {**data, "everyone": "on"})) == {0}
    assert remarks(admin_client, {**data, "devices": [str(pump.pk)]}) == {}


def test_a_device_s_own_rules_are_judged_for_it_alone(admin_client: Client) -> None:
    pump = create_device("pump", attributes={"site": "berlin"})
    services.create_rule(pump, "allow", "all", "a/#")
    data = table("allow all a/b", "allow all ${attr.site}/1", "allow all ${attr.floor}/1")
    told = remarks(admin_client, data, f"device={pump.pk}")
    assert {number: text[:20] for number, text in told.items()} == {
        0: "It never decides: “a",
        2: "The device has no us",
    }


def test_asking_writes_nothing_and_costs_few_queries(admin_client: Client) -> None:
    policy = services.create_policy("p", everyone=True)
    for number in range(5):
        services.create_rule(policy, "allow", "all", f"{number}/${{attr.x}}")
        create_device(f"pump-{number}")
    data = table(*[f"allow all {number}/${{attr.x}}" for number in range(30)])
    with CaptureQueriesContext(connection) as captured:
        remarks(admin_client, data, f"policy={policy.pk}")
    asked = besides_the_login(captured)
    assert [sql for sql in asked if not sql.startswith(("SELECT", "PRAGMA"))] == []
    assert len(asked) <= 10
    assert Rule.objects.count() == 5


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"rules-TOTAL_FORMS": "many"},
        {"rules-TOTAL_FORMS": "9" * 30},
        {"rules-TOTAL_FORMS": "1"},
        table(
            "allow all a", **{"rules-0-id": "9" * 30, "groups": "x", "devices": "-1", "rules-0-effect": "no"}
        ),
        table("allow all a") | {"rules-0-topic_filter": "a\0b"},
    ],
)
def test_a_form_that_no_browser_sends_is_answered(admin_client: Client, data: dict[str, str]) -> None:
    assert admin_client.post(CHECK, data).status_code == 200


@pytest.mark.parametrize("query", ["policy=7", "device=7"])
def test_what_does_not_exist_is_not_found(admin_client: Client, query: str) -> None:
    assert admin_client.post(f"{CHECK}?{query}", table("allow all a")).status_code == 404


def test_a_stored_rule_that_cannot_be_read_is_named(admin_client: Client) -> None:
    policy = services.create_policy("p")
    services.create_rule(policy, "allow", "all", "a")
    Rule.objects.update(networks="nowhere")
    assert "“nowhere” is not a network" in summary(admin_client, table("deny all x"), f"policy={policy.pk}")


@pytest.mark.parametrize(
    ("permissions", "status"), [(["view_rule"], 200), (["add_rule"], 200), (["view_policy"], 403), ([], 403)]
)
def test_who_may_ask(client: Client, permissions: list[str], status: int) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    assert client.post(CHECK, table("allow all a")).status_code == status
    assert client.get(CHECK).status_code in (403, 405)


# --- after saving, scripts or not ------------------------------------------------------------------------


def told_after(client: Client, url: str, form: str, *lines: str) -> list[str]:
    data: Data = form_data(client.get(url), form)
    rows = table(*lines)
    rows.pop("enabled")
    response = client.post(url, {**data, **rows}, follow=True)
    assert response.redirect_chain
    return [str(message) for message in response.context["messages"] if message.level_tag == "warning"]


def test_what_is_odd_is_told_after_saving_a_policy(admin_client: Client) -> None:
    policy = services.create_policy("p", everyone=True)
    url = reverse("admin:acl_policy_change", args=[policy.pk])
    told = told_after(admin_client, url, "policy_form", "allow all a/#", "allow publish a/b", "allow all #")
    assert [text.partition(":")[0] for text in told] == ["allow publish a/b"], "notices are for the editor"
    assert policy.rules.count() == 3
    stored = policy.rules.get(topic_filter="a/#")
    for number in range(TOLD_AFTER_SAVING + 2):
        services.create_rule(policy, "allow", "publish", f"a/{number}")
    told = told_after(admin_client, url, "policy_form", f"{stored.pk} allow all a/+")
    assert len(told) == TOLD_AFTER_SAVING + 1
    assert told[-1] == "3 more rules are odd: see the table."


def test_what_is_odd_is_told_after_saving_a_device(admin_client: Client) -> None:
    pump = create_device("pump")
    url = reverse("admin:accounts_device_change", args=[pump.pk])
    told = told_after(admin_client, url, "device_form", "deny publish x/${attr.site}")
    assert [text.partition(" attribute")[0] for text in told] == [
        "deny publish x/${attr.site}: The device has no usable"
    ]


def test_saving_without_touching_the_rules_tells_nothing(admin_client: Client) -> None:
    policy = services.create_policy("p", everyone=True)
    services.create_rule(policy, "allow", "all", "a/#")
    services.create_rule(policy, "allow", "all", "a/b")
    url = reverse("admin:acl_policy_change", args=[policy.pk])
    response = admin_client.post(url, form_data(admin_client.get(url), "policy_form"), follow=True)
    assert [message for message in response.context["messages"] if message.level_tag == "warning"] == []
    assert Policy.objects.get() == policy


# --- the fleet -------------------------------------------------------------------------------------------


def test_a_usable_value_is_one_that_a_filter_can_be_filled_in_with() -> None:
    for number, value in enumerate(["berlin", "a/b", "+", "", "$x"]):
        create_device(f"pump-{number}", attributes={"site": value})
    create_device("any", client_id_binding=Binding.ANY)
    Device.objects.filter(username="pump-4").update(attributes=["no", "mapping"])
    rules = [read_rule("allow all ${attr.site}/${attr.floor}/${clientid}", 1, "x")]
    assert fleet_of(Device.objects.all(), rules) == Fleet(6, {"site": 1}, 1)
    assert fleet_of_device(Device.objects.get(username="pump-0")) == Fleet(1, {"site": 1}, 0)
    assert fleet_of_device(Device.objects.get(username="pump-1")) == Fleet(1, {}, 0)


def test_without_placeholders_no_device_is_looked_at(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert fleet_of(Device.objects.all(), [read_rule("allow all a/#", 1, "x")]) == Fleet(0)
