"""Policies and rules over HTTP, and the decisions that follow from them."""

from typing import Any

import pytest

from accounts import services
from accounts.models import DeviceGroup
from acl.models import Policy, Rule
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


def test_a_policy_with_its_rules(call: Caller):
    services.save_group(DeviceGroup(name="pumps"))
    made = call("post", "policies/", {"name": "fleet", "groups": ["pumps"], "everyone": True})
    assert made.status_code == 201
    assert [group.name for group in Policy.objects.get().groups.all()] == ["pumps"]
    rule = {
        "policy": "fleet",
        "device": None,
        "priority": 5,
        "effect": "deny",
        "action": "publish",
        "topic_filter": "secret/#",
        "literal": False,
        "networks": ["192.0.2.0/24"],
        "enabled": True,
        "note": "why",
    }
    answer = call("post", "rules/", rule)
    assert answer.json() == rule | {"id": Rule.objects.get().pk}
    assert call("get", "rules/?policy=fleet").json()["results"] == [answer.json()]
    assert call("get", "rules/?policy=other").json()["results"] == []
    changed = call("patch", f"rules/{answer.json()['id']}/", {"effect": "allow"})
    assert changed.json() == answer.json() | {"effect": "allow"}
    assert call("delete", f"policies/{made.json()['id']}/").status_code == 204
    assert not Rule.objects.exists()


def test_a_rule_of_one_device(call: Caller):
    services.create_device("pump-17")
    made = call(
        "post", "rules/", {"device": "pump-17", "effect": "allow", "action": "all", "topic_filter": "a/b"}
    )
    assert made.status_code == 201
    assert [rule["id"] for rule in call("get", "rules/?device=pump-17").json()["results"]] == [
        made.json()["id"]
    ]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"effect": "allow", "action": "all", "topic_filter": "a/b"}, "whole"),
        ({"policy": "fleet", "effect": "allow", "action": "all", "topic_filter": "a/#/b"}, "topic_filter"),
        ({"policy": "fleet", "effect": "allow", "action": "all", "topic_filter": ""}, "topic_filter"),
        ({"policy": "fleet", "effect": "perhaps", "action": "all", "topic_filter": "a"}, "effect"),
        ({"policy": "nobody", "effect": "allow", "action": "all", "topic_filter": "a"}, "policy"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(rule: dict[str, Any], field: str, call: Caller):
    call("post", "policies/", {"name": "fleet"})
    answer = call("post", "rules/", rule)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_a_check_tells_decision_reason_and_rule(call: Caller):
    services.create_device("pump-17")
    call("post", "policies/", {"name": "fleet", "everyone": True})
    for effect, topic in (("allow", "dev/${clientid}/#"), ("deny", "dev/+/secret")):
        rule = {"policy": "fleet", "effect": effect, "action": "all", "topic_filter": topic}
        assert call("post", "rules/", rule).status_code == 201
    client = {"client_id": "pump-17", "username": "pump-17", "address": "192.0.2.7"}
    asked = {
        "client": client,
        "action": "publish",
        "topics": ["dev/pump-17/x", "dev/pump-17/secret", "a", "#"],
    }
    results = call("post", "check/", asked).json()["results"]
    assert [(each["topic"], each["allow"], each["reason"]) for each in results] == [
        ("dev/pump-17/x", True, "rule_allows"),
        ("dev/pump-17/secret", False, "rule_denies"),
        ("a", False, "no_rule_matched"),
        ("#", False, "invalid_topic"),
    ]
    assert results[1]["rule"]["text"].startswith("deny all dev/+/secret")
    assert len(results[2]["considered"]) == 2
    assert results[0]["device"] == "pump-17"


def test_a_check_of_a_connect_judges_the_password_and_repeats_it_nowhere(call: Caller):
    device = services.create_device("pump-17")
    _, token = services.create_token(device)
    for password, allow in ((token, True), ("wrong horse", False)):
        client = {"client_id": "pump-17", "username": "pump-17", "password": password}
        answer = call("post", "check/", {"client": client, "action": "connect"})
        assert answer.json()["results"][0]["allow"] is allow
        assert password not in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "client"),
        ({"client": {"client_id": "x"}, "action": "publish"}, "topics"),
        ({"client": {"client_id": "x"}, "action": "connect", "topics": ["a"]}, "topics"),
        ({"client": {"client_id": "x", "address": "here"}, "action": "connect"}, "client.address"),
        ({"client": {"client_id": "x"}, "action": "publish", "topics": ["a"] * 101}, "topics"),
    ],
)
def test_a_question_that_makes_no_sense(body: dict[str, Any], field: str, call: Caller):
    answer = call("post", "check/", body)
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
