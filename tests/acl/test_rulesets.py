import logging

import pytest

from accounts.models import Device, DeviceGroup
from accounts.principals import principal_of
from acl.core.rules import Action, Effect
from acl.core.rules import Rule as CoreRule
from acl.models import Policy, Rule
from acl.rulesets import PolicyBook, PolicyBroken, load_own_rules, load_policy_book

pytestmark = pytest.mark.django_db


@pytest.fixture
def pump():
    return Device.objects.create(username="pump-17")


@pytest.fixture
def pumps(pump):
    group = DeviceGroup.objects.create(name="pumps")
    pump.groups.add(group)
    return group


def policy(name: str, *filters: str, **fields) -> Policy:
    """A policy that denies each filter: what is left out would be noticed."""
    made = Policy.objects.create(name=name, **fields)
    for topic_filter in filters:
        Rule.objects.create(policy=made, effect="deny", action="all", topic_filter=topic_filter)
    return made


def break_rules(of: Policy | Device) -> None:
    """As another program could: every form and service refuses it."""
    of.rules.update(topic_filter="a/#/b")


def applying(device: Device, book: PolicyBook | None = None) -> set[str]:
    """The filters of all rules that apply to a device, read as the endpoint reads them."""
    device = Device.objects.get(pk=device.pk)
    policy_ids = [each.pk for each in device.policies.all()]
    sets = (book or load_policy_book()).rule_sets(principal_of(device), policy_ids, load_own_rules(device))
    return {compiled.text for rules in sets for compiled in rules.rules}


def test_nothing_applies_to_a_device_that_nobody_thought_of(pump):
    policy("of others", "x")
    assert applying(pump) == set()


def test_a_device_gets_its_own_rules_its_policies_its_groups_and_everyones(pump, pumps):
    other = Device.objects.create(username="other")
    others = DeviceGroup.objects.create(name="others")
    Rule.objects.create(device=pump, effect="allow", action="all", topic_filter="own")
    Rule.objects.create(device=other, effect="allow", action="all", topic_filter="other's own")
    policy("device's", "device").devices.add(pump)
    policy("group's", "group 1", "group 2").groups.add(pumps)
    policy("everyone's", "everyone", everyone=True)
    policy("other device's", "other device").devices.add(other)
    policy("other group's", "other group").groups.add(others)
    policy("nobody's", "nobody")
    assert applying(pump) == {"own", "device", "group 1", "group 2", "everyone"}
    assert applying(other) == {"other's own", "other device", "everyone"}


def test_a_policy_that_reaches_a_device_twice_applies_once(pump, pumps):
    made = policy("fleet", "a", everyone=True)
    made.devices.add(pump)
    made.groups.add(pumps)
    book = load_policy_book()
    sets = book.rule_sets(principal_of(pump), [made.pk], load_own_rules(pump))
    assert [compiled.text for rules in sets for compiled in rules.rules] == ["a"]


@pytest.mark.parametrize("attached_to", ["device", "group", "everyone"])
def test_a_policy_that_is_off_does_not_apply_its_denials_included(pump, pumps, attached_to):
    made = policy("fleet", "a", everyone=attached_to == "everyone")
    if attached_to == "device":
        made.devices.add(pump)
    if attached_to == "group":
        made.groups.add(pumps)
    assert applying(pump) == {"a"}
    Policy.objects.update(enabled=False)
    assert applying(pump) == set()


def test_a_rule_that_is_off_does_not_apply(pump):
    made = policy("fleet", "a", "b", everyone=True)
    for topic_filter in ("c", "d"):
        Rule.objects.create(device=pump, effect="deny", action="all", topic_filter=topic_filter)
    Rule.objects.filter(topic_filter__in=["a", "c"]).update(enabled=False)
    assert applying(pump) == {"b", "d"}
    made.rules.update(enabled=False)
    assert applying(pump) == {"d"}


def test_a_broken_rule_that_is_off_breaks_nothing(pump):
    policy("fleet", "a", everyone=True)
    Rule.objects.update(enabled=False, topic_filter="a/#/b")
    book = load_policy_book()
    assert not book.broken
    assert applying(pump, book) == set()


def test_every_field_of_a_rule_reaches_its_compiled_form(pump):
    made = Policy.objects.create(name="fleet", everyone=True)
    row = Rule.objects.create(
        policy=made, priority=7, effect="deny", action="subscribe", topic_filter="dev/${clientid}/#",
        literal=True, networks="10.0.0.0/8\n2001:db8::/32", note="not part of a decision",
    )  # fmt: skip
    compiled = load_policy_book().compiled[made.pk]
    assert compiled is not None
    (rule,) = (each.rule for each in compiled.rules)
    assert (rule.id, rule.effect, rule.action) == (row.pk, Effect.DENY, Action.SUBSCRIBE)
    assert (rule.topic_filter, rule.literal, rule.priority) == ("dev/${clientid}/#", True, 7)
    assert [str(network) for network in rule.networks] == ["10.0.0.0/8", "2001:db8::/32"]
    assert rule.source == "policy fleet"


def test_a_rule_says_where_it_is_kept(pump):
    policy("fleet", "a", everyone=True)
    Rule.objects.create(device=pump, effect="allow", action="all", topic_filter="b")
    (own,) = load_own_rules(pump).rules
    (shared,) = (each for rules in load_policy_book().compiled.values() if rules for each in rules.rules)
    assert [str(own.decision.rule), str(shared.decision.rule)] == [
        "allow all b (device pump-17)",
        "deny all a (policy fleet)",
    ]


def test_an_empty_policy_compiles(pump):
    policy("fleet", everyone=True)
    book = load_policy_book()
    assert not book.broken
    assert applying(pump, book) == set()


# A policy that does not compile


def test_a_policy_that_breaks_keeps_its_last_good_version(pump):
    made = policy("fleet", "secret/#", everyone=True)
    good = load_policy_book()
    break_rules(made)
    broken = load_policy_book(good)
    assert made.pk in broken.broken
    assert applying(pump, broken) == {"secret/#"}
    # ... however often it is read, and whatever else is changed in it
    Rule.objects.create(policy=made, effect="deny", action="all", topic_filter="more")
    still_broken = load_policy_book(load_policy_book(broken))
    assert applying(pump, still_broken) == {"secret/#"}


def test_a_repaired_policy_comes_into_force(pump):
    made = policy("fleet", "secret/#", everyone=True)
    good = load_policy_book()
    break_rules(made)
    broken = load_policy_book(good)
    made.rules.update(topic_filter="repaired")
    repaired = load_policy_book(broken)
    assert not repaired.broken
    assert applying(pump, repaired) == {"repaired"}


@pytest.mark.parametrize("attached_to", ["device", "group", "everyone"])
def test_without_a_last_good_version_the_devices_it_concerns_are_denied(pump, pumps, attached_to):
    other = Device.objects.create(username="other")
    policy("good", "a", everyone=True)
    made = policy("fleet", "secret/#", everyone=attached_to == "everyone")
    break_rules(made)
    if attached_to == "device":
        made.devices.add(pump)
    if attached_to == "group":
        made.groups.add(pumps)
    book = load_policy_book()
    with pytest.raises(PolicyBroken, match="fleet"):
        applying(pump, book)
    if attached_to != "everyone":
        assert applying(other, book) == {"a"}


def test_a_broken_policy_that_applies_to_nobody_denies_nobody(pump):
    break_rules(policy("fleet", "secret/#"))
    assert applying(pump) == set()


def test_a_policy_that_was_switched_off_has_no_last_good_version(pump):
    """Else it would come back, on its return, as something nobody can read any more."""
    made = policy("fleet", "secret/#", everyone=True)
    good = load_policy_book()
    Policy.objects.update(enabled=False)
    off = load_policy_book(good)
    Policy.objects.update(enabled=True)
    break_rules(made)
    with pytest.raises(PolicyBroken):
        applying(pump, load_policy_book(off))


def test_a_policy_that_was_deleted_is_gone_broken_or_not(pump):
    made = policy("fleet", "secret/#", everyone=True)
    good = load_policy_book()
    break_rules(made)
    broken = load_policy_book(good)
    made.delete()
    gone = load_policy_book(broken)
    assert not gone.broken
    assert not gone.compiled
    assert applying(pump, gone) == set()


def test_one_broken_policy_leaves_the_others_current(pump):
    made = policy("fleet", "old", everyone=True)
    other = policy("other", "before", everyone=True)
    good = load_policy_book()
    break_rules(made)
    other.rules.update(topic_filter="after")
    assert applying(pump, load_policy_book(good)) == {"old", "after"}


def test_who_a_broken_policy_applies_to_is_always_current(pump, pumps):
    made = policy("fleet", "secret/#", everyone=True)
    good = load_policy_book()
    break_rules(made)
    Policy.objects.update(everyone=False)
    detached = load_policy_book(good)
    assert applying(pump, detached) == set()
    made.groups.add(pumps)
    assert applying(pump, load_policy_book(detached)) == {"secret/#"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topic_filter", "a/#/b"),
        ("topic_filter", "${nope}"),
        ("topic_filter", "$share/g/a"),
        ("networks", "nonsense"),
        ("networks", "10.0.0.7/8"),
    ],
)
def test_whatever_is_wrong_with_a_rule_is_told_with_its_policy(pump, field, value):
    made = policy("fleet", "a", everyone=True)
    made.rules.update(**{field: value})
    (problem,) = load_policy_book().broken.values()
    assert problem.startswith("policy fleet: ")
    assert value in problem


def logged(caplog) -> list[tuple[str, str]]:
    return [(record.policy, record.problem) for record in caplog.records if record.name == "acl.rulesets"]


def test_a_policy_that_does_not_compile_is_logged_once_a_version(caplog):
    caplog.set_level(logging.INFO)
    made = policy("fleet", "a", everyone=True)
    policy("other", "b")
    book = load_policy_book()
    assert logged(caplog) == []

    break_rules(made)
    for _ in range(3):
        book = load_policy_book(book)
    assert [name for name, _ in logged(caplog)] == ["fleet"]

    made.rules.update(topic_filter="c/#/d")
    for _ in range(3):
        book = load_policy_book(book)
    assert [problem.count("c/#/d") > 0 for _, problem in logged(caplog)] == [False, True]

    made.rules.update(topic_filter="repaired")
    book = load_policy_book(book)
    break_rules(made)
    load_policy_book(book)
    assert [name for name, _ in logged(caplog)] == ["fleet"] * 3
    assert {record.levelname for record in caplog.records if record.name == "acl.rulesets"} == {"ERROR"}


def test_a_device_whose_own_rules_do_not_compile_is_denied(pump):
    Rule.objects.create(device=pump, effect="allow", action="all", topic_filter="a")
    Rule.objects.create(device=pump, effect="deny", action="all", topic_filter="b")
    Rule.objects.filter(topic_filter="b").update(topic_filter="a/#/b")
    with pytest.raises(PolicyBroken, match="device pump-17"):
        load_own_rules(pump)


@pytest.mark.parametrize(("policies", "rules", "groups"), [(1, 1, 1), (1, 40, 1), (30, 1, 1), (10, 10, 10)])
def test_reading_all_policies_costs_three_queries(policies, rules, groups, django_assert_num_queries):
    all_groups = [DeviceGroup.objects.create(name=f"group {number}") for number in range(groups)]
    for number in range(policies):
        made = policy(f"policy {number}", *(f"a/{rule}" for rule in range(rules)))
        made.groups.set(all_groups)
    with django_assert_num_queries(3):
        book = load_policy_book()
    assert len(book.compiled) == policies
    assert {len(compiled) for compiled in book.compiled.values() if compiled is not None} == {rules}
    assert book.by_group == {group.pk: frozenset(book.compiled) for group in all_groups}


def test_a_policy_that_did_not_change_is_not_compiled_again(pump):
    changed, same = policy("changed", "a", "b"), policy("same", "a", "b")
    first = load_policy_book()
    changed.rules.filter(topic_filter="a").update(topic_filter="c")
    second = load_policy_book(first)
    assert second.compiled[same.pk] is first.compiled[same.pk]
    assert second.compiled[changed.pk] is not first.compiled[changed.pk]


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 7},
        {"effect": "allow"},
        {"action": "publish"},
        {"topic_filter": "b"},
        {"literal": True},
        {"networks": "10.0.0.0/8"},
        {"enabled": False},
    ],
    ids=str,
)
def test_a_change_of_any_field_of_a_rule_reaches_the_next_book(pump, change):
    made = policy("fleet", "a", "z")
    first = load_policy_book()
    made.rules.filter(topic_filter="a").update(**change)
    assert (
        rules_of(load_policy_book(first), made) == rules_of(load_policy_book(), made) != rules_of(first, made)
    )


def test_a_new_name_a_new_rule_and_a_deleted_one_reach_the_next_book(pump):
    made = policy("fleet", "a")
    first = load_policy_book()
    Policy.objects.update(name="renamed")
    second = load_policy_book(first)
    assert {rule.source for rule in rules_of(second, made)} == {"policy renamed"}
    Rule.objects.create(policy=made, effect="deny", action="all", topic_filter="b")
    third = load_policy_book(second)
    assert {rule.topic_filter for rule in rules_of(third, made)} == {"a", "b"}
    made.rules.filter(topic_filter="a").delete()
    assert {rule.topic_filter for rule in rules_of(load_policy_book(third), made)} == {"b"}


def rules_of(book: PolicyBook, made: Policy) -> list[CoreRule]:
    """The rules of one policy as they are in force, in evaluation order."""
    compiled = book.compiled[made.pk]
    assert compiled is not None
    return [each.rule for each in compiled.rules]


@pytest.mark.parametrize("rules", [0, 1, 40])
def test_a_devices_own_rules_cost_one_query(pump, rules, django_assert_num_queries):
    Rule.objects.bulk_create(
        [
            Rule(device=pump, effect="allow", action="all", topic_filter=f"a/{number}")
            for number in range(rules)
        ]
    )
    with django_assert_num_queries(1):
        assert len(load_own_rules(pump)) == rules


def test_choosing_what_applies_costs_no_query(pump, pumps, django_assert_num_queries):
    policy("fleet", "a", everyone=True).groups.add(pumps)
    book, principal, own = load_policy_book(), principal_of(pump), load_own_rules(pump)
    with django_assert_num_queries(0):
        assert len(book.rule_sets(principal, [], own)) == 1


def test_a_policy_unknown_to_the_book_waits_for_the_next_one(pump):
    """A device may be read a moment after a policy was made and before the policies are read again."""
    book = load_policy_book()
    made = policy("fleet", "a")
    made.devices.add(pump)
    assert applying(pump, book) == set()
    assert applying(pump) == {"a"}


# --- The revision ---


def revision() -> str:
    return load_policy_book().revision


CHANGES = {
    "a rule is added": lambda fleet: fleet.rules.create(effect="deny", action="all", topic_filter="new"),
    "a rule is altered": lambda fleet: fleet.rules.update(action="publish"),
    "a rule is switched off": lambda fleet: fleet.rules.update(enabled=False),
    "a rule is deleted": lambda fleet: fleet.rules.all().delete(),
    "it is renamed": lambda fleet: Policy.objects.filter(pk=fleet.pk).update(name="other"),
    "it is switched off": lambda fleet: Policy.objects.filter(pk=fleet.pk).update(enabled=False),
    "it is everyone's": lambda fleet: Policy.objects.filter(pk=fleet.pk).update(everyone=True),
    "it is a group's": lambda fleet: fleet.groups.add(DeviceGroup.objects.create(name="valves")),
    "it is deleted": lambda fleet: fleet.delete(),
    "another is added": lambda _: policy("empty"),
    "a rule breaks": break_rules,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_revision_ends_with_any_change_of_a_policy(change):
    fleet = policy("fleet", "a", "b")
    before = load_policy_book()
    assert len(before.revision) == 16
    change(fleet)
    assert revision() != before.revision
    # Whoever read the policies before finds the same as who reads them for the first time, except
    # that it goes on with the last good version of one that broke.
    kept = load_policy_book(before)
    assert kept.revision == (before.revision if kept.broken else revision())


UNCHANGED = {
    "nothing": lambda fleet, pump: None,
    "a note": lambda fleet, pump: fleet.rules.update(note="why"),
    "a description": lambda fleet, pump: Policy.objects.filter(pk=fleet.pk).update(description="why"),
    "a device's own rule": lambda fleet, pump: pump.rules.create(
        effect="deny", action="all", topic_filter="x"
    ),
    "a device's policy": lambda fleet, pump: fleet.devices.add(pump),
    "a policy that is off": lambda fleet, pump: policy("draft", "x", enabled=False),
    "the same rules in other rows": lambda fleet, pump: (
        fleet.delete(),
        policy("fleet", "b", "a"),
    ),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_and_with_nothing_else(change, pump):
    fleet = policy("fleet", "a", "b")
    before = load_policy_book()
    change(fleet, pump)
    assert revision() == before.revision
    assert load_policy_book(before).revision == before.revision


def test_no_policies_have_a_revision_too():
    assert len(revision()) == 16
