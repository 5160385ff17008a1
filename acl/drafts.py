"""Policies that are not stored (yet), put in force in memory only: what would be decided if they were?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q

from accounts.core.networks import Networks
from accounts.models import Device, DeviceQuerySet
from acl.core.compiled import compile_rules
from acl.core.rules import Rule as CoreRule
from acl.models import Policy
from acl.rulesets import PolicyBook, core_rules

NEW_POLICY = 0
"""The id of a policy that was never stored."""


@dataclass(frozen=True)
class PolicyDraft:
    """A policy as it may become. ``device_ids`` is None where its devices stay as they are."""

    policy_id: int
    name: str
    rules: tuple[CoreRule, ...]
    enabled: bool = True
    everyone: bool = False
    group_ids: frozenset[int] = frozenset()
    device_ids: frozenset[int] | None = None

    @property
    def source(self) -> str:
        """What its rules name as their source."""
        return source_of(self.name)

    def policy_ids(self, device_id: int, stored: Iterable[int]) -> frozenset[int]:
        """The policies attached directly to a device, of which ``stored`` are those in the database."""
        attached = frozenset(stored)
        if self.device_ids is None:
            return attached
        return attached - {self.policy_id} | ({self.policy_id} if device_id in self.device_ids else set())


def source_of(policy_name: str) -> str:
    """How the rules of a policy name it."""
    return f"policy {policy_name}"


def stored_draft(policy: Policy) -> PolicyDraft:
    """The policy as it is stored: the copy that a change begins with. Raises ValueError for networks that
    cannot be read."""
    return PolicyDraft(
        policy.pk,
        policy.name,
        tuple(core_rules(policy.rules.all(), source_of(policy.name))),
        policy.enabled,
        policy.everyone,
        frozenset(group.pk for group in policy.groups.all()),
    )


def book_with(book: PolicyBook, draft: PolicyDraft) -> PolicyBook:
    """The same policies, with the draft in the place of what is stored.

    Raises PolicyError, naming the rule, when a filter is invalid.
    """
    compiled = {number: rules for number, rules in book.compiled.items() if number != draft.policy_id}
    broken = {number: words for number, words in book.broken.items() if number != draft.policy_id}
    by_group = {group: ids - {draft.policy_id} for group, ids in book.by_group.items()}
    everyone = book.everyone - {draft.policy_id}
    if draft.enabled:
        compiled[draft.policy_id] = compile_rules(draft.rules)
        if draft.everyone:
            everyone |= {draft.policy_id}
        for group in draft.group_ids:
            by_group[group] = by_group.get(group, frozenset()) | {draft.policy_id}
    # Not `replace`: the book remembers tuples of compiled rules, and those are of the stored policies.
    return PolicyBook(compiled, everyone, by_group, broken)


def devices_under(draft: PolicyDraft) -> DeviceQuerySet:
    """The devices to which the draft applies, whether or not it is enabled."""
    if draft.everyone:
        return Device.objects.all()
    members = Device.groups.through.objects.filter(devicegroup__in=draft.group_ids).values("device")
    attached: Any = draft.device_ids
    if attached is None:
        attached = Policy.devices.through.objects.filter(policy=draft.policy_id).values("device")
    return Device.objects.filter(Q(pk__in=members) | Q(pk__in=attached))


def with_rules(draft: PolicyDraft, rules: Iterable[CoreRule]) -> PolicyDraft:
    """The same policy with other rules."""
    return replace(draft, rules=tuple(rules))


def with_devices(draft: PolicyDraft, policy: Policy, other: PolicyDraft) -> PolicyDraft:
    """The stored draft of this policy with its devices, where the other one names devices too."""
    if other.device_ids is None:
        return draft
    return replace(draft, device_ids=frozenset(policy.devices.values_list("pk", flat=True)))


def rule_differences(one: PolicyDraft, other: PolicyDraft) -> list[CoreRule]:
    """The rules that only one of the two has, by what they say."""
    ours, theirs = ({_said(rule): rule for rule in draft.rules} for draft in (one, other))
    return [(ours | theirs)[said] for said in ours.keys() ^ theirs.keys()]


def same_reach(one: PolicyDraft, other: PolicyDraft) -> bool:
    """Both apply to the same devices."""
    if not one.enabled and not other.enabled:
        return True
    return (one.enabled, one.everyone, one.group_ids, one.device_ids) == (
        other.enabled,
        other.everyone,
        other.group_ids,
        other.device_ids,
    )


def _said(rule: CoreRule) -> tuple[str, Networks]:
    return rule.ref.text, rule.networks
