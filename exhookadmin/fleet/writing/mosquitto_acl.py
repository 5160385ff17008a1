"""Mosquitto's ACL file: for each user all that applies to him, with what is known of him filled in.

Mosquitto tries a user's denials before what grants, and a denial there is one of publishing and of receiving.
"""

from collections.abc import Iterator

from acl.core.rules import Action, Effect
from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.writing.filling import Abilities, Said, said
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.unsaid import Unsaid

ACCESS = {Action.PUBLISH: "write", Action.SUBSCRIBE: "read", Action.ALL: "readwrite"}
ABILITIES = Abilities()


def write_mosquitto_acl(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """``user`` and its ``topic`` lines, denials first."""
    for effective in fleet.effective():
        name = effective.device.username
        found = list(said(effective, ABILITIES))
        yield from (one for one in found if isinstance(one, Unsaid))
        rules = [one for one in found if isinstance(one, Said)]
        if not rules:
            continue
        if name != name.strip() or set(name) & set("\r\n"):
            yield Unsaid(Kind.REFUSED, name, "username", "the file cannot hold a name with such white space")
            continue
        yield from _wider(name, rules)
        lines = [f"topic deny {rule.text}\n" for rule in rules if rule.effect is Effect.DENY]
        lines += [
            f"topic {ACCESS[rule.action]} {rule.text}\n" for rule in rules if rule.effect is Effect.ALLOW
        ]
        yield f"user {name}\n{''.join(lines)}\n".encode()


def _wider(name: str, rules: list[Said]) -> Iterator[Unsaid]:
    for position, rule in enumerate(rules):
        if rule.effect is not Effect.DENY:
            continue
        if rule.action is not Action.ALL:
            reason = f"“deny {rule.action} {rule.text}” would deny publishing and subscribing"
            yield Unsaid(Kind.DENY_WIDER, name, "rules", reason)
        earlier = (one for one in rules[:position] if one.effect is Effect.ALLOW and one.meets(rule))
        allow = next(earlier, None)
        if allow is not None:
            reason = f"“allow {allow.action} {allow.text}” is tried before “deny {rule.text}”, there after it"
            yield Unsaid(Kind.DENY_WIDER, name, "rules", reason)
