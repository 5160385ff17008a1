"""Whose a rule becomes: the device, policy or everyone that its subject means, as the database has it now.

A rule of a client id goes to the devices that are bound to it. An allow is safe there. A deny is complete
there only if no other device can use that client id; where one can, it has to be for everyone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db.models import Q

from accounts.core.binding import SEPARATORS, Binding, binding_holds
from accounts.core.text import quoted
from accounts.models import Device
from acl.core.rules import Effect
from exhookadmin.fleet.formats.rewriting import without
from exhookadmin.fleet.records import EVERYONE, Finding, Kind, RuleRecord, Subject


class Owner(NamedTuple):
    """A device, by its id, or a policy, by its name."""

    device_id: int | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Owned:
    """A rule and whose it becomes."""

    rule: RuleRecord
    owner: Owner


def owned(rules: Sequence[RuleRecord], everyone: str) -> list[Owned | Finding]:
    """Each rule with its owner, or what is to be told instead. ``everyone`` names the policy for all."""
    known = _Known(rules)
    return [found for rule in rules for found in _owned(rule, known, everyone)]


class _Known:
    """The devices that these rules are about."""

    def __init__(self, rules: Iterable[RuleRecord]) -> None:
        usernames = {rule.subject.username for rule in rules} - {None}
        client_ids = {rule.subject.client_id for rule in rules} - {None}
        asked = Q(username__in=usernames | client_ids) | Q(
            client_id_binding=Binding.EXACT.value, client_id__in=client_ids
        )
        rows = Device.objects.filter(asked) if usernames or client_ids else Device.objects.none()
        self.by_username = {device.username: device for device in rows}
        self.bound: dict[str, list[Device]] = {}
        for device in self.by_username.values():
            pinned = _pinned(device)
            if pinned is not None:
                self.bound.setdefault(pinned, []).append(device)
        self.loose = self._loose(client_ids)

    def _loose(self, client_ids: Iterable[str | None]) -> set[str]:
        """The client ids that a device which is not bound to them could use."""
        names = {name for name in client_ids if name is not None}
        if not names:
            return set()
        if Device.objects.filter(client_id_binding=Binding.ANY.value).exists():
            return names
        stems = {name[:end] for name in names for end in range(1, len(name)) if name[end - 1] in SEPARATORS}
        prefixes = Device.objects.filter(client_id_binding=Binding.PREFIX.value, client_id__in=stems)
        found = set(prefixes.values_list("client_id", flat=True))
        return {
            name for name in names if any(binding_holds(Binding.PREFIX, prefix, "", name) for prefix in found)
        }


def _pinned(device: Device) -> str | None:
    """The one client id that this device can use."""
    if device.client_id_binding == Binding.EXACT.value:
        return device.client_id
    return device.username if device.client_id_binding == Binding.EQUALS_USERNAME.value else None


def _owned(rule: RuleRecord, known: _Known, everyone: str) -> Iterable[Owned | Finding]:
    subject = rule.subject
    if subject.policy is not None or subject == EVERYONE:
        return [Owned(rule, Owner(policy=subject.policy or everyone))]
    if subject.username is not None:
        device = known.by_username.get(subject.username)
        if device is None:
            return [_nobody(rule, subject.username)]
        if subject.client_id is None or _pinned(device) == subject.client_id:
            return [Owned(rule, Owner(device_id=device.pk))]
        return [
            without(
                replace(rule, subject=Subject(username=subject.username)),
                [f"that the client id is {quoted(subject.client_id)}, to which the device is not bound,"],
                "clientid",
            )
        ]
    client_id = subject.client_id or ""
    bound = known.bound.get(client_id, [])
    if not bound or (rule.effect is Effect.DENY and client_id in known.loose):
        why = "other devices can use" if bound else "no device is bound to"
        return [
            without(
                replace(rule, subject=EVERYONE),
                [f"the client id {quoted(client_id)}, which {why},"],
                "clientid",
            )
        ]
    return [Owned(rule, Owner(device_id=device.pk)) for device in bound]


def _nobody(rule: RuleRecord, username: str) -> Finding:
    reason = f"there is no device {quoted(username)}: import the users first"
    if rule.effect is Effect.ALLOW:
        return Finding(Kind.ALLOW_LOST, rule.line, "username", f"{reason}, or it would be left out")
    return Finding(
        Kind.ERROR,
        rule.line,
        "username",
        f"{reason}; left out, the deny would be missing when the device is added later",
    )
