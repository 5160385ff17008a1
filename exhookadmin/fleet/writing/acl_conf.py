"""EMQX's ``acl.conf``: all rules of all in evaluation order, which is the order in which EMQX tries them."""

import re
from collections.abc import Iterator, Mapping

from acl.core.rules import Effect
from exhookadmin.fleet.records import Kind, RuleRecord
from exhookadmin.fleet.writing.fleet import Fleet, Listed, WriteOptions, Written
from exhookadmin.fleet.writing.unsaid import Unsaid

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_PLAIN = re.compile(r"[ -~]*")
_UNSAFE = frozenset("+#/$")


def write_acl_conf(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """Ends in ``{deny, all}.``, because EMQX allows what no rule matches unless it is told otherwise."""
    spelled = {"cn": "${cert_common_name}"}
    if not any(_UNSAFE & set(device.username) for device in fleet.devices()):
        spelled["username"] = "${username}"
    if options.any_client_id:
        spelled["clientid"] = "${clientid}"
    spelled |= {f"attr.{ours}": f"${{client_attrs.{theirs}}}" for ours, theirs in options.attributes.items()}
    for listed in fleet.listed():
        yield from _rules(listed, spelled)
    yield b"{deny, all}.\n"


WHY = {
    "clientid": "EMQX would fill in whatever client id is used there; accept that with --any-client-id",
    "username": "a device's name holds + # / or $, which EMQX would take for a part of the filter",
}


def _rules(listed: Listed, spelled: Mapping[str, str]) -> Iterator[Written]:
    rule = listed.rule
    denies = rule.effect is Effect.DENY
    for found in _PLACEHOLDER.finditer(rule.topic_filter):
        name = found[1]
        # A device without a value is denied every topic here, which no filter there could say.
        if name not in spelled or (denies and name not in WHY):
            why = WHY.get(name, f"EMQX has no {found[0]}: give --map-attribute, or write the value")
            if denies and name not in WHY:
                why = f"a device without {found[0]} is denied everything here, and would not be there"
            yield _lost(rule, Kind.ERROR if denies else Kind.ALLOW_LOST, why)
            return
    text = _PLACEHOLDER.sub(lambda found: spelled[found[1]], rule.topic_filter)
    if text.startswith("eq ") or (rule.literal and "${" in text):
        kind = Kind.ERROR if rule.effect is Effect.DENY else Kind.ALLOW_LOST
        yield _lost(rule, kind, "the file cannot say this filter")
        return
    topic = f"{{eq, {_string(text)}}}" if rule.literal else _string(text)
    for condition in _conditions(rule, listed.usernames):
        yield f"{{{rule.effect}, {condition}, {rule.action}, [{topic}]}}.\n".encode()


def _conditions(rule: RuleRecord, usernames: tuple[str, ...] | None) -> Iterator[str]:
    """Flat, as EMQX up to 5.8 needs them."""
    networks = ""
    if rule.networks:
        networks = f"{{ipaddrs, [{', '.join(map(_string, rule.networks))}]}}"
    if usernames is None:
        yield networks or "all"
        return
    names = [f"{{username, {_string(name)}}}" for name in usernames]
    if networks:
        for name in names:
            yield f"{{'and', [{name}, {networks}]}}"
    else:
        yield names[0] if len(names) == 1 else f"{{'or', [{', '.join(names)}]}}"


def _lost(rule: RuleRecord, kind: Kind, reason: str) -> Unsaid:
    return Unsaid(
        kind, str(rule.subject), "rules", f"“{rule.effect} {rule.action} {rule.topic_filter}”: {reason}"
    )


def _string(text: str) -> str:
    """An Erlang string, or a binary where a list of characters would not be UTF-8."""
    escaped = "".join(
        f"\\{one}" if one in '\\"' else one if one >= " " and one != "\x7f" else f"\\x{{{ord(one):x}}}"
        for one in text
    )
    return f'"{escaped}"' if _PLAIN.fullmatch(text) else f'<<"{escaped}"/utf8>>'
