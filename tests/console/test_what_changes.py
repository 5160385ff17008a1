"""What an unsaved change would do: the devices, the recorded decisions that turn, and examples."""

import time
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.core.client import Client as MqttClient
from accounts.models import Device, DeviceGroup
from accounts.services import create_device, save_group
from acl import services
from acl.core.decide import AccessRequest
from acl.core.matching import PolicyError
from acl.core.rule_lines import read_rule, read_rules
from acl.core.rules import Action, Effect
from acl.core.rules import Rule as CoreRule
from acl.drafts import NEW_POLICY, PolicyDraft, stored_draft
from acl.models import Policy, Rule
from audit.fact import Fact, Kind
from audit.models import Event
from audit.writer import write_facts
from exhookadmin.console.what_changes import FEW_DEVICES, WhatChanges, what_changes
from exhookadmin.explain import explain_access
from tests.web_form import form_data

pytestmark = pytest.mark.django_db

PAGE = reverse("console:policy_changes")


@pytest.fixture
def pumps() -> DeviceGroup:
    return save_group(DeviceGroup(name="pumps"))


@pytest.fixture
def pump(pumps: DeviceGroup) -> Device:
    return create_device("pump", groups=[pumps], attributes={"site": "berlin"})


@pytest.fixture
def policy(pumps: DeviceGroup) -> Policy:
    policy = services.create_policy("base", groups=[pumps])
    services.create_rule(policy, "allow", "all", "site/#")
    services.create_rule(policy, "deny", "all", "site/secret/#")
    return policy


def decided(device: Device, action: str, topic: str, *, allowed: bool = False, **more: Any) -> None:
    own = {"device_id": device.pk, "device": device.username, "client_id": device.username}
    fact = {"username": device.username, "allowed": allowed, "action": action, "topic": topic, **more}
    write_facts([Fact(Kind.AUTHORIZE, **own, **fact)])  # type: ignore[arg-type]


def changed_to(policy: Policy, text: str, **fields: Any) -> WhatChanges:
    stored = stored_draft(policy)
    return what_changes(
        stored, replace(stored, rules=read_rules(text, stored.source, stored.rules), **fields)
    )


def turned(turns: Any) -> list[tuple[str, str, str]]:
    return [(turn.device, f"{turn.action} {turn.topic}", turn.after.reason) for turn in turns]


def test_recorded_decisions_that_turn_are_told_apart(pump: Device, policy: Policy) -> None:
    decided(pump, "publish", "site/secret/plan", reason="rule_denies")
    decided(pump, "publish", "elsewhere", reason="no_rule_matched")
    decided(pump, "subscribe", "site/1", allowed=True, reason="rule_allows")
    changes = changed_to(policy, "allow all site/secret/#")
    assert turned(changes.allowed) == [("pump", "publish site/secret/plan", "rule_allows")]
    assert turned(changes.denied) == [("pump", "subscribe site/1", "no_rule_matched")]
    assert (changes.recorded, changes.looked_at, changes.complete) == (3, 3, True)
    assert (changes.everyone, changes.devices, changes.named) == (False, 1, ((pump.pk, "pump"),))


def test_the_same_question_is_counted_once_with_its_times(pump: Device, policy: Policy) -> None:
    now = time.time()
    for ago in (300, 200, 100):
        decided(pump, "publish", "site/secret/plan", reason="rule_denies", time=now - ago, detail=str(ago))
    Event.objects.filter(detail="200").update(repeats=10)
    (turn,) = changed_to(policy, "allow all site/#").turns
    events = Event.objects.count()
    assert turn.times == events + 10
    newest = Event.objects.order_by("-time").first()
    assert newest is not None
    assert turn.latest == newest.time


def test_a_device_that_is_attached_or_detached_is_concerned(pump: Device, policy: Policy) -> None:
    other = create_device("other")
    decided(other, "publish", "site/1", reason="no_rule_matched")
    decided(pump, "publish", "site/1", allowed=True, reason="rule_allows")
    text = "allow all site/#\ndeny all site/secret/#"
    assert changed_to(policy, text).turns == ()
    moved = changed_to(policy, text, group_ids=frozenset(), device_ids=frozenset({other.pk}))
    assert turned(moved.allowed) == [("other", "publish site/1", "rule_allows")]
    assert turned(moved.denied) == [("pump", "publish site/1", "no_rule_matched")]
    assert moved.devices == 2
    opened = changed_to(policy, text, everyone=True)
    assert opened.everyone
    assert turned(opened.turns) == [("other", "publish site/1", "rule_allows")]
    off = changed_to(policy, text, enabled=False)
    assert turned(off.turns) == [("pump", "publish site/1", "no_rule_matched")]


def test_a_new_policy_and_one_that_is_off(pump: Device) -> None:
    decided(pump, "publish", "a", reason="no_rule_matched")
    draft = PolicyDraft(NEW_POLICY, "new", read_rules("allow all a", "policy new"), everyone=True)
    assert turned(what_changes(None, draft).turns) == [("pump", "publish a", "rule_allows")]
    nothing = what_changes(None, replace(draft, enabled=False))
    assert (nothing.devices, nothing.turns, nothing.examples) == (0, (), ())


def test_the_decision_is_the_one_that_the_endpoint_makes_after_saving(pump: Device, policy: Policy) -> None:
    services.create_rule(pump, "allow", "publish", "own/${attr.site}", priority=5)
    topics = ["site/1", "site/secret/1", "own/berlin", "own/x", "new/1", "site/+"]
    for topic in topics:
        decided(pump, "publish", topic)
    changes = changed_to(policy, "allow all new/#\ndeny all own/#\ndeny publish site/1 (priority 1)")
    before = {topic: _now(topic) for topic in topics}
    policy.rules.all().delete()
    for line in ("allow all new/#", "deny all own/#", "deny publish site/1 (priority 1)"):
        rule = read_rule(line, 1, "")
        services.create_rule(policy, rule.effect, rule.action, rule.topic_filter, priority=rule.priority)
    after = {topic: _now(topic) for topic in topics}
    expected = {topic: after[topic] for topic in topics if before[topic] != after[topic]}
    assert {turn.topic: turn.after.allow for turn in changes.turns} == expected
    assert set(expected) == {"site/1", "new/1"}


def _now(topic: str) -> bool:
    request = AccessRequest(Action.PUBLISH, topic)
    return explain_access(MqttClient("pump", "pump"), request).decision.allow


def test_examples_show_what_no_log_holds(pump: Device, policy: Policy) -> None:
    changes = changed_to(policy, "allow all site/${attr.site}/#\ndeny all site/secret/#")
    assert turned(changes.examples) == [("pump", "publish site/example", "no_rule_matched")]
    detached = changed_to(policy, "allow all site/#\ndeny all site/secret/#", group_ids=frozenset())
    assert turned(detached.examples) == [("pump", "publish site/example", "no_rule_matched")]


def test_a_change_that_does_not_compile_is_refused(pump: Device, policy: Policy) -> None:
    stored = stored_draft(policy)
    wrong = CoreRule(1, Effect.ALLOW, Action.ALL, "a/#/b", source="policy base")
    with pytest.raises(PolicyError):
        what_changes(stored, replace(stored, rules=(wrong,)))


def test_a_device_whose_rules_cannot_be_read_stops_nobody(
    pump: Device, policy: Policy, pumps: DeviceGroup
) -> None:
    broken = create_device("broken", groups=[pumps])
    services.create_rule(broken, "allow", "all", "a")
    Rule.objects.filter(device=broken).update(networks="nowhere")
    for device in (pump, broken):
        decided(device, "publish", "site/secret/1", reason="rule_denies")
    assert [turn.device for turn in changed_to(policy, "allow all site/#").turns] == ["pump"]


# --- bounds ----------------------------------------------------------------------------------------------


def fleet(pumps: DeviceGroup, number: int) -> list[Device]:
    devices = Device.objects.bulk_create([Device(username=f"many-{n:03}") for n in range(number)])
    through = Device.groups.through
    through.objects.bulk_create([through(device=device, devicegroup=pumps) for device in devices])
    return devices


def test_of_many_devices_the_newest_decisions_are_looked_at(
    pump: Device, policy: Policy, pumps: DeviceGroup
) -> None:
    devices = fleet(pumps, FEW_DEVICES + 1)
    stranger = create_device("stranger")
    for device in (*devices[:3], stranger):
        decided(device, "publish", "site/secret/1", reason="rule_denies")
    stored = stored_draft(policy)
    draft = replace(stored, rules=read_rules("allow all site/#", stored.source, stored.rules))
    changes = what_changes(stored, draft)
    assert sorted(turn.device for turn in changes.turns) == [device.username for device in devices[:3]]
    assert (changes.recorded, changes.looked_at) == (3, 4)
    fewer = what_changes(stored, draft, recorded=2)
    assert (fewer.looked_at, len(fewer.turns)) == (2, 1), "the stranger’s is among the newest two"


@pytest.mark.parametrize(("more", "complete"), [(0, True), (5, False)])
def test_when_time_is_up_it_says_so_but_of_a_few_devices_it_tells_all(
    policy: Policy, pumps: DeviceGroup, more: int, complete: bool
) -> None:
    for device in fleet(pumps, FEW_DEVICES + more):
        decided(device, "publish", "site/secret/1", reason="rule_denies")
    stored = stored_draft(policy)
    draft = replace(stored, rules=read_rules("allow all site/#", stored.source, stored.rules))
    ticks = count()
    changes = what_changes(stored, draft, seconds=0, clock=lambda: float(next(ticks)))
    assert (len(changes.turns), changes.complete) == (FEW_DEVICES, complete)
    assert changes.devices == FEW_DEVICES + more


def test_it_writes_nothing_and_costs_a_bounded_number_of_queries(
    pump: Device, policy: Policy, pumps: DeviceGroup
) -> None:
    devices = fleet(pumps, FEW_DEVICES + 5)
    for device in devices:
        decided(device, "publish", "site/secret/1", reason="rule_denies")
    stored = stored_draft(Policy.objects.prefetch_related("rules", "groups").get())
    draft = replace(stored, rules=read_rules("allow all site/#", stored.source, stored.rules))
    with CaptureQueriesContext(connection) as many:
        what_changes(stored, draft)
    pumps.devices.set(devices[:FEW_DEVICES])
    with CaptureQueriesContext(connection) as few:
        what_changes(stored, draft)
    for captured in (many, few):
        assert all(query["sql"].startswith(("SELECT", "PRAGMA")) for query in captured)
        assert len(captured) <= 40


# --- in the editor ---------------------------------------------------------------------------------------


def form_of(client: Client, policy: Policy, **changes: Any) -> dict[str, Any]:
    url = reverse("admin:acl_policy_change", args=[policy.pk])
    data: dict[str, Any] = {**form_data(client.get(url), "policy_form"), **changes}
    return {name: value for name, value in data.items() if value != ""}


def test_the_editor_shows_what_changes(admin_client: Client, pump: Device, policy: Policy) -> None:
    decided(pump, "publish", "site/secret/plan", reason="rule_denies")
    address = f"{PAGE}?policy={policy.pk}"
    unchanged = admin_client.post(address, form_of(admin_client, policy), headers={"HX-Request": "true"})
    assert "Nothing: no rule is different" in unchanged.content.decode()
    data = form_of(admin_client, policy, **{"rules-0-DELETE": "on"})
    html = admin_client.post(address, data, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in html
    assert "Newly allowed" in html
    assert "site/secret/plan" in html
    page = admin_client.post(address, data).content.decode()
    assert "<html" in page
    assert "Nothing was saved" in page
    assert policy.rules.count() == 2


def test_what_is_wrong_comes_first(admin_client: Client, policy: Policy) -> None:
    data = form_of(admin_client, policy, **{"rules-0-topic_filter": "a/#/b"})
    html = admin_client.post(f"{PAGE}?policy={policy.pk}", data).content.decode()
    assert "Correct the rules first. “a/#/b”" in html


def test_a_policy_for_nobody_concerns_nobody(admin_client: Client) -> None:
    data = {"name": "new", "enabled": "on", "rules-TOTAL_FORMS": "1", "rules-0-topic_filter": "a"}
    data |= {"rules-0-effect": "allow", "rules-0-action": "all", "rules-0-priority": "0"}
    html = admin_client.post(PAGE, {**data, "rules-0-enabled": "on"}).content.decode()
    assert "applies to no device" in html


def test_saving_tells_how_many_decisions_turn(admin_client: Client, pump: Device, policy: Policy) -> None:
    decided(pump, "publish", "site/secret/plan", reason="rule_denies")
    url = reverse("admin:acl_policy_change", args=[policy.pk])
    told = admin_client.post(
        url, form_of(admin_client, policy, **{"rules-0-DELETE": "on"}), follow=True
    ).context["messages"]
    assert "Of 1 recorded decisions of its devices, 1 would be allowed now." in map(str, told)
    assert policy.rules.count() == 1
    told = admin_client.post(url, form_of(admin_client, policy, description="x"), follow=True).context[
        "messages"
    ]
    assert not any("recorded decisions" in str(message) for message in told)


def test_who_may_look_ahead(client: Client, policy: Policy) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    assert client.post(PAGE, {}).status_code == 403
    needed = ("view_device", "view_policy", "view_event")
    user.user_permissions.set(Permission.objects.filter(codename__in=needed))
    assert client.post(PAGE, {}).status_code == 200
    assert client.get(PAGE).status_code == 405
