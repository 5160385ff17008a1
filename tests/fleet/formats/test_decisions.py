"""acl.conf after the import: what the first-match rule of its grammar says, decided by the real engine.

The expectations are written by hand from the file. Where EMQX's own matcher would say something else, a
comment says so.
"""

import pytest

from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.networks import parse_networks
from accounts.core.principal import Principal
from acl.core.compiled import CompiledRules, compile_rules
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action, Rule
from exhookadmin.fleet.records import Finding, Kind, RuleRecord
from tests.fleet.formats.test_acl_conf import EXAMPLE
from tests.fleet.reading import findings, reading, rules

LOCAL, INSIDE, OUTSIDE = "127.0.0.1", "10.1.2.3", "203.0.113.9"


def rules_for(username: str, records: list[RuleRecord]) -> CompiledRules:
    """The rules that apply to a device of this name, whose client id equals its name."""
    applying = [
        record
        for record in records
        if record.subject.username in (None, username) and record.subject.client_id in (None, username)
    ]
    return compile_rules(
        Rule(
            id=number,
            effect=record.effect,
            action=record.action,
            topic_filter=record.topic_filter,
            literal=record.literal,
            networks=parse_networks(record.networks),
            priority=record.priority,
        )
        for number, record in enumerate(applying)
    )


def decided(
    content: str, username: str, address: str, action: Action, topic: str, widen: bool = True
) -> bool:
    found = reading("emqx-acl-conf", content)
    records = rules(found)
    if widen:
        records += [rule for finding in findings(found, Kind.DENY_WIDER) for rule in finding.instead]
    client = Client(client_id=username, username=username, address=address)
    principal = Principal(id=1, username=username, binding=Binding.EQUALS_USERNAME)
    request = AccessRequest(action, topic)
    return authorize(client, principal, request, [rules_for(username, records)], now=0).allow


PUB, SUB = Action.PUBLISH, Action.SUBSCRIBE


@pytest.mark.parametrize(
    ("username", "address", "action", "topic", "allowed"),
    [
        # 1: dashboard may subscribe to $SYS/#, from anywhere
        ("dashboard", OUTSIDE, SUB, "$SYS/#", True),
        ("dashboard", OUTSIDE, SUB, "$SYS/brokers", True),
        ("dashboard", OUTSIDE, PUB, "$SYS/brokers", False),
        ("mydashboard", OUTSIDE, SUB, "$SYS/#", False),
        # 2: whoever is local may do anything
        ("u", LOCAL, SUB, "$SYS/#", True),
        ("u", LOCAL, SUB, "#", True),
        ("u", LOCAL, PUB, "any/thing", True),
        # 3: nobody else may subscribe to these
        ("u", OUTSIDE, SUB, "$SYS/brokers", False),
        ("u", OUTSIDE, SUB, "#", False),
        ("u", OUTSIDE, SUB, "+/#", False),
        # 4: everyone publishes below his own client id
        ("u", OUTSIDE, PUB, "up/u/x", True),
        ("u", OUTSIDE, PUB, "up/other/x", False),
        ("u", OUTSIDE, SUB, "up/u/x", False),
        # 5: svc, from inside
        ("svc", INSIDE, PUB, "cmd/x", True),
        ("svc", INSIDE, SUB, "cmd/#", True),
        ("svc", OUTSIDE, PUB, "cmd/x", False),
        ("u", INSIDE, PUB, "cmd/x", False),
        # 6: taken without its QoS and retain: nobody publishes anything that was not allowed above
        ("u", OUTSIDE, PUB, "other", False),
        # 7, 8, 9 are allows that were left out
        ("gateway", OUTSIDE, SUB, "down/a/cmd", True),
        ("u", OUTSIDE, SUB, "u/x", False),
        # 10: nothing else
        ("u", OUTSIDE, SUB, "anything", False),
    ],
)
def test_the_example(username, address, action, topic, allowed):
    content = EXAMPLE.replace("{subscribe, [{qos, [0, 1]}]}", "subscribe")
    assert decided(content, username, address, action, topic) is allowed


@pytest.mark.parametrize(
    ("content", "action", "topic", "allowed"),
    [
        # The first match decides, whichever comes first.
        ('{allow, all, all, ["a/b"]}.\n{deny, all, all, ["a/#"]}.', PUB, "a/b", True),
        ('{deny, all, all, ["a/#"]}.\n{allow, all, all, ["a/b"]}.', PUB, "a/b", False),
        ('{allow, all, publish, ["a"]}.\n{deny, all, all, ["a"]}.', SUB, "a", False),
        ('{deny, all, publish, ["a"]}.\n{allow, all, all, ["a"]}.', SUB, "a", True),
        # Nothing matched: denied here, whatever EMQX's authorization.no_match says.
        ('{deny, all, all, ["a"]}.', PUB, "b", False),
        # eq is the subscription of that very text, and no wildcard.
        ('{deny, all, subscribe, [{eq, "#"}]}.\n{allow, all}.', SUB, "#", False),
        ('{deny, all, subscribe, [{eq, "#"}]}.\n{allow, all}.', SUB, "a/#", True),
        ('{allow, all, subscribe, [{eq, "a/#"}]}.', SUB, "a/b", False),
        # All topics: # never covers $SYS/#, and a deny of all hides it from what comes later.
        ("{allow, all}.", SUB, "$SYS/brokers", False),
        ('{deny, all}.\n{allow, all, subscribe, ["$SYS/#"]}.', SUB, "$SYS/brokers", False),
        ('{deny, all, all, ["#"]}.\n{allow, all, subscribe, ["$SYS/#"]}.', SUB, "$SYS/brokers", True),
        # EMQX compares a requested filter word by word, and grants these three.
        ('{allow, all, subscribe, ["a/+"]}.', SUB, "a/#", False),
        ('{allow, all, subscribe, ["a/+/+"]}.', SUB, "a/b/#", False),
        ('{deny, all, subscribe, ["secret/#"]}.\n{allow, all}.', SUB, "#", False),
        ('{deny, all, subscribe, ["secret/#"]}.\n{allow, all}.', SUB, "+/#", False),
        ('{deny, all, subscribe, ["a/b"]}.\n{allow, all, all, ["a/#"]}.', SUB, "a/+", False),
        # Topics that a subscription cannot receive do not concern it.
        ('{deny, all, subscribe, ["secret/#"]}.\n{allow, all}.', SUB, "public/#", True),
    ],
)
def test_the_first_match_decides(content, action, topic, allowed):
    assert decided(content, "u", OUTSIDE, action, topic) is allowed


def test_a_name_that_cannot_be_filled_in_is_denied_where_emqx_skips_the_rule():
    content = '{deny, all, all, ["private/${username}/#"]}.\n{allow, all}.'
    assert decided(content, "a+b", OUTSIDE, PUB, "public") is False


@pytest.mark.parametrize(
    "condition", ['{zone, "z"}', '{username, {re, "^x"}}', '{listener, "l"}', '{client_attr, "a", "b"}']
)
@pytest.mark.parametrize("topic", ["secret/a", "secret/b/c"])
def test_a_deny_that_is_taken_without_its_condition_still_protects(condition, topic):
    content = f'{{deny, {condition}, all, ["secret/#"]}}.\n{{allow, all}}.'
    assert decided(content, "u", OUTSIDE, PUB, topic) is False
    # Which is why it is never simply left out:
    assert decided(content, "u", OUTSIDE, PUB, topic, widen=False) is True


def test_findings_say_what_they_are():
    assert {type(finding) for finding in findings(reading("emqx-acl-conf", EXAMPLE))} == {Finding}
