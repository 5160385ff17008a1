"""A recorded decision beside the one that would be made now, and what has changed in between."""

from accounts.models import Device
from acl.drafts import source_of
from acl.models import Policy, Rule
from acl.rulesets import core_rules
from audit.models import Event
from exhookadmin.explain import Explained

SHOWN = 5
"""So many changed policies are named."""


def differences(event: Event, now: Explained) -> list[str]:
    """What has changed since the event that bears on the same question, in plain words.

    Costs at most three queries.
    """
    return [*_device_changes(event, now), *_rule_changes(event), *_policy_changes(event, now)]


def revisions(event: Event, now: Explained) -> str:
    """Whether the shared policies are still those that decided, in words; empty where it is not known."""
    if not event.revision or not now.revision:
        return ""
    if event.revision == now.revision:
        return "The shared policies are the same as then."
    return f"The shared policies are others than then: revision {event.revision} then, {now.revision} now."


def _device_changes(event: Event, now: Explained) -> list[str]:
    if now.principal is None:
        return [f"The device {event.device} no longer exists."] if event.device_id is not None else []
    if event.device_id is None:
        return [f"The device {now.principal.username} was not known then."]
    if event.device_id != now.principal.id:
        return [
            f"Another device answers to this name now: {now.principal.username}, then it was {event.device}."
        ]
    changed = Device.objects.filter(pk=now.principal.id, updated_at__gt=event.time).exists()
    return [f"The device {now.principal.username} was changed after that."] if changed else []


def _rule_changes(event: Event) -> list[str]:
    if event.rule_id is None:
        return []
    rule = Rule.objects.select_related("policy", "device").filter(pk=event.rule_id).first()
    if rule is None:
        return [f"The rule that decided then has been deleted: {event.rule}."]
    if not rule.enabled:
        return ["The rule that decided then is switched off now."]
    if rule.policy is not None and not rule.policy.enabled:
        return [f"The policy {rule.policy.name}, whose rule decided then, is switched off now."]
    try:
        text = str(
            core_rules([rule], source_of(rule.policy.name) if rule.policy else f"device {rule.device}")[0].ref
        )
    except ValueError:
        return ["The rule that decided then cannot be read any more."]
    return [f"The rule that decided then reads differently now: {text}."] if text != event.rule else []


def _policy_changes(event: Event, now: Explained) -> list[str]:
    sources = {each.rule.source for each in now.considered}
    changed = Policy.objects.filter(updated_at__gt=event.time).order_by("name").values_list("name", flat=True)
    names = [name for name in changed if source_of(name) in sources]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        [f"Saved after that: {', '.join(f'policy {name}' for name in names[:SHOWN])}{more}."] if names else []
    )
