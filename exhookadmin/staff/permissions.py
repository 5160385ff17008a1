"""Who may make which change: the one place for it, asked by the services, whatever door a change comes in by.

Pages and API ask for permissions too, earlier and in their own words; what they forget is refused here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from django.db.models import QuerySet

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

KEYS_AT_ONCE = 1_000
"""So many are asked about in one query."""

_BREADTH = ("effect", "action", "topic_filter", "literal")
"""The fields of a rule that say whether it opens everything."""

RULE_DECIDES = ("effect", "action", "topic_filter", "literal", "networks", "priority", "enabled")


class _Together:
    """What is asked of the database about changes that are made together, once for all of them."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    @cached_property
    def superusers(self) -> set[int]:
        """Of the devices whose credentials change, those that are superusers."""
        owners = {
            change.part_of[1] for change in self._changes if change.kind == CREDENTIAL and change.part_of
        }
        return {
            pk
            for some in _slices(owners)
            for pk in Device.objects.filter(pk__in=some, superuser=True).values_list("pk", flat=True)
        }

    @cached_property
    def opened_by_group(self) -> dict[str, str]:
        """Of the groups that devices join, those with a policy that opens everything, and its name."""
        return self._opened("policy__groups__name", "groups")

    @cached_property
    def opened_by_policy(self) -> dict[str, str]:
        """Of the policies that devices get, those that open everything."""
        return self._opened("policy__name", "policies")

    def _opened(self, path: str, field: str) -> dict[str, str]:
        names = {name for change in self._changes if change.kind == DEVICE for name in change.gained(field)}
        rules = _opening_rules().filter(policy__enabled=True).values_list(path, "policy__name", *_BREADTH)
        return {
            name: policy
            for some in _slices(names)
            for name, policy, *breadth in rules.filter(**{f"{path}__in": some})
            if opens_everything(*breadth)
        }


def _slices(keys: Iterable[Any]) -> Iterator[list[Any]]:
    listed = sorted(keys)
    return (listed[at : at + KEYS_AT_ONCE] for at in range(0, len(listed), KEYS_AT_ONCE))


def _may(actor: Actor, change: Change, together: _Together) -> str | None:
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
    what = opened(change, together) if opened else None
    return f"{what} {_WHO_MAY.get(actor.channel, _ADMINISTRATORS)}" if what else None


def refuse(actor: Actor, changes: Sequence[Change]) -> None:
    """Raises NotAllowed where the actor may not make one of these changes, which are made together."""
    together = _Together(changes)
    for change in changes:
        refusal = _may(actor, change, together)
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


def _device(change: Change, together: _Together) -> str | None:
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
    by_group = {together.opened_by_group.get(name) for name in change.gained("groups")}
    by_itself = {together.opened_by_policy.get(name) for name in change.gained("policies")}
    opening = {name for name in by_group | by_itself if name is not None}
    return f"Policy “{min(opening)}” opens everything, then to “{change.name}” too." if opening else None


def _credential(change: Change, together: _Together) -> str | None:
    """A new or revived credential of a superuser is the power of a superuser."""
    revived = change.becomes("enabled") and not change.was("enabled")
    if change.part_of is None or not (revived or _prolonged(change)):
        return None
    if change.part_of[1] in together.superusers:
        return f"“{change.name}” would let somebody connect as a superuser device."
    return None


def _prolonged(change: Change) -> bool:
    return change.verb is Verb.CHANGE and change.changes_any("expires_at")


def _rule(change: Change, together: _Together) -> str | None:
    after = change.after
    if after is None or not after["enabled"] or not change.changes_any(*RULE_DECIDES):
        return None
    if not opens_everything(after["effect"], after["action"], after["topic_filter"], after["literal"]):
        return None
    return f"“{after['topic_filter']}” opens everything: no level of it names a topic."


def _policy(change: Change, together: _Together) -> str | None:
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


def _api_key(change: Change, together: _Together) -> str | None:
    """A key that may do what whoever makes it may not."""
    if Scope.OPEN_EVERYTHING in change.gained("scopes"):
        return f"“{change.name}” would be a key that opens everything."
    return None


_OPENS: dict[str, Callable[[Change, _Together], str | None]] = {
    DEVICE: _device,
    CREDENTIAL: _credential,
    RULE: _rule,
    POLICY: _policy,
    API_KEY: _api_key,
}


def _opening_rules() -> QuerySet[Rule]:
    return Rule.objects.filter(enabled=True, effect=Effect.ALLOW.value).select_related("policy")


def _opens(rule: Rule) -> bool:
    return opens_everything(rule.effect, rule.action, rule.topic_filter, rule.literal)
