"""EMQX's built-in database: authorization rules by username, as its REST API takes them.

A user's list there is tried before that for everyone and, where something matches, alone. So each device
gets all rules that apply to it, those of policies too, in the order in which they are tried here.
"""

from collections.abc import Iterator

from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.writing.filling import Abilities, Said, said
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.json_arrays import JsonArray
from exhookadmin.fleet.writing.unsaid import Unsaid

USUAL_MOST = 100
"""EMQX's default ``max_rules`` of one user."""


def write_emqx_rules(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """``[{"username": …, "rules": […]}]``, for ``POST …/built_in_database/rules/users``."""
    abilities = Abilities(networks=True, literals=True, superusers=True, unlike=("eq ",))
    yield Unsaid(Kind.REMARK, "", "", "set EMQX's authorization.no_match to deny: its default is to allow")
    array = JsonArray()
    for effective in fleet.effective():
        rules: list[dict[str, str]] = []
        for found in said(effective, abilities):
            if isinstance(found, Unsaid):
                yield found
            else:
                rules += _rules(found)
        if len(rules) > USUAL_MOST:
            reason = f"it has {len(rules):,} rules; raise EMQX's max_rules from {USUAL_MOST}"
            yield Unsaid(Kind.REMARK, effective.device.username, "rules", reason)
        if rules:
            yield array.item({"username": effective.device.username, "rules": rules})
    yield from array.end()


def _rules(rule: Said) -> Iterator[dict[str, str]]:
    made = {
        "permission": rule.effect.value,
        "action": rule.action.value,
        "topic": f"eq {rule.text}" if rule.literal else rule.text,
    }
    # One address or CIDR a rule.
    if not rule.networks:
        yield made
    for network in rule.networks:
        yield {**made, "ipaddr": network}
