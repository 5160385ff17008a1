"""Rules of one device as another broker could hold them: placeholders filled in, conditions or what is lost.

Where something is lost, an allow is left out and a deny becomes wider, so that nothing is opened.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from accounts.core.binding import Binding, prescribed_client_id
from acl.core.rules import Action, Effect
from acl.core.topics import has_wildcards, overlaps
from exhookadmin.fleet.records import DeviceRecord, Kind, RuleRecord
from exhookadmin.fleet.writing.fleet import Effective
from exhookadmin.fleet.writing.unsaid import Unsaid

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_BOTH = frozenset({Action.PUBLISH, Action.SUBSCRIBE})


@dataclass(frozen=True, slots=True)
class Said:
    """One rule as the target holds it."""

    effect: Effect
    action: Action
    text: str
    literal: bool = False
    networks: tuple[str, ...] = ()

    def actions(self) -> frozenset[Action]:
        return _BOTH if self.action is Action.ALL else frozenset({self.action})

    def meets(self, other: "Said") -> bool:
        """Whether some request concerns both."""
        return bool(self.actions() & other.actions()) and overlaps(self.text, other.text)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a target can say. ``special`` are texts that mean something else there, such as ``%u``;
    ``unlike`` what a filter may not begin with."""

    networks: bool = False
    literals: bool = False
    superusers: bool = False
    special: Collection[str] = ()
    unlike: tuple[str, ...] = ()


def said(effective: Effective, abilities: Abilities) -> Iterator[Said | Unsaid]:
    """The device's rules in evaluation order. Nothing for a device that is switched off."""
    device = effective.device
    if not device.values["enabled"]:
        return
    if device.values["superuser"]:
        yield from _superuser(device, abilities)
        return
    ended: frozenset[Action] = frozenset()
    for rule in effective.rules:
        for one in _said(device, rule, abilities):
            if isinstance(one, Unsaid):
                yield one
                continue
            left = one.actions() - ended
            if left:
                yield one if left == one.actions() else replace(one, action=next(iter(left)))
            _, missing, unknown = _fill(rule.topic_filter, device)
            if missing or unknown:
                # Here such a rule denies every topic, those that begin with $ too: nothing comes after it.
                ended |= one.actions()


def _superuser(device: DeviceRecord, abilities: Abilities) -> Iterator[Said | Unsaid]:
    if abilities.superusers:
        reason = "it is a superuser, for whom no rules are written: the file of users says so"
        yield Unsaid(Kind.REMARK, device.username, "superuser", reason)
        return
    yield Said(Effect.ALLOW, Action.ALL, "#")
    reason = "a superuser may use topics that begin with $ too, which # does not mean there"
    yield Unsaid(Kind.ALLOW_LOST, device.username, "superuser", reason)


def _said(device: DeviceRecord, rule: RuleRecord, abilities: Abilities) -> Iterator[Said | Unsaid]:
    denies = rule.effect is Effect.DENY
    text, missing, unknown = _fill(rule.topic_filter, device)
    if missing and not denies:
        return
    lost = [f"the placeholder {name}" for name in unknown]
    if missing or unknown:
        text = "#"
    if rule.networks and (missing or unknown or not abilities.networks):
        lost.append("its networks")
    literal = rule.literal and not (missing or unknown)
    if literal and not abilities.literals:
        if has_wildcards(text) or (denies and rule.action is not Action.PUBLISH):
            lost.append("that it is literal")
        literal = False
    if any(mark in text for mark in ("${", *abilities.special)):
        yield _impossible(device, rule, "its text would mean something else there")
        return
    if text.startswith(abilities.unlike):
        yield _impossible(device, rule, "the file cannot hold a filter that begins so")
        return
    if text != text.strip() or any(character < " " for character in text):
        yield _impossible(device, rule, "the file cannot hold its white space")
        return
    networks = rule.networks if abilities.networks and not (missing or unknown) else ()
    if lost:
        what = " and ".join(lost)
        name = f"“{rule.effect} {rule.action} {rule.topic_filter}” of {rule.subject}"
        if not denies:
            reason = f"{name} loses {what}, so it would be left out"
            yield Unsaid(Kind.ALLOW_LOST, device.username, "rules", reason)
            return
        yield Unsaid(Kind.DENY_WIDER, device.username, "rules", f"{name} loses {what}, and denies more")
    yield Said(rule.effect, rule.action, text, literal, networks)


def _impossible(device: DeviceRecord, rule: RuleRecord, why: str) -> Unsaid:
    kind = Kind.ERROR if rule.effect is Effect.DENY else Kind.ALLOW_LOST
    name = f"“{rule.effect} {rule.action} {rule.topic_filter}” of {rule.subject}"
    return Unsaid(kind, device.username, "rules", f"{name}: {why}")


def _fill(text: str, device: DeviceRecord) -> tuple[str, bool, list[str]]:
    """The text, whether a value is missing or unsafe for good, and placeholders that differ by connection.

    What the device is called, and bound to, is put in as it is: another broker's placeholder would be
    filled with whatever a client sends there. A value that a connection may lack denies everything here.
    """
    values = device.values
    binding = Binding(values["client_id_binding"])
    known: dict[str, str] = {"username": device.username}
    client_id = prescribed_client_id(binding, values["client_id"], device.username)
    if client_id:
        known["clientid"] = client_id
    known |= {f"attr.{name}": value for name, value in values["attributes"].items()}
    missing, unknown = False, []

    def fill(found: re.Match[str]) -> str:
        nonlocal missing
        name, leads = found[1], found.start() == 0
        value = known.get(name, "" if name.startswith("attr.") else None)
        if value is None:
            unknown.append(found[0])
        elif not value or set(value) & set("+#/\0") or (leads and value[0] == "$"):
            missing = True
        return value or ""

    return _PLACEHOLDER.sub(fill, text), missing, unknown
