"""Decisions under policies that are only supposed: the same function, and nothing is written."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import services
from accounts.models import Device, DeviceGroup
from acl.models import Policy, Rule
from acl.services import create_policy, create_rule
from exhookadmin.api.hypothetical import MOST_POLICIES, MOST_RULES
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db

CLIENT = {"client_id": "pump-17", "username": "pump-17", "address": "192.0.2.7"}


def rule(effect: str, topic_filter: str, **fields: Any) -> dict[str, Any]:
    return {"effect": effect, "action": "all", "topic_filter": topic_filter, **fields}


def policy(name: str, *rules: dict[str, Any], attach: str | None = None) -> dict[str, Any]:
    return {"name": name, "rules": list(rules), "attach": attach}


def question(*policies: dict[str, Any], topics: tuple[str, ...] = ("a/b", "a/secret")) -> dict[str, Any]:
    return {
        "client": CLIENT,
        "action": "publish",
        "topics": list(topics),
        "hypothetical": {"policies": list(policies)},
    }


@pytest.fixture
def pump() -> Device:
    """A device whose group has a policy with one rule; two other policies are nobody’s."""
    pumps = services.save_group(DeviceGroup(name="pumps"))
    create_rule(create_policy("fleet", groups=[pumps]), "allow", "all", "a/#", note="kept")
    create_rule(create_policy("spare"), "deny", "all", "a/b")
    create_rule(create_policy("off", everyone=True, enabled=False), "deny", "all", "x")
    return services.create_device("pump-17", groups=[pumps])


ALLOWED, DENIED, UNMATCHED = "rule_allows", "rule_denies", "no_rule_matched"


@pytest.mark.parametrize(
    ("policies", "reasons"),
    [
        pytest.param([policy("fleet")], [UNMATCHED, UNMATCHED], id="a stored policy without rules"),
        pytest.param(
            [policy("fleet", rule("allow", "a/#"), rule("deny", "a/secret"))],
            [ALLOWED, DENIED],
            id="a denial",
        ),
        pytest.param(
            [policy("fleet", rule("allow", "a/#", priority=1), rule("deny", "a/secret"))],
            [ALLOWED, ALLOWED],
            id="priority",
        ),
        pytest.param(
            [policy("fleet", rule("allow", "a/#"), rule("deny", "a/secret", enabled=False))],
            [ALLOWED, ALLOWED],
            id="a rule that is off",
        ),
        pytest.param(
            [policy("fleet", rule("allow", "a/#", networks=["198.51.100.0/24"]))],
            [UNMATCHED, UNMATCHED],
            id="networks",
        ),
        pytest.param(
            [policy("fleet", rule("allow", "a/+", literal=True))], [UNMATCHED, UNMATCHED], id="literal"
        ),
        pytest.param([policy("spare", rule("deny", "a/b"))], [ALLOWED, ALLOWED], id="nobody’s, as it is"),
        pytest.param(
            [policy("spare", rule("deny", "a/b"), attach="device")], [DENIED, ALLOWED], id="put on the device"
        ),
        pytest.param(
            [policy("new", rule("deny", "a/b"), attach="everyone")], [DENIED, ALLOWED], id="new, everyone’s"
        ),
        pytest.param(
            [policy("off", rule("deny", "a/b"))], [DENIED, ALLOWED], id="one that is off counts as on"
        ),
        pytest.param(
            [
                policy("new", rule("deny", "a/b"), attach="device"),
                policy("newer", rule("deny", "a/secret"), attach="everyone"),
                policy("fleet", rule("allow", "#")),
            ],
            [DENIED, DENIED],
            id="several together",
        ),
    ],
)
def test_it_decides_as_if_the_policies_were_so(
    policies: list[dict[str, Any]], reasons: list[str], pump: Device, call: Caller
):
    answer = call("post", "check/", question(*policies))
    assert answer.status_code == 200, answer.content
    results = answer.json()["results"]
    assert [each["reason"] for each in results] == reasons
    assert [each["allow"] for each in results] == [reason == ALLOWED for reason in reasons]
    assert [each["stored"] for each in results] == [{"allow": True, "reason": ALLOWED}] * 2


def test_a_supposition_that_comes_true_was_right(pump: Device, call: Caller):
    """The same rules, supposed and then stored, decide the same."""
    rules = [
        rule("allow", "a/${clientid}/#"),
        rule("deny", "+/secret", priority=3, networks=["192.0.2.0/24"]),
    ]
    topics = ("a/b", "a/secret", "a/pump-17/x", "z")
    supposed = call("post", "check/", question(policy("fleet", *rules), topics=topics)).json()["results"]
    Rule.objects.filter(policy__name="fleet").delete()
    for each in rules:
        assert call("post", "rules/", {"policy": "fleet", **each}).status_code == 201
    asked = question(topics=topics)
    del asked["hypothetical"]
    stored = call("post", "check/", asked).json()["results"]
    for one, other in zip(supposed, stored, strict=True):
        assert "stored" not in other
        assert [one[name] for name in ("topic", "allow", "reason")] == [
            other[name] for name in ("topic", "allow", "reason")
        ]
        assert [each["text"] for each in one["considered"]] == [each["text"] for each in other["considered"]]


def test_only_a_stored_rule_has_a_number(pump: Device, call: Caller):
    kept = Rule.objects.get(policy__name="fleet").pk
    asked = question(policy("fleet", rule("deny", "a/secret"), rule("allow", "a/#")))
    results = call("post", "check/", asked).json()["results"]
    assert [(each["rule"]["id"], each["rule"]["source"]) for each in results] == [
        (kept, "policy fleet"),
        (None, "policy fleet"),
    ]


def test_a_policy_that_is_broken_can_be_repaired_in_thought(pump: Device, call: Caller):
    Rule.objects.filter(policy__name="fleet").update(networks="nowhere")
    results = call("post", "check/", question(policy("fleet", rule("allow", "a/#")))).json()["results"]
    assert [(each["reason"], each["stored"]["reason"]) for each in results] == [
        (ALLOWED, "policy_broken"),
        (ALLOWED, "policy_broken"),
    ]


def test_a_stranger_stays_one(call: Caller):
    asked = question(policy("new", rule("allow", "#"), attach="device"))
    result = call("post", "check/", asked).json()["results"][0]
    assert (result["reason"], result["stored"]["reason"]) == ("unknown_device", "unknown_device")


def test_nothing_is_written(pump: Device, call: Caller):
    call("get", "policies/")  # notes that the key was used
    before = (list(Policy.objects.values()), list(Rule.objects.values()))
    asked = question(
        policy("fleet", rule("deny", "#")),
        policy("new", rule("deny", "#"), attach="everyone"),
        topics=("a/b",),
    )
    with CaptureQueriesContext(connection) as captured:
        assert call("post", "check/", asked).json()["results"][0]["allow"] is False
    statements = [query["sql"] for query in captured.captured_queries]
    assert statements
    # The key's own last use is kept to the minute, whatever it was used for.
    assert [
        sql
        for sql in statements
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) and "apikey" not in sql
    ] == []
    assert (list(Policy.objects.values()), list(Rule.objects.values())) == before


def test_many_topics_and_rules_cost_the_same_queries(pump: Device, call: Caller):
    call("get", "policies/")
    counts = []
    for size in (1, 50):
        rules = [rule("deny", f"x/{number}") for number in range(size)]
        asked = question(policy("fleet", *rules), topics=tuple(f"x/{number}" for number in range(size)))
        with CaptureQueriesContext(connection) as captured:
            assert call("post", "check/", asked).status_code == 200
        counts.append(len([query for query in captured.captured_queries if "apikey" not in query["sql"]]))
    assert counts[0] == counts[1]


GOOD = rule("allow", "a")


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        pytest.param([], "whole", id="none"),
        pytest.param([policy("fleet", GOOD, rule("deny", "a/#/b"))], "0.rules.1.topic_filter", id="filter"),
        pytest.param([policy("fleet", rule("deny", "$share/g/a"))], "0.rules.0.topic_filter", id="wrapper"),
        pytest.param([policy("fleet"), policy("spare", rule("no", "a"))], "1.rules.0.effect", id="effect"),
        pytest.param(
            [policy("fleet", {"effect": "deny", "topic_filter": "a"})], "0.rules.0.action", id="no action"
        ),
        pytest.param(
            [policy("fleet", rule("deny", "a", networks=["10.0.0.7/8"]))], "0.rules.0.networks", id="net"
        ),
        pytest.param(
            [policy("fleet", rule("deny", "a", networks="all"))], "0.rules.0.networks", id="no list"
        ),
        pytest.param(
            [policy("fleet", rule("deny", "a", priority=10**7))], "0.rules.0.priority", id="priority"
        ),
        pytest.param([policy("new", GOOD)], "0.attach", id="a new one that nobody has"),
        pytest.param([policy("fleet", GOOD, attach="some")], "0.attach", id="attach"),
        pytest.param([policy("fleet", GOOD), policy("fleet")], "1.name", id="twice"),
        pytest.param([{"name": "fleet"}], "0.rules", id="no rules"),
        pytest.param([policy("fleet", *[GOOD] * (MOST_RULES + 1))], "", id="too many rules in one"),
        pytest.param(
            [policy("fleet", *[GOOD] * MOST_RULES), policy("spare", GOOD)], "", id="too many rules in all"
        ),
        pytest.param([policy("fleet")] * (MOST_POLICIES + 1), "whole", id="too many policies"),
        pytest.param(["fleet"], "0.whole", id="no object"),
    ],
)
def test_what_is_wrong_is_told_by_its_path(policies: Any, field: str, pump: Device, call: Caller):
    answer = call("post", "check/", question(*policies))
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [f"hypothetical.policies{'.' if field else ''}{field}"]


def test_the_most_that_is_taken(pump: Device, call: Caller):
    each = [rule("allow", f"a/{number}") for number in range(MOST_RULES // MOST_POLICIES)]
    policies = [policy(f"new {number}", *each, attach="device") for number in range(MOST_POLICIES)]
    assert call("post", "check/", question(*policies)).status_code == 200


def test_policies_do_not_decide_who_connects(pump: Device, call: Caller):
    asked = question(policy("fleet"), topics=()) | {"action": "connect"}
    answer = call("post", "check/", asked)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["hypothetical"])
