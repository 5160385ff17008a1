"""What generated policies promise, held against filters as plain sets of topics.

Nothing here is shared with the program but the rules themselves: placeholders are filled in by replacing
text, filters are sets of topics, and rules are tried one by one.
"""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import event, given, settings
from hypothesis import strategies as st

from accounts.core.networks import parse_networks
from acl.core.compiled import compile_rules
from acl.core.decide import AccessRequest, authorize, explain
from acl.core.rules import Action, Effect, Rule
from tests.acl.core.policies import client, principal
from tests.acl.core.topic_sets import World, all_filters, all_topics

WORLD = World(["", "a", "d-a", "$s", "d-$s"], depth=4)

# --- policies, connections and requests ------------------------------------------------------------------


def filters_of(*levels):
    return st.sampled_from(["a", "a/+", "a/#", "#"]) | st.sampled_from(all_filters(levels, 3))


rule_filters = filters_of("", "a", "$s", "${clientid}", "d-${clientid}", "${attr.x}", "${cn}")
requested_filters = filters_of("", "a", "$s", "d-a", "d-$s")
published_topics = st.sampled_from(all_topics(["", "a", "$s", "d-a"], 3)) | st.sampled_from(
    ["a", "a/a", "$s"]
)
wrapped = st.sampled_from(["", "", "$share/g/", "$queue/", "$exclusive/"])

rules = st.builds(
    Rule,
    id=st.just(0),
    effect=st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
    action=st.sampled_from([*Action, Action.SUBSCRIBE]),
    topic_filter=rule_filters,
    literal=st.sampled_from([False, False, True]),
    networks=st.sampled_from(["", "", "", "10.0.0.0/8", "192.0.2.0/24"]).map(
        lambda cidr: parse_networks([cidr])
    ),
    priority=st.integers(-1, 1),
)
# Without a broad permission among them, most generated policies would grant nothing that could be unsound.
permissions = st.builds(
    Rule,
    id=st.just(0),
    effect=st.just(Effect.ALLOW),
    action=st.just(Action.ALL),
    topic_filter=st.sampled_from(["#", "+/#", "a/#", "+/+", "${clientid}/#"]),
    priority=st.integers(-1, 1),
)


def identified(sets, order):
    """The rules with ids and sources that are theirs alone together, though not each by itself."""
    identities = iter(order)
    return [
        [
            replace(rule, id=n // 2, source=("device", "policy")[n % 2])
            for rule, n in zip(rules, identities, strict=False)
        ]
        for rules in sets
    ]


rule_sets = st.builds(
    identified,
    st.lists(st.lists(rules | permissions, max_size=14), min_size=1, max_size=3),
    st.permutations(range(42)),
)
values = st.sampled_from(["a", "a", "a", "$s", "", "+", "a/a", "#"])
connections = st.builds(
    client,
    client_id=values,
    cn=values,
    address=st.sampled_from(["10.1.1.1", "192.0.2.1", "192.0.2.1", "203.0.113.1", "", "nowhere"]),
)
devices = st.builds(lambda x: principal(attributes={"x": x}), values)

# --- the same, told by plain sets ------------------------------------------------------------------------


def in_evaluation_order(sets):
    return sorted(
        (rule for rules in sets for rule in rules),
        key=lambda rule: (-rule.priority, rule.effect == "allow", rule.id, rule.source),
    )


def applies(rule, action, connection):
    if rule.action not in (action, "all"):
        return False
    if not rule.networks:
        return True
    try:
        address = ip_address(connection.address)
    except ValueError:
        return rule.effect == "deny"
    return any(address in network for network in rule.networks)


def filled_in(rule, connection, device):
    text = rule.topic_filter
    for placeholder, value in (
        ("${clientid}", connection.client_id),
        ("${cn}", connection.cn),
        ("${attr.x}", device.attributes["x"]),
    ):
        if placeholder in text:
            if not value or set(value) & set("+#/\0") or (value[0] == "$" and text.startswith(placeholder)):
                return None
            text = text.replace(placeholder, value)
    return text


def matches(rule, action, requested, connection, device):
    if not applies(rule, action, connection):
        return False
    text = filled_in(rule, connection, device)
    if text is None:
        return rule.effect == "deny"
    if rule.literal and set(text) & set("+#"):
        return action == "subscribe" and text == requested
    if action == "publish" or rule.effect == "deny":
        return WORLD.overlaps(text, requested)
    return WORLD.contains(text, requested)


def first_match(sets, action, requested, connection, device):
    return next(
        (rule for rule in in_evaluation_order(sets) if matches(rule, action, requested, connection, device)),
        None,
    )


def denied_topics(sets, requested, connection, device):
    """The topics of a subscription that the subscribe rules, tried on each topic by itself, do not allow."""
    undecided = WORLD.topics_of(requested)
    denied = 0
    for rule in in_evaluation_order(sets):
        if not applies(rule, "subscribe", connection):
            continue
        text = filled_in(rule, connection, device)
        if text is None:
            covered = undecided if rule.effect == "deny" else 0
        elif rule.effect == "deny" and rule.literal and set(text) & set("+#"):
            covered = 0  # it forbids asking for that filter, not a topic
        else:
            covered = undecided & WORLD.topics_of(text)
        if rule.effect == "deny":
            denied |= covered
        undecided &= ~covered
    return [topic for n, topic in enumerate(WORLD.topics) if (denied | undecided) >> n & 1]


# --- the promises ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(rule_sets, requested_filters, wrapped, connections, devices, st.sampled_from([0, 100]))
def test_no_subscription_is_granted_that_would_deliver_a_denied_topic(
    sets, requested, wrapper, connection, device, scanned
):
    compiled = [compile_rules(rules, scanned=scanned) for rules in sets]
    request = AccessRequest(Action.SUBSCRIBE, wrapper + requested)
    decision = authorize(connection, device, request, compiled, 0.0)
    event(decision.reason)
    if decision.allow:
        assert denied_topics(sets, requested, connection, device) == []


@settings(deadline=None)
@given(rule_sets, st.data(), connections, devices)
def test_the_index_decides_as_trying_every_rule_does(sets, data, connection, device):
    action = data.draw(st.sampled_from([Action.PUBLISH, Action.SUBSCRIBE]))
    asked = requested_filters if action is Action.SUBSCRIBE else published_topics
    request = AccessRequest(action, data.draw(asked))
    expected = first_match(sets, action, request.topic, connection, device)
    for scanned in (0, 2, 100):
        compiled = [compile_rules(rules, scanned=scanned) for rules in sets]
        explained = explain(connection, device, request, compiled, 0.0)
        considered = explained.considered
        assert [step.rule for step in considered] == in_evaluation_order(sets)
        assert [step.matched for step in considered] == [
            matches(step.rule, action, request.topic, connection, device) for step in considered
        ]
        event(explained.decision.reason)
        assert explained.decision.rule == (expected and expected.ref)
        assert explained.decision.rule == next((step.rule.ref for step in considered if step.matched), None)
        assert explained.decision.allow is (expected is not None and expected.effect == "allow")
