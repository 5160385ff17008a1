"""From rows to compiled rules: which of them apply to a device, ready to be asked."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from accounts.core.networks import parse_networks
from accounts.core.principal import Principal
from accounts.models import Device
from acl.core.compiled import CompiledRules, compile_rules
from acl.core.fingerprint import fingerprint, revision
from acl.core.rules import Action, Effect
from acl.core.rules import Rule as CoreRule
from acl.models import Policy, Rule

logger = logging.getLogger(__name__)

# Most devices have none of their own: they share this.
NO_RULES = compile_rules(())


class PolicyBroken(Exception):
    """A policy that applies to the device does not compile and never did in this process."""


@dataclass(frozen=True)
class PolicyBook:
    """All shared policies, compiled once, and to whom they apply.

    ``compiled`` holds None for a policy that does not compile and has no last good version.
    ``revision`` names what is in force: the policies, their rules, and whether they are
    everyone's or a group's. A device's own rules and policies are no part of it. Every process
    that reads the same policies finds the same one.
    """

    compiled: Mapping[int, CompiledRules | None] = field(default_factory=dict)
    everyone: frozenset[int] = frozenset()
    by_group: Mapping[int, frozenset[int]] = field(default_factory=dict)
    broken: Mapping[int, str] = field(default_factory=dict)
    revision: str = ""
    fingerprints: Mapping[int, str] = field(default_factory=dict)
    _tuples: dict[frozenset[int], tuple[CompiledRules, ...]] = field(default_factory=dict, compare=False)

    def rule_sets(
        self, principal: Principal, policy_ids: Iterable[int], own: CompiledRules
    ) -> tuple[CompiledRules, ...]:
        """Everything that applies: the device's own rules, its policies, its groups', everyone's.

        Raises PolicyBroken: leaving out a policy could leave out a denial.
        """
        applying = set(policy_ids) | self.everyone
        for group_id in principal.group_ids:
            applying |= self.by_group.get(group_id, frozenset())
        shared = self._shared(frozenset(applying & self.compiled.keys()))
        return (own, *shared) if own else shared

    def _shared(self, policy_ids: frozenset[int]) -> tuple[CompiledRules, ...]:
        """One tuple for all the devices to which the same policies apply."""
        known = self._tuples.get(policy_ids)
        if known is None:
            broken = next((policy_id for policy_id in policy_ids if self.compiled[policy_id] is None), None)
            if broken is not None:
                raise PolicyBroken(self.broken[broken])
            known = tuple(rules for policy_id in sorted(policy_ids) if (rules := self.compiled[policy_id]))
            self._tuples[policy_ids] = known
        return known


def load_policy_book(previous: PolicyBook | None = None) -> PolicyBook:
    """Reads and compiles every enabled policy. What does not compile keeps its last good version."""
    compiled: dict[int, CompiledRules | None] = {}
    broken: dict[int, str] = {}
    everyone: set[int] = set()
    by_group: dict[int, set[int]] = {}
    fingerprints: dict[int, str] = {}
    states = []
    for policy in Policy.objects.filter(enabled=True).prefetch_related("rules", "groups"):
        try:
            rules = core_rules(policy.rules.all(), f"policy {policy.name}")
            compiled[policy.pk] = _recompiled(rules, previous.compiled.get(policy.pk) if previous else None)
        except ValueError as error:
            broken[policy.pk] = f"policy {policy.name}: {error}"
            compiled[policy.pk] = previous.compiled.get(policy.pk) if previous else None
            if previous is None or previous.broken.get(policy.pk) != broken[policy.pk]:
                logger.error("policy does not compile", extra={"policy": policy.name, "problem": str(error)})
        if policy.everyone:
            everyone.add(policy.pk)
        group_ids = [group.pk for group in policy.groups.all()]
        for group_id in group_ids:
            by_group.setdefault(group_id, set()).add(policy.pk)
        fingerprints[policy.pk] = _fingerprint(policy.pk, compiled[policy.pk], previous)
        states.append((policy.name, policy.everyone, group_ids, fingerprints[policy.pk]))
    return PolicyBook(
        compiled,
        frozenset(everyone),
        {group: frozenset(ids) for group, ids in by_group.items()},
        broken,
        revision(states),
        fingerprints,
    )


def _fingerprint(policy_id: int, rules: CompiledRules | None, previous: PolicyBook | None) -> str:
    """Of what is in force: the last good version where there is one; of nothing where there is none."""
    if rules is None:
        return ""
    if previous is not None and previous.compiled.get(policy_id) is rules:
        return previous.fingerprints[policy_id]
    return fingerprint(compiled.rule for compiled in rules.rules)


def _recompiled(rules: list[CoreRule], previous: CompiledRules | None) -> CompiledRules:
    """Compiles the rules, unless that was done before: of many policies one changes at a time."""
    in_order = sorted(rules, key=lambda rule: rule.order)
    if previous is not None and [compiled.rule for compiled in previous.rules] == in_order:
        return previous
    return compile_rules(rules)


def load_own_rules(device: Device) -> CompiledRules:
    """The rules directly on a device. Raises PolicyBroken when one does not compile."""
    try:
        rules = core_rules(device.rules.all(), f"device {device.username}")
        return compile_rules(rules) if rules else NO_RULES
    except ValueError as error:
        raise PolicyBroken(f"device {device.username}: {error}") from error


def core_rules(rows: Iterable[Rule], source: str) -> list[CoreRule]:
    """The enabled ones among these rows, as values. Raises ValueError for networks that cannot be read."""
    return [
        CoreRule(
            id=row.pk,
            effect=Effect(row.effect),
            action=Action(row.action),
            topic_filter=row.topic_filter,
            literal=row.literal,
            networks=parse_networks(row.networks.splitlines()),
            priority=row.priority,
            source=source,
        )
        for row in rows
        if row.enabled
    ]
