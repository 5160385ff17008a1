"""All writes to policies and rules. Admin, API and commands only call these.

Each of them raises NotAllowed, having changed nothing, where the current actor may not do it: see
`accounts.changes`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import models, transaction

from accounts.changes import announce
from accounts.models import Device, DeviceGroup
from acl import states
from acl.models import Policy, Rule


@transaction.atomic
def save_policy(
    policy: Policy,
    devices: Iterable[Device] | None = None,
    groups: Iterable[DeviceGroup] | None = None,
) -> Policy:
    """Checks and stores a policy; None leaves what it is attached to as it is.

    Raises ValidationError naming each wrong field.
    """
    policy.full_clean()
    devices = None if devices is None else list(devices)
    groups = None if groups is None else list(groups)
    change = states.policy_change(policy, devices, groups)
    policy.save()
    if devices is not None:
        policy.devices.set(devices)
    if groups is not None:
        policy.groups.set(groups)
    announce([change.stored_as(policy.pk)])
    return policy


def attach_policies(device: Device, policies: Iterable[Policy]) -> None:
    """Attaches exactly these policies to the device; those of its groups and of everyone stay."""
    policies = list(policies)
    announce([states.attachment(device, policies)])
    device.policies.set(policies)


@transaction.atomic
def set_attachments(wanted: Sequence[tuple[Device, Collection[Policy]]]) -> None:
    """Attaches exactly these policies to each device, many devices at once."""
    attached = Policy.devices.through
    target = {(device.pk, policy.pk) for device, policies in wanted for policy in policies}
    rows = attached.objects.filter(device__in=[device for device, _ in wanted]).select_related("policy")
    present = {(row.device_id, row.policy_id): row.pk for row in rows}
    former: dict[int, set[str]] = {}
    for row in rows:
        former.setdefault(row.device_id, set()).add(row.policy.name)
    changes = [
        states.attachments(device, former.get(device.pk, ()), [policy.name for policy in policies])
        for device, policies in wanted
    ]
    gone = [pk for pair, pk in present.items() if pair not in target]
    if gone:
        attached.objects.filter(pk__in=gone).delete()
    attached.objects.bulk_create(
        [attached(device_id=device, policy_id=policy) for device, policy in sorted(target - present.keys())]
    )
    announce(changes)


def create_policy(
    name: str, *, devices: Iterable[Device] = (), groups: Iterable[DeviceGroup] = (), **fields: Any
) -> Policy:
    """A new policy, without rules yet. Raises ValidationError naming each wrong field."""
    return save_policy(Policy(name=name, **fields), devices, groups)


@transaction.atomic
def save_rule(rule: Rule) -> Rule:
    """Checks and stores a rule. Raises ValidationError naming each wrong field."""
    rule.full_clean()
    change = states.rule_change(rule)
    rule.save()
    announce([change.stored_as(rule.pk)])
    return rule


@transaction.atomic
def delete_rule(rule: Rule) -> None:
    """Deletes a rule; the audit log keeps its text where it decided."""
    announce([states.rule_deletion(rule)])
    rule.delete()


@transaction.atomic
def delete_policies(policies: models.QuerySet[Policy]) -> int:
    """Deletes policies with their rules. Answers how many policies."""
    doomed = Policy.objects.filter(pk__in=policies.order_by().values("pk"))
    announce([states.policy_deletion(policy) for policy in doomed.prefetch_related("rules")])
    _, by_model = policies.delete()
    return by_model.get(Policy._meta.label, 0)


def create_rule(owner: Policy | Device, effect: str, action: str, topic_filter: str, **fields: Any) -> Rule:
    """A new rule in a policy, or directly on a device. Raises ValidationError naming each wrong field."""
    belongs = {"policy": owner} if isinstance(owner, Policy) else {"device": owner}
    return save_rule(Rule(effect=effect, action=action, topic_filter=topic_filter, **belongs, **fields))


@transaction.atomic
def create_rules(rules: Sequence[Rule]) -> None:
    """Checks and stores many rules. Raises ValidationError naming each wrong field of the first wrong one."""
    for rule in rules:
        rule.clean_fields({"policy", "device"})
    changes = [states.rule_change(rule) for rule in rules]
    Rule.objects.bulk_create(rules)
    announce(change.stored_as(rule.pk) for change, rule in zip(changes, rules, strict=True))


@transaction.atomic
def delete_rules(rules: models.QuerySet[Rule]) -> int:
    """Deletes many rules. Answers how many."""
    announce([states.rule_deletion(rule) for rule in rules.select_related("policy", "device")])
    _, by_model = rules.delete()
    return by_model.get(Rule._meta.label, 0)
