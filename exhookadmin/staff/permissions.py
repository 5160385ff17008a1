"""Who may make which change: the one place for it, asked by the services, whatever door a change comes in by.

Pages and API ask for permissions too, earlier and in their own words; what they forget is refused here.
"""

from django.db.models import Q, QuerySet

from accounts.changes import Actor, Change, Channel, NotAllowed, Verb
from accounts.models import Device
from accounts.states import CREDENTIAL, DEVICE
from acl.core.breadth import opens_everything
from acl.core.rules import Effect
from acl.models import Rule
from acl.states import POLICY, RULE
from exhookadmin.api.scopes import Scope
from exhookadmin.staff.roles import OPEN_EVERYTHING
from exhookadmin.staff.states import API_KEY, USER

SUPERUSER = "auth.be_superuser"
"""What superusers alone have, and whoever has a shell: there is no such permission to be granted."""

HARMLESS_OF_A_SUPERUSER = frozenset({"description", "groups", "policies", "attributes"})
"""Fields that decide nothing for a device of which no rule is asked."""

_ADMINISTRATORS = "Only administrators may do this."
_WHO_MAY = {Channel.API: f"For this the key needs the scope “{Scope.OPEN_EVERYTHING}”."}

RULE_DECIDES = ("effect", "action", "topic_filter", "literal", "networks", "priority", "enabled")


def may(actor: Actor, change: Change) -> str | None:
    """Why the actor may not make this change, in words for people; None where he may."""
    app, model = change.kind.split(".")
    permission = f"{app}.{change.verb}_{model}"
    if not actor.has_permission(permission):
        return f"You may not {change.verb} “{change.name}”: that needs the permission {permission}."
    if change.kind == USER:
        return _user(actor, change)
    if actor.has_permission(OPEN_EVERYTHING):
        return None
    opened = _OPENS.get(change.kind)
    what = opened(change) if opened else None
    return f"{what} {_WHO_MAY.get(actor.channel, _ADMINISTRATORS)}" if what else None


def refuse(actor: Actor, change: Change) -> None:
    """Raises NotAllowed where the actor may not make this change."""
    refusal = may(actor, change)
    if refusal:
        raise NotAllowed(refusal)


def _user(actor: Actor, change: Change) -> str | None:
    """Nobody makes himself, or anybody, more than he is."""
    superuser = change.was("is_superuser") or change.becomes("is_superuser")
    if (superuser or change.changes_any("permissions")) and not actor.has_permission(SUPERUSER):
        return f"“{change.name}”: only superusers touch superusers, and permissions of single users."
    if change.changes_any("groups", "is_staff") and not actor.has_permission("auth.change_group"):
        return f"You may not choose the groups of “{change.name}”: that needs auth.change_group."
    return None


def _device(change: Change) -> str | None:
    """Making a superuser, or letting one connect that could not; taking power away is for everybody."""
    if change.becomes("superuser"):
        after = change.after or {}
        changed = {name for name in after if change.was(name) != after[name]} - HARMLESS_OF_A_SUPERUSER
        if not after["enabled"]:
            changed.discard("enabled")
        if changed:
            return (
                f"“{change.name}” is a superuser device, which may publish and subscribe to everything: "
                "operators may disable or delete it, and revoke its credentials."
            )
    joined, attached = change.gained("groups"), change.gained("policies")
    if joined or attached:
        wanted = Q(policy__groups__name__in=joined) | Q(policy__name__in=attached)
        for rule in filter(_opens, _opening_rules().filter(wanted, policy__enabled=True)):
            return f"Policy “{rule.policy}” opens everything, then to “{change.name}” too."
    return None


def _credential(change: Change) -> str | None:
    """A new or revived credential of a superuser is the power of a superuser."""
    revived = change.becomes("enabled") and not change.was("enabled")
    if change.part_of is None or not (revived or _prolonged(change)):
        return None
    if Device.objects.filter(pk=change.part_of[1], superuser=True).exists():
        return f"“{change.name}” would let somebody connect as a superuser device."
    return None


def _prolonged(change: Change) -> bool:
    return change.verb is Verb.CHANGE and change.changes_any("expires_at")


def _rule(change: Change) -> str | None:
    after = change.after
    if after is None or not after["enabled"] or not change.changes_any(*RULE_DECIDES):
        return None
    if not opens_everything(after["effect"], after["action"], after["topic_filter"], after["literal"]):
        return None
    return f"“{after['topic_filter']}” opens everything: no level of it names a topic."


def _policy(change: Change) -> str | None:
    """Giving what an opening rule of the policy opens to somebody who did not have it."""
    after = change.after
    if after is None or not after["enabled"] or change.object_id is None:
        return None
    spreads = (
        not change.was("enabled")
        or (after["everyone"] and not change.was("everyone"))
        or change.gained("devices")
        or change.gained("groups")
    )
    if spreads and any(_opens(rule) for rule in _opening_rules().filter(policy=change.object_id)):
        return f"Policy “{change.name}” has a rule that opens everything to whomever it applies to."
    return None


def _api_key(change: Change) -> str | None:
    """A key that may do what whoever makes it may not."""
    if Scope.OPEN_EVERYTHING in change.gained("scopes"):
        return f"“{change.name}” would be a key that opens everything."
    return None


_OPENS = {DEVICE: _device, CREDENTIAL: _credential, RULE: _rule, POLICY: _policy, API_KEY: _api_key}


def _opening_rules() -> QuerySet[Rule]:
    return Rule.objects.filter(enabled=True, effect=Effect.ALLOW.value).select_related("policy")


def _opens(rule: Rule) -> bool:
    return opens_everything(rule.effect, rule.action, rule.topic_filter, rule.literal)
