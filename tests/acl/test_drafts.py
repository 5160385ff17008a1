"""A policy that is not stored decides as it would if it were."""

from dataclasses import replace

import pytest

from accounts.models import Device, DeviceGroup
from accounts.principals import principal_of
from accounts.services import create_device, save_group
from acl import services
from acl.core.matching import PolicyError
from acl.core.rule_lines import read_rules
from acl.drafts import NEW_POLICY, PolicyDraft, book_with, stored_draft
from acl.models import Policy, Rule
from acl.rulesets import NO_RULES, PolicyBroken, load_policy_book

pytestmark = pytest.mark.django_db


@pytest.fixture
def pumps() -> DeviceGroup:
    return save_group(DeviceGroup(name="pumps"))


@pytest.fixture
def pump(pumps: DeviceGroup) -> Device:
    return create_device("pump", groups=[pumps])


def drafted(text: str, **more: object) -> PolicyDraft:
    draft = PolicyDraft(NEW_POLICY, "new", read_rules(text, "policy new"))
    return replace(draft, **more)  # type: ignore[arg-type]


def applying(device: Device, draft: PolicyDraft) -> list[str]:
    """The rules that would apply to the device."""
    book = book_with(load_policy_book(), draft)
    stored = frozenset(device.policies.values_list("pk", flat=True))
    principal = principal_of(device)
    sets = book.rule_sets(principal, draft.policy_ids(device.pk, stored), NO_RULES)
    return sorted(rule.rule.ref.text for rules in sets for rule in rules.rules)


def test_a_stored_policy_reads_as_it_is(pumps: DeviceGroup) -> None:
    policy = services.create_policy("own topics", groups=[pumps], everyone=True)
    rule = services.create_rule(policy, "deny", "publish", "a/+", networks="10.0.0.0/8", priority=3)
    services.create_rule(policy, "allow", "all", "off", enabled=False)
    draft = stored_draft(policy)
    assert (draft.policy_id, draft.name, draft.everyone, draft.group_ids) == (
        policy.pk,
        "own topics",
        True,
        frozenset({pumps.pk}),
    )
    assert draft.device_ids is None
    assert [(each.id, str(each.ref)) for each in draft.rules] == [
        (rule.pk, "deny publish a/+ from 10.0.0.0/8 (priority 3) (policy own topics)")
    ]


def test_a_new_policy_applies_to_whom_it_is_attached(pump: Device, pumps: DeviceGroup) -> None:
    services.create_rule(services.create_policy("other", everyone=True), "allow", "all", "other")
    text = "allow all a"
    assert applying(pump, drafted(text)) == ["allow all other"]
    for way in ({"everyone": True}, {"group_ids": {pumps.pk}}, {"device_ids": {pump.pk}}):
        assert applying(pump, drafted(text, **way)) == ["allow all a", "allow all other"]
        assert applying(pump, drafted(text, enabled=False, **way)) == ["allow all other"]
    assert applying(pump, drafted(text, device_ids={pump.pk + 1})) == ["allow all other"]


def test_a_change_replaces_what_is_stored(pump: Device, pumps: DeviceGroup) -> None:
    policy = services.create_policy("own topics", devices=[pump], groups=[pumps], everyone=True)
    services.create_rule(policy, "allow", "all", "old")
    stored = stored_draft(policy)
    assert applying(pump, stored) == ["allow all old"]
    assert applying(pump, replace(stored, rules=read_rules("deny all new", "x"))) == ["deny all new"]
    detached = replace(stored, everyone=False, group_ids=frozenset())
    assert applying(pump, detached) == ["allow all old"], "its devices stay as they are"
    assert applying(pump, replace(detached, device_ids=frozenset())) == []


def test_a_draft_can_repair_a_broken_policy(pump: Device) -> None:
    policy = services.create_policy("broken", everyone=True)
    Rule.objects.bulk_create([Rule(policy=policy, effect="deny", action="all", topic_filter="a/#/b")])
    other = drafted("allow all a", everyone=True)
    with pytest.raises(PolicyBroken):
        applying(pump, other)
    repaired = PolicyDraft(policy.pk, "broken", read_rules("deny all a/#", "x"), everyone=True)
    assert applying(pump, repaired) == ["deny all a/#"]


def test_a_draft_that_does_not_compile_is_refused() -> None:
    policy = Policy.objects.create(name="broken")
    Rule.objects.bulk_create([Rule(policy=policy, effect="deny", action="all", topic_filter="a/#/b")])
    with pytest.raises(PolicyError, match="policy broken"):
        book_with(load_policy_book(), stored_draft(policy))


def test_the_stored_policies_stay_in_force(pump: Device) -> None:
    services.create_rule(services.create_policy("p", everyone=True), "allow", "all", "old")
    book = load_policy_book()
    before = book.rule_sets(principal_of(pump), (), NO_RULES)
    book_with(book, replace(stored_draft(Policy.objects.get()), rules=()))
    assert book.rule_sets(principal_of(pump), (), NO_RULES) == before
