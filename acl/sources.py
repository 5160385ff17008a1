"""Where the rules of a device come from, and why they apply to it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Prefetch, Q

from accounts.core.principal import Principal
from accounts.models import DeviceGroup
from acl.drafts import source_of
from acl.models import Policy, Rule


@dataclass(frozen=True, slots=True)
class Source:
    """A policy or a device that rules are kept in. ``why`` says, in words, why they apply."""

    name: str
    policy_id: int | None
    device_id: int | None
    why: str


def sources_of(principal: Principal) -> Mapping[str, Source]:
    """Everything a device's rules come from, by what rules name as their source. Costs two queries."""
    own = Source(principal.username, None, principal.id, "its own rule")
    attached = Policy.devices.through.objects.filter(policy=OuterRef("pk"), device=principal.id)
    groups = DeviceGroup.objects.filter(pk__in=principal.group_ids).order_by("name")
    policies = (
        Policy.objects.filter(Q(everyone=True) | Q(devices=principal.id) | Q(groups__in=principal.group_ids))
        .annotate(attached=Exists(attached))
        .prefetch_related(Prefetch("groups", groups, to_attr="groups_of_device"))
        .distinct()
    )
    return {f"device {principal.username}": own} | {
        source_of(policy.name): Source(policy.name, policy.pk, None, _why(policy)) for policy in policies
    }


def rule_notes(rule_ids: Collection[int]) -> dict[int, str]:
    """The notes of those rules that have one."""
    noted = Rule.objects.filter(pk__in=rule_ids).exclude(note="").values_list("pk", "note")
    return dict(noted)


def _why(policy: Policy) -> str:
    ways = ["applies to everyone"] if policy.everyone else []
    if policy.attached:  # type: ignore[attr-defined]
        ways.append("attached to the device")
    ways += [f"via the group {group.name}" for group in policy.groups_of_device]  # type: ignore[attr-defined]
    return ", ".join(ways)
