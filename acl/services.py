"""All writes to policies and rules. Admin, API and commands only call these."""

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction

from accounts.models import Device, DeviceGroup
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
    policy.save()
    if devices is not None:
        policy.devices.set(devices)
    if groups is not None:
        policy.groups.set(groups)
    return policy


def attach_policies(device: Device, policies: Iterable[Policy]) -> None:
    """Attaches exactly these policies to the device; those of its groups and of everyone stay."""
    device.policies.set(policies)


def create_policy(
    name: str, *, devices: Iterable[Device] = (), groups: Iterable[DeviceGroup] = (), **fields: Any
) -> Policy:
    """A new policy, without rules yet. Raises ValidationError naming each wrong field."""
    return save_policy(Policy(name=name, **fields), devices, groups)


def save_rule(rule: Rule) -> Rule:
    """Checks and stores a rule. Raises ValidationError naming each wrong field."""
    rule.full_clean()
    rule.save()
    return rule


def delete_rule(rule: Rule) -> None:
    """Deletes a rule; the audit log keeps its text where it decided."""
    rule.delete()


def delete_policies(policies: models.QuerySet[Policy]) -> int:
    """Deletes policies with their rules. Answers how many policies."""
    _, by_model = policies.delete()
    return by_model.get(Policy._meta.label, 0)


def create_rule(owner: Policy | Device, effect: str, action: str, topic_filter: str, **fields: Any) -> Rule:
    """A new rule in a policy, or directly on a device. Raises ValidationError naming each wrong field."""
    belongs = {"policy": owner} if isinstance(owner, Policy) else {"device": owner}
    return save_rule(Rule(effect=effect, action=action, topic_filter=topic_filter, **belongs, **fields))
