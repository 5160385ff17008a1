import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from accounts.models import Device, DeviceGroup
from acl.models import PRIORITY_LIMIT, Policy, Rule
from acl.rulesets import load_policy_book

any_text = st.text(st.characters(), max_size=30)
RIGHT = {"effect": "allow", "action": "publish", "topic_filter": "a/b"}


def refusals(row) -> dict[str, str]:
    """Field → what is said about it; empty when the row is accepted."""
    try:
        row.full_clean()
    except ValidationError as error:
        return {field: " ".join(messages) for field, messages in error.message_dict.items()}
    return {}


@pytest.fixture
def policy(db):
    return Policy.objects.create(name="fleet")


@pytest.fixture
def pump(db):
    return Device.objects.create(username="pump-17")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"effect": "deny", "action": "all", "topic_filter": "#"},
        {"topic_filter": "dev/${clientid}/#", "literal": True},
        {"topic_filter": "é" * 32_767},
        {"priority": PRIORITY_LIMIT},
        {"priority": -PRIORITY_LIMIT},
        {"priority": "17"},
        {"networks": "10.0.0.0/8\n2001:db8::/32"},
        {"networks": None, "note": None},
        {"enabled": False},
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_right_rule_is_accepted_and_stored(policy, fields):
    rule = Rule(policy=policy, **(RIGHT | fields))
    assert refusals(rule) == {}
    rule.save()
    assert Rule.objects.get().topic_filter == rule.topic_filter


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"topic_filter": "a/#/b"}, "topic_filter", "write a/#"),
        ({"topic_filter": "a+/b"}, "topic_filter", "write +/b"),
        ({"topic_filter": ""}, "topic_filter", "cannot be blank"),
        ({"topic_filter": None}, "topic_filter", "cannot be null"),
        ({"topic_filter": "x" * 65_536}, "topic_filter", "65,535"),
        ({"topic_filter": "a\x00"}, "topic_filter", "NUL"),
        ({"topic_filter": "\ud800"}, "topic_filter", "surrogate"),
        ({"topic_filter": "${nope}"}, "topic_filter", "known are ${clientid}"),
        ({"topic_filter": "$share/g/a"}, "topic_filter", "write the inner filter"),
        ({"effect": "permit"}, "effect", "not a valid choice"),
        ({"effect": "DENY"}, "effect", "not a valid choice"),
        ({"effect": ""}, "effect", "cannot be blank"),
        ({"effect": None}, "effect", "cannot be null"),
        ({"effect": ["deny"]}, "effect", "not a valid choice"),
        ({"action": "pubsub"}, "action", "not a valid choice"),
        ({"action": "\x00"}, "action", "not a valid choice"),
        ({"priority": PRIORITY_LIMIT + 1}, "__all__", "between -1,000,000 and 1,000,000"),
        ({"priority": -PRIORITY_LIMIT - 1}, "__all__", "between -1,000,000 and 1,000,000"),
        ({"priority": 10**30}, "priority", "less than or equal to"),
        ({"priority": "9" * 5_000}, "priority", "must be an integer"),
        ({"priority": "high"}, "priority", "must be an integer"),
        ({"priority": None}, "priority", "cannot be null"),
        ({"priority": float("inf")}, "priority", "cannot be stored"),
        ({"priority": float("nan")}, "priority", "must be an integer"),
        ({"literal": None}, "literal", "must be either True or False"),
        ({"enabled": "perhaps"}, "enabled", "must be either True or False"),
        ({"networks": "10.0.0.7/8"}, "networks", "write 10.0.0.0/8"),
        ({"networks": "nonsense"}, "networks", "such as 192.0.2.0/24"),
        ({"networks": "\x00"}, "networks", "such as 192.0.2.0/24"),
        ({"note": "x" * 251}, "note", "at most 250 characters"),
        ({"note": "a\x00b"}, "note", "NUL"),
        ({"note": "\udfff"}, "note", "surrogate"),
        ({"policy": None}, "__all__", "either to a policy or to one device"),
        (
            {"policy": None, "device": Device(username="never stored")},
            "__all__",
            "either to a policy or to one device",
        ),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_wrong_rule_is_refused_with_the_field_and_the_reason(policy, fields, field, says):
    refused = refusals(Rule(**{"policy": policy, **RIGHT, **fields}))
    assert list(refused) == [field]
    assert says in refused[field]
    assert refused[field].encode()


def test_a_rule_has_one_owner(policy, pump):
    assert refusals(Rule(policy=policy, device=pump, **RIGHT)).keys() == {"__all__"}
    assert refusals(Rule(policy=policy, **RIGHT)) == {}
    assert refusals(Rule(device=pump, **RIGHT)) == {}


def test_everything_that_is_wrong_is_said_at_once(policy):
    rule = Rule(
        policy=policy,
        effect="x",
        action="y",
        topic_filter="a/#/b",
        networks="z",
        priority="high",
        note="\x00",
    )
    assert refusals(rule).keys() == {"effect", "action", "topic_filter", "networks", "priority", "note"}


def test_networks_are_stored_one_a_line_in_the_standard_spelling(policy):
    rule = Rule(policy=policy, networks=" 10.0.0.0/255.0.0.0 \n\n2001:DB8::1", **RIGHT)
    assert refusals(rule) == {}
    assert rule.networks == "10.0.0.0/8\n2001:db8::1/128"


class AnyRule(HypothesisTestCase):
    @given(
        effect=st.sampled_from(["allow", "deny"]) | any_text,
        action=st.sampled_from(["publish", "subscribe", "all"]) | any_text,
        topic_filter=any_text | st.lists(st.sampled_from(["a", "+", "#", "${cn}", ""])).map("/".join),
        priority=st.integers() | any_text | st.none(),
        literal=st.booleans() | st.none() | any_text,
        networks=any_text | st.ip_addresses().map(str) | st.none(),
        note=any_text | st.none(),
    )
    def test_is_refused_in_words_or_can_be_stored_and_compiled(self, **fields):
        policy = Policy.objects.create(name="fleet")
        rule = Rule(policy=policy, **fields)
        said = refusals(rule)
        if said:
            assert "".join(said.values()).encode()
            return
        rule.save()
        book = load_policy_book()
        assert not book.broken
        compiled = book.compiled[policy.pk]
        assert compiled is not None
        assert [each.text for each in compiled.rules] == [fields["topic_filter"]]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": ""}, "name", "cannot be blank"),
        ({"name": None}, "name", "cannot be null"),
        ({"name": "fleet"}, "name", "already exists"),
        ({"name": "a\x00b"}, "name", "NUL"),
        ({"name": "\ud800"}, "name", "surrogate"),
        ({"name": "x" * 151}, "name", "at most 150 characters"),
        ({"name": "x", "description": "a\x00b"}, "description", "NUL"),
        ({"name": "x", "everyone": "perhaps"}, "everyone", "must be either True or False"),
        ({"name": "x", "enabled": None}, "enabled", "must be either True or False"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_policy_is_refused_with_the_field_and_the_reason(policy, fields, field, says):
    refused = refusals(Policy(**fields))
    assert list(refused) == [field]
    assert says in refused[field]


def test_a_policy_may_say_nothing_about_itself(db):
    policy = Policy(name="x", description=None)  # type: ignore[misc]
    assert refusals(policy) == {}
    assert policy.description == ""


@pytest.mark.parametrize("means", ["bulk_create", "update"])
@pytest.mark.parametrize(
    ("constraint", "broken"),
    [
        ("rule_is_in_a_policy_or_of_a_device", {"policy": None}),
        ("rule_is_in_a_policy_or_of_a_device", {"device": "pump"}),
        ("rule_effect_is_known", {"effect": "permit"}),
        ("rule_effect_is_known", {"effect": ""}),
        ("rule_action_is_known", {"action": "pubsub"}),
        ("rule_topic_filter_is_not_empty", {"topic_filter": ""}),
        ("topic_filter", {"topic_filter": None}),
        ("rule_priority_is_bounded", {"priority": PRIORITY_LIMIT + 1}),
        ("rule_priority_is_bounded", {"priority": -PRIORITY_LIMIT - 1}),
    ],
    ids=str,
)
def test_the_database_refuses_a_broken_rule_by_itself(policy, pump, constraint, broken, means):
    if broken.get("device"):
        broken = {"device": pump}
    row = Rule.objects.create(policy=policy, **RIGHT)
    with pytest.raises(IntegrityError, match=constraint):
        force(means, row, broken)
    assert Rule.objects.get() == row


@transaction.atomic
def force(means, row, broken) -> None:
    """Writes a broken row without asking the model."""
    if means == "bulk_create":
        Rule.objects.bulk_create([Rule(**{"policy": row.policy, **RIGHT, **broken})])
    else:
        Rule.objects.filter(pk=row.pk).update(**broken)


def test_the_database_refuses_a_second_policy_of_one_name(policy):
    with pytest.raises(IntegrityError, match="name"), transaction.atomic():
        Policy.objects.bulk_create([Policy(name="fleet")])


def test_rules_end_with_their_owner(policy, pump):
    Rule.objects.create(policy=policy, **RIGHT)
    Rule.objects.create(device=pump, **RIGHT)
    pump.delete()
    assert Rule.objects.get().policy == policy
    policy.delete()
    assert not Rule.objects.exists()


def test_a_policy_outlives_what_it_is_attached_to(policy, pump):
    group = DeviceGroup.objects.create(name="pumps")
    policy.devices.add(pump)
    policy.groups.add(group)
    pump.delete()
    group.delete()
    assert not policy.devices.exists()
    assert not policy.groups.exists()


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (Policy(name="fleet"), "fleet"),
        (Rule(**RIGHT), "allow publish a/b"),
        (Rule(effect="deny", action="all", topic_filter="#"), "deny all #"),
        (Rule(effect="deny", action="subscribe", topic_filter="#", literal=True), "deny subscribe eq #"),
    ],
    ids=str,
)
def test_rows_are_shown_as_they_are_spoken_of(row, shown):
    assert str(row) == shown
