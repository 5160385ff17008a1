"""The specification of authorization, as tables. A policy is written one rule a line; rules count from 1."""

from ipaddress import ip_network

import pytest

from accounts.core.binding import Binding
from accounts.core.decision import Reason, allow, deny
from acl.core.decide import AccessRequest, authorize, consider, explain
from acl.core.rules import Action
from acl.core.topic_problems import InvalidTopic
from tests.acl.core.policies import client, policy, principal

NOW = 1_700_000_000.0


@pytest.fixture(params=[0, 1000], ids=["indexed", "scanned"])
def decide(request):
    """Decides by an index, and by trying rules one by one; the answer names the rule that decided."""

    def decide(lines, asked, connection=None, device=None):
        action, _, topic = asked.partition(" ")
        decision = authorize(
            connection or client(),
            device or principal(),
            AccessRequest(Action(action), topic),
            [policy(*lines, scanned=request.param)],
            NOW,
        )
        return decision.allow, decision.rule and decision.rule.id

    return decide


ALLOWED = True
DENIED = False


# --- Nothing matched: denied -----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["publish a", "subscribe a", "subscribe #"])
@pytest.mark.parametrize("lines", [[], ["allow all b"], ["allow publish b", "allow subscribe c/#"]])
def test_what_no_rule_matches_is_denied(decide, lines, asked):
    assert decide(lines, asked) == (DENIED, None)


# --- Publish: the filter matches the topic ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "asked", "expected"),
    [
        (["allow publish a/b"], "publish a/b", (ALLOWED, 1)),
        (["allow publish a/+"], "publish a/b", (ALLOWED, 1)),
        (["allow publish a/#"], "publish a", (ALLOWED, 1)),
        (["allow publish a/#"], "publish a/b/c/d", (ALLOWED, 1)),
        (["allow all a"], "publish a", (ALLOWED, 1)),
        (["allow publish a/b"], "publish a/b/c", (DENIED, None)),
        (["allow publish a/b/c"], "publish a/b", (DENIED, None)),
        (["allow subscribe a"], "publish a", (DENIED, None)),
        (["deny publish a/#", "allow publish a/b"], "publish a/b", (DENIED, 1)),
        (["allow publish #"], "publish $SYS/x", (DENIED, None)),
        (["allow publish $SYS/#"], "publish $SYS/x", (ALLOWED, 1)),
        (["allow publish /#"], "publish /a", (ALLOWED, 1)),
        (["allow publish /#"], "publish a", (DENIED, None)),
    ],
)
def test_publish(decide, lines, asked, expected):
    assert decide(lines, asked) == expected


# --- Subscribe: an allow rule contains the filter, a deny rule overlaps it -------------------------------


@pytest.mark.parametrize(
    ("lines", "asked", "expected"),
    [
        (["allow subscribe a/#"], "subscribe a/+/b", (ALLOWED, 1)),
        (["allow subscribe a/#"], "subscribe a", (ALLOWED, 1)),
        (["allow subscribe +/#"], "subscribe #", (ALLOWED, 1)),
        (["allow all #"], "subscribe +/+", (ALLOWED, 1)),
        (["allow subscribe a/b"], "subscribe a/+", (DENIED, None)),
        (["allow publish a"], "subscribe a", (DENIED, None)),
        # Together they contain it, but no single rule does: refused, which is the safe side.
        (["allow subscribe a/#", "allow subscribe b/#"], "subscribe +/x", (DENIED, None)),
        # EMQX grants these.
        (["allow subscribe a/+"], "subscribe a/#", (DENIED, None)),
        (["allow subscribe a/+/+"], "subscribe a/b/#", (DENIED, None)),
        (["allow subscribe +"], "subscribe #", (DENIED, None)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe #", (DENIED, 1)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe +/#", (DENIED, 1)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe +", (DENIED, 1)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe secret", (DENIED, 1)),
        (["deny subscribe +/secret", "allow subscribe #"], "subscribe a/+", (DENIED, 1)),
        (["deny subscribe +/secret", "allow subscribe #"], "subscribe a/+/c", (ALLOWED, 2)),
        (["deny subscribe a/b/c/d", "allow subscribe #"], "subscribe a/#", (DENIED, 1)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe public/#", (ALLOWED, 2)),
        (["deny subscribe a/b/#", "allow subscribe #"], "subscribe +/b/c", (DENIED, 1)),
        (["deny subscribe a/b/#", "allow subscribe #"], "subscribe +/c/b", (ALLOWED, 2)),
        # Topics that begin with $ are covered by no leading wildcard, in rules and in requests.
        (["allow subscribe #"], "subscribe $SYS/#", (DENIED, None)),
        (["allow subscribe $SYS/#"], "subscribe $SYS/+/x", (ALLOWED, 1)),
        (["allow subscribe $SYS/+"], "subscribe $SYS/x", (ALLOWED, 1)),
        (["deny subscribe $SYS/#", "allow subscribe #"], "subscribe #", (ALLOWED, 2)),
        (["deny subscribe #", "allow subscribe $SYS/#"], "subscribe $SYS/#", (ALLOWED, 2)),
    ],
)
def test_subscribe(decide, lines, asked, expected):
    assert decide(lines, asked) == expected


# --- Order: priority, then deny before allow, then the older rule ----------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["allow all a", "deny all a"], (DENIED, 2)),
        (["allow all a @1", "deny all a"], (ALLOWED, 1)),
        (["deny all a @-1", "allow all a"], (ALLOWED, 2)),
        (["allow all a @5", "deny all # @10"], (DENIED, 2)),
        (["allow all #", "allow all a"], (ALLOWED, 1)),
        (["deny all +", "deny all #", "deny all a"], (DENIED, 1)),
    ],
)
@pytest.mark.parametrize("asked", ["publish a", "subscribe a"])
def test_the_first_match_in_evaluation_order_decides(decide, lines, asked, expected):
    assert decide(lines, asked) == expected


def test_rules_of_all_sets_are_one_list():
    own = policy("allow all a", "allow all b @5")
    fleet = policy("deny all a", "allow all c", "deny all b")
    for sets in ([own, fleet], [fleet, own]):
        answers = {
            topic: authorize(client(), principal(), AccessRequest(Action.PUBLISH, topic), sets, NOW).allow
            for topic in "abc"
        }
        assert answers == {"a": False, "b": True, "c": True}


# --- Wrapped requests are judged by what is inside -------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "asked", "expected"),
    [
        (["allow subscribe a/#"], "subscribe $share/g/a/+", (ALLOWED, 1)),
        (["allow subscribe a/#"], "subscribe $queue/a", (ALLOWED, 1)),
        (["allow subscribe a/#"], "subscribe $exclusive/a/b", (ALLOWED, 1)),
        (["deny subscribe secret/#", "allow subscribe #"], "subscribe $share/g/#", (DENIED, 1)),
        (["allow subscribe #"], "subscribe $share/g/$SYS/#", (DENIED, None)),
        (["allow publish a"], "publish $delayed/5/a", (ALLOWED, 1)),
        (["deny publish secret/#", "allow publish #"], "publish $delayed/5/secret/x", (DENIED, 1)),
        # of the other action they are topics like any other that begins with $
        (["allow all #"], "publish $share/g/a", (DENIED, None)),
        (["allow all #"], "subscribe $delayed/5/a", (DENIED, None)),
    ],
)
def test_wrapped_requests(decide, lines, asked, expected):
    assert decide(lines, asked) == expected


# --- Placeholders: without a usable value an allow rule does not match, a deny rule does -----------------


@pytest.mark.parametrize(
    ("lines", "asked", "client_id", "expected"),
    [
        (["allow all dev/${clientid}/#"], "publish dev/pump/up", "pump", (ALLOWED, 1)),
        (["allow all dev/${clientid}/#"], "publish dev/other/up", "pump", (DENIED, None)),
        (["allow all dev/${clientid}/#"], "subscribe dev/pump/#", "pump", (ALLOWED, 1)),
        (["allow all dev/${clientid}/#"], "subscribe dev/+/up", "pump", (DENIED, None)),
        (["allow all x-${clientid}-y/#"], "publish x-pump-y/up", "pump", (ALLOWED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "subscribe dev/+", "pump", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "subscribe +/other", "pump", (ALLOWED, 2)),
        # a client id that would become a wildcard or another level
        (["allow all dev/${clientid}/#"], "publish dev/x/up", "+", (DENIED, None)),
        (["allow all dev/${clientid}"], "publish dev/x/up", "x/up", (DENIED, None)),
        (["allow all ${clientid}"], "subscribe #", "#", (DENIED, None)),
        (["deny all dev/${clientid}", "allow all #"], "publish dev/x", "+", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "publish dev/x", "#", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "publish dev/x", "a/b", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "publish dev/x", "", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "subscribe other/#", "+", (DENIED, 1)),
        (["deny all dev/${clientid}", "allow all #"], "subscribe other", "+", (DENIED, 1)),
        (["deny publish dev/${clientid}", "allow all #"], "subscribe other", "+", (ALLOWED, 2)),
        (["deny all dev/${cn}", "allow all a @1"], "publish a", "pump", (ALLOWED, 2)),
        (["deny all dev/${cn}", "allow all a"], "publish a", "pump", (DENIED, 1)),
        (["deny all dev/${cn}", "deny all ${attr.site}", "allow all a"], "publish a", "pump", (DENIED, 1)),
        # a client id that would become the broker's own topics
        (["allow all ${clientid}/#"], "subscribe $SYS/#", "$SYS", (DENIED, None)),
        (["allow all dev/${clientid}"], "publish dev/$SYS", "$SYS", (ALLOWED, 1)),
        (["deny all ${clientid}/#", "allow all #"], "publish a", "$SYS", (DENIED, 1)),
    ],
)
def test_placeholders(decide, lines, asked, client_id, expected):
    assert decide(lines, asked, client(client_id)) == expected


# --- Literal filters are compared as text ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "asked", "expected"),
    [
        # without wildcards they mean what ordinary filters mean
        (["allow all eq a/b"], "publish a/b", (ALLOWED, 1)),
        (["allow all eq a/b"], "subscribe a/b", (ALLOWED, 1)),
        (["deny all eq a/b", "allow all #"], "subscribe a/+", (DENIED, 1)),
        (["deny all eq a/b", "allow all #"], "subscribe #", (DENIED, 1)),
        # with wildcards they match the very same filter, and no topic
        (["allow all eq a/+"], "subscribe a/+", (ALLOWED, 1)),
        (["allow all eq a/#"], "subscribe a/#", (ALLOWED, 1)),
        (["allow all eq a/#"], "subscribe a/+", (DENIED, None)),
        (["allow all eq a/#"], "subscribe a/b", (DENIED, None)),
        (["allow all eq a/+"], "publish a/b", (DENIED, None)),
        (["allow all eq #"], "subscribe +/#", (DENIED, None)),
        (["deny all eq #", "allow all #"], "subscribe #", (DENIED, 1)),
        (["deny all eq #", "allow all #"], "subscribe +/#", (ALLOWED, 2)),
        (["deny all eq #", "allow all #"], "subscribe a", (ALLOWED, 2)),
        (["deny all eq #", "allow all #"], "publish a", (ALLOWED, 2)),
        (["allow all eq #"], "subscribe $share/g/#", (ALLOWED, 1)),
        # with placeholders they are filled in, then compared
        (["allow all eq ${clientid}/+"], "subscribe pump-17/+", (ALLOWED, 1)),
        (["allow all eq ${clientid}/+"], "subscribe pump-18/+", (DENIED, None)),
        (["deny all eq ${cn}/+", "allow all #"], "publish a", (DENIED, 1)),
    ],
)
def test_literal_filters(decide, lines, asked, expected):
    assert decide(lines, asked) == expected


# --- Networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "address", "expected"),
    [
        (["allow all a from 192.0.2.0/24"], "192.0.2.7", (ALLOWED, 1)),
        (["allow all a from 192.0.2.0/24"], "::ffff:192.0.2.7", (ALLOWED, 1)),
        (["allow all a from 10.0.0.0/8,2001:db8::/32"], "2001:db8::1", (ALLOWED, 1)),
        (["allow all a from 192.0.2.0/24"], "10.0.0.1", (DENIED, None)),
        (["deny all a from 192.0.2.0/24", "allow all a"], "192.0.2.7", (DENIED, 1)),
        (["deny all a from 192.0.2.0/24", "allow all a"], "10.0.0.1", (ALLOWED, 2)),
        (["deny all ${cn} from 192.0.2.0/24", "allow all a"], "192.0.2.7", (DENIED, 1)),
        (["deny all ${cn} from 192.0.2.0/24", "allow all a"], "10.0.0.1", (ALLOWED, 2)),
        # an address that cannot be read is in no allowed network, and escapes no denied one
        (["allow all a from 0.0.0.0/0,::/0"], "", (DENIED, None)),
        (["deny all a from 192.0.2.0/24", "allow all a"], "", (DENIED, 1)),
        (["deny all a from 192.0.2.0/24", "allow all a"], "unix:/run/x", (DENIED, 1)),
        (["deny all b from 192.0.2.0/24", "allow all a"], "", (ALLOWED, 2)),
    ],
)
@pytest.mark.parametrize("asked", ["publish a", "subscribe a"])
def test_networks(decide, lines, asked, address, expected):
    assert decide(lines, asked, client(address=address)) == expected


# --- Before any rule: the device, the topic, superusers --------------------------------------------------


DEVICE_STATES = [
    (None, Reason.UNKNOWN_DEVICE),
    (principal(enabled=False), Reason.DEVICE_DISABLED),
    (principal(valid_from=NOW + 1), Reason.NOT_YET_VALID),
    (principal(valid_until=NOW), Reason.NO_LONGER_VALID),
    (principal(binding=Binding.EXACT, bound_client_id="other"), Reason.CLIENT_ID_NOT_BOUND),
    (principal(networks=(ip_network("10.0.0.0/8"),)), Reason.ADDRESS_NOT_ALLOWED),
    (principal(superuser=True, enabled=False), Reason.DEVICE_DISABLED),
]


@pytest.mark.parametrize(("device", "reason"), DEVICE_STATES, ids=[reason for _, reason in DEVICE_STATES])
@pytest.mark.parametrize("topic", ["a", "a/#/b"])
def test_a_device_that_may_not_be_served_is_denied_whatever_it_asks(device, reason, topic):
    request = AccessRequest(Action.SUBSCRIBE, topic)
    assert authorize(client(), device, request, [policy("allow all #")], NOW) == deny(reason)


@pytest.mark.parametrize(
    "asked",
    [
        "publish ",
        "publish a/+",
        "publish #",
        "publish $delayed/x/a",
        "publish $delayed/5/a/+",
        "publish a\0b",
        "publish a\ud800",
        "publish " + "x" * 65_536,
        "publish $delayed/1\0/a",
        "subscribe ",
        "subscribe a/#/b",
        "subscribe a+",
        "subscribe $share/g/a#",
        "subscribe $share/g",
        "subscribe $share/g\0/a",
        "subscribe $share/g/$share/h/a",
        "subscribe $share/" + "g" * 65_536 + "/a",
    ],
    ids=lambda asked: ascii(asked[:40]),
)
@pytest.mark.parametrize("device", [principal(), principal(superuser=True)], ids=["ordinary", "superuser"])
def test_an_invalid_topic_is_denied_with_its_own_reason(asked, device):
    action, _, topic = asked.partition(" ")
    request = AccessRequest(Action(action), topic)
    assert authorize(client(), device, request, [policy("allow all #")], NOW) == deny(Reason.INVALID_TOPIC)


@pytest.mark.parametrize("asked", ["publish a", "subscribe #", "subscribe $SYS/#"])
def test_a_superuser_is_allowed_before_any_rule(asked):
    action, _, topic = asked.partition(" ")
    request = AccessRequest(Action(action), topic)
    device = principal(superuser=True)
    assert authorize(client(), device, request, [policy("deny all #")], NOW) == allow(Reason.SUPERUSER)


@pytest.mark.parametrize(
    ("topic", "decision"),
    [
        ("a", (True, Reason.RULE_ALLOWS, "allow publish a/# (policy test)")),
        ("b", (False, Reason.RULE_DENIES, "deny publish b (policy test)")),
        ("c", (False, Reason.NO_RULE_MATCHED, "None")),
    ],
)
def test_a_decision_carries_its_reason_and_its_rule(topic, decision):
    rules = policy("allow publish a/#", "deny publish b")
    made = authorize(client(), principal(), AccessRequest(Action.PUBLISH, topic), [rules], NOW)
    assert (made.allow, made.reason, str(made.rule)) == decision


def test_one_can_only_ask_to_publish_or_to_subscribe():
    with pytest.raises(ValueError, match="publish or to subscribe"):
        authorize(client(), principal(), AccessRequest(Action.ALL, "a"), [], NOW)


# --- The explanation: every rule, in order, with the reason ----------------------------------------------


@pytest.mark.parametrize(
    ("line", "asked", "matched", "why"),
    [
        ("allow all a/+", "publish a/b", True, "its filter matches the topic"),
        ("allow all a/+", "publish b", False, "its filter does not match the topic"),
        ("allow all a/+", "subscribe a/+", True, "its filter contains the requested filter"),
        ("allow all a/+", "subscribe a/#", False, "its filter does not contain the requested filter"),
        ("deny all a/+", "subscribe #", True, "its filter and the requested filter have topics in common"),
        ("deny all a/+", "subscribe b", False, "its filter and the requested filter have no topic in common"),
        ("deny publish a", "subscribe a", False, "it is about the other action"),
        ("allow all a from 10.0.0.0/8", "publish a", False, "the address is not in its networks"),
        ("allow all eq a/+", "subscribe a/+", True, "its literal filter is the requested filter"),
        ("allow all eq a/+", "subscribe a/b", False, "its literal text differs"),
        ("allow all a/${cn}", "publish a/b", False, "placeholder ${cn} has no value"),
        (
            "deny all a/${cn}",
            "publish b",
            True,
            "placeholder ${cn} has no value; a deny rule then matches everything",
        ),
    ],
)
def test_why_a_rule_matched_or_not(line, asked, matched, why):
    action, _, topic = asked.partition(" ")
    request = AccessRequest(Action(action), topic)
    [considered] = consider(client(), principal(), request, [policy(line)])
    assert (considered.rule.ref.text, considered.matched, considered.why) == (line, matched, why)


def test_a_deny_rule_that_could_not_be_tested_says_so():
    request = AccessRequest(Action.PUBLISH, "a")
    rules = [policy("deny all a from 10.0.0.0/8")]
    [considered] = consider(client(address=""), principal(), request, rules)
    assert considered.matched
    assert considered.why.endswith(
        "its networks cannot be tested without an address, which never spares from a deny rule"
    )


def test_an_explanation_lists_all_rules_of_all_sets_in_evaluation_order():
    sets = [policy("allow all # @1", "deny all b"), policy("deny all a @1", "allow publish a")]
    explained = explain(client(), principal(), AccessRequest(Action.SUBSCRIBE, "$share/g/a"), sets, NOW)
    assert explained.decision.allow is False
    assert (explained.topic, explained.topic_problem) == ("a", None)
    assert [(step.rule.ref.text, step.matched) for step in explained.considered] == [
        ("deny all a (priority 1)", True),
        ("allow all # (priority 1)", True),
        ("deny all b", False),
        ("allow publish a", False),
    ]


def test_an_explanation_of_an_invalid_filter_says_what_is_wrong():
    request = AccessRequest(Action.SUBSCRIBE, "a/#/b")
    explained = explain(client(), principal(), request, [policy("allow all #")], NOW)
    assert explained.decision == deny(Reason.INVALID_TOPIC)
    assert explained.topic_problem == "“a/#/b”: # is only allowed as the last level; write a/#"
    assert explained.considered == ()
    with pytest.raises(InvalidTopic, match="only allowed as the last level"):
        list(consider(client(), principal(), request, []))


def test_an_explanation_for_an_unknown_device_has_no_rules():
    explained = explain(client(), None, AccessRequest(Action.PUBLISH, "a"), [policy("allow all #")], NOW)
    assert explained.decision == deny(Reason.UNKNOWN_DEVICE)
    assert explained.considered == ()


def test_a_refused_device_still_sees_what_its_rules_say():
    device = principal(enabled=False)
    explained = explain(client(), device, AccessRequest(Action.PUBLISH, "a"), [policy("allow all #")], NOW)
    assert explained.decision == deny(Reason.DEVICE_DISABLED)
    assert [step.matched for step in explained.considered] == [True]
