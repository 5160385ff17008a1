"""What is recorded of policies and rules when they change."""

from collections.abc import Iterable

from accounts.changes import Change, State
from accounts.models import Device, DeviceGroup
from accounts.states import DEVICE, fields_of
from acl.models import Policy, Rule

POLICY = "acl.policy"
RULE = "acl.rule"

POLICY_FIELDS = ("name", "description", "enabled", "everyone")
RULE_FIELDS = (
    "priority", "effect", "action", "topic_filter", "literal", "networks", "enabled", "note",
)  # fmt: skip


def policy_change(
    policy: Policy, devices: Iterable[Device] | None = None, groups: Iterable[DeviceGroup] | None = None
) -> Change:
    """From the policy as it is stored to how it is to be; None leaves what it is attached to."""
    stored = Policy.objects.filter(pk=policy.pk).first() if policy.pk else None
    before = fields_of(stored, POLICY_FIELDS) if stored else {}
    after = fields_of(policy, POLICY_FIELDS)
    if devices is not None:
        before["devices"] = frozenset(stored.devices.values_list("username", flat=True) if stored else ())
        after["devices"] = frozenset(device.username for device in devices)
    if groups is not None:
        before["groups"] = frozenset(stored.groups.values_list("name", flat=True) if stored else ())
        after["groups"] = frozenset(group.name for group in groups)
    return Change(POLICY, policy.pk, policy.name, before if stored else None, after)


def attachment(device: Device, policies: Iterable[Policy]) -> Change:
    """From the policies that are attached to the device itself to these."""
    return attachments(
        device, device.policies.values_list("name", flat=True), [policy.name for policy in policies]
    )


def attachments(device: Device, before: Iterable[str], after: Iterable[str]) -> Change:
    """The same of policies by their names."""
    same = fields_of(device, ("enabled", "superuser"))
    return Change(
        DEVICE,
        device.pk,
        device.username,
        {**same, "policies": frozenset(before)},
        {**same, "policies": frozenset(after)},
    )


def policy_deletion(policy: Policy) -> Change:
    rules = frozenset(str(rule) for rule in policy.rules.all())
    return Change(POLICY, policy.pk, policy.name, {**fields_of(policy, POLICY_FIELDS), "rules": rules}, None)


def rule_change(rule: Rule) -> Change:
    """From the rule as it is stored to the rule as it is in memory."""
    stored = Rule.objects.filter(pk=rule.pk).first() if rule.pk else None
    return _change(rule, fields_of(stored, RULE_FIELDS) if stored else None, fields_of(rule, RULE_FIELDS))


def rule_deletion(rule: Rule) -> Change:
    return _change(rule, fields_of(rule, RULE_FIELDS), None)


def _change(rule: Rule, before: State | None, after: State | None) -> Change:
    owner, kind = (rule.policy, POLICY) if rule.policy_id else (rule.device, DEVICE)
    # In a form, the rule of a policy that is only being added has no owner yet.
    part_of = (kind, owner.pk) if owner and owner.pk else None
    return Change(RULE, rule.pk, f"{owner}: {rule}" if owner else str(rule), before, after, part_of)
