"""Policies as people write them, so that tables can be read: ``allow publish a/+ from 10.0.0.0/8 @5``."""

import re

from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.networks import parse_networks
from accounts.core.principal import Principal
from acl.core.compiled import SCANNED_RULES, compile_rules
from acl.core.rules import Action, Effect, Rule

_LINE = re.compile(
    r"(?P<effect>\w+) (?P<action>\w+) (?P<eq>eq )?(?P<filter>\S+)"
    r"( from (?P<networks>\S+))?( @(?P<priority>-?\d+))?"
)


def rule(line, number=1, source="policy test"):
    said = _LINE.fullmatch(line)
    assert said is not None, line
    return Rule(
        id=number,
        effect=Effect(said["effect"]),
        action=Action(said["action"]),
        topic_filter=said["filter"],
        literal=bool(said["eq"]),
        networks=parse_networks((said["networks"] or "").split(",")),
        priority=int(said["priority"] or 0),
        source=source,
    )


def policy(*lines, scanned=SCANNED_RULES):
    """Rules numbered from 1, compiled."""
    return compile_rules([rule(line, number) for number, line in enumerate(lines, start=1)], scanned=scanned)


def client(client_id="pump-17", address="192.0.2.7", **said):
    return Client(client_id=client_id, address=address, **said)


def principal(username="pump-17", **known):
    """A device that may use any client id, so that the tests of rules are about rules."""
    return Principal(**{"id": 1, "username": username, "binding": Binding.ANY} | known)
