"""The declared state and the database: reading what is, and making it so, through the services."""

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import services as accounts_services
from accounts.models import DeviceGroup
from acl import services as acl_services
from acl.models import Policy, Rule
from exhookadmin.declared.differences import Changes, PolicyChange, differences
from exhookadmin.declared.document import (
    Declared,
    DeclaredGroup,
    DeclaredPolicy,
    DeclaredRule,
    NotUnderstood,
)


class ChangedMeanwhile(Exception):
    """The database is no longer as it was when the plan was shown."""


def current_state() -> Declared:
    """What is in the database now, in a fixed number of queries."""
    groups = {group.name: DeclaredGroup(group.name, group.description) for group in DeviceGroup.objects.all()}
    policies = {
        policy.name: DeclaredPolicy(
            policy.name,
            policy.description,
            policy.enabled,
            policy.everyone,
            frozenset(group.name for group in policy.groups.all()),
            tuple(_declared(rule) for rule in sorted(policy.rules.all(), key=_order)),
        )
        for policy in Policy.objects.prefetch_related("groups", "rules")
    }
    return Declared(groups, policies)


def plan(declared: Declared, prune: bool = False) -> Changes:
    """What would change. Raises NotUnderstood for what the database would refuse."""
    now = current_state()
    changes = differences(now, declared, prune)
    known = set(declared.groups) | ({} if prune else now.groups).keys()
    _check(changes, known)
    return changes


@transaction.atomic
def apply(declared: Declared, expected: Changes, prune: bool = False) -> None:
    """Makes the expected changes, all of them or none.

    Raises ChangedMeanwhile when they are no longer what differs, and NotUnderstood.
    """
    # Held until the end, so that nobody changes them between the look and the change.
    list(Policy.objects.select_for_update().order_by("pk").values_list("pk", flat=True))
    list(DeviceGroup.objects.select_for_update().order_by("pk").values_list("pk", flat=True))
    if plan(declared, prune) != expected:
        raise ChangedMeanwhile
    for change in expected.groups:
        if change.after is not None:
            found = DeviceGroup.objects.filter(name=change.after.name).first()
            group = found or DeviceGroup(name=change.after.name)
            group.description = change.after.description
            accounts_services.save_group(group)
    for policy_change in expected.policies:
        _apply_policy(policy_change)
    # Last: a policy that goes, or lets go of a group, has done so by now.
    for change in expected.groups:
        if change.after is None and change.before is not None:
            accounts_services.delete_groups(DeviceGroup.objects.filter(name=change.before.name))


def _apply_policy(change: PolicyChange) -> None:
    if change.after is None:
        if change.before is not None:
            acl_services.delete_policies(Policy.objects.filter(name=change.before.name))
        return
    policy = Policy.objects.filter(name=change.after.name).first() or Policy(name=change.after.name)
    policy.description = change.after.description
    policy.enabled, policy.everyone = change.after.enabled, change.after.everyone
    groups = DeviceGroup.objects.filter(name__in=change.after.groups)
    acl_services.save_policy(policy, groups=groups)
    rows = list(policy.rules.order_by("pk"))
    for gone in change.gone:
        row = next(row for row in rows if _declared(row) == gone)
        rows.remove(row)
        acl_services.delete_rule(row)
    for new in change.new:
        acl_services.save_rule(_row(new, policy))


def _check(changes: Changes, known_groups: set[str]) -> None:
    problems: list[str] = []
    for change in changes.policies:
        if change.after is None:
            continue
        place = f"policies.{change.after.name}"
        problems += _complaints(Policy(name=change.after.name, description=change.after.description), place)
        for name in sorted(change.after.groups - known_groups):
            problems.append(f"{place}.groups: there is no group “{name}”; declare it under groups.")
        for rule in change.new:
            problems += _complaints(_row(rule, None), f"{place}.rules: {rule}")
    for group_change in changes.groups:
        if group_change.after is not None:
            row = DeviceGroup(name=group_change.after.name, description=group_change.after.description)
            problems += _complaints(row, f"groups.{group_change.after.name}")
    if problems:
        raise NotUnderstood(problems)


def _complaints(row: Policy | Rule | DeviceGroup, place: str) -> list[str]:
    try:
        row.clean_fields(exclude={"policy", "device"})
    except ValidationError as error:
        return [f"{place}: {field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
    return []


def _declared(rule: Rule) -> DeclaredRule:
    return DeclaredRule(
        rule.effect,
        rule.action,
        rule.topic_filter,
        rule.priority,
        rule.literal,
        tuple(rule.networks.splitlines()),
        rule.enabled,
        rule.note,
    )


def _row(rule: DeclaredRule, policy: Policy | None) -> Rule:
    return Rule(
        policy=policy,
        effect=rule.effect,
        action=rule.action,
        topic_filter=rule.topic_filter,
        priority=rule.priority,
        literal=rule.literal,
        networks="\n".join(rule.networks),
        enabled=rule.enabled,
        note=rule.note,
    )


def _order(rule: Rule) -> tuple[int, str, str, str, int]:
    # The order in which they are tried, then by what they say: equal states make equal files.
    return -rule.priority, "0" if rule.effect == "deny" else "1", rule.topic_filter, rule.action, rule.pk
