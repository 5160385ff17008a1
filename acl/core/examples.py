"""Questions that a rule speaks of, for one device: examples of what changes with the rule."""

from collections.abc import Iterator

from accounts.core.binding import Binding, prescribed_client_id
from accounts.core.client import Client
from accounts.core.principal import Principal
from acl.core.decide import AccessRequest
from acl.core.placeholders import parse_template
from acl.core.rules import Action, Rule

LEVEL = "example"
"""Stands for a level that a wildcard leaves open."""


def questions_about(rule: Rule, principal: Principal) -> Iterator[tuple[Client, AccessRequest]]:
    """A publish and a subscription that the rule is about, as this device could ask for them.

    None where the rule cannot be filled in for it. The rule need not be the one that decides.
    """
    client = _client(rule, principal)
    template = parse_template(rule.topic_filter)
    text = template.render(client, principal) if template else rule.topic_filter
    if text is None:
        return
    if rule.action in (Action.PUBLISH, Action.ALL):
        topic = "/".join(LEVEL if level in ("+", "#") else level for level in text.split("/"))
        yield client, AccessRequest(Action.PUBLISH, topic)
    if rule.action in (Action.SUBSCRIBE, Action.ALL):
        yield client, AccessRequest(Action.SUBSCRIBE, text)


def _client(rule: Rule, principal: Principal) -> Client:
    client_id = prescribed_client_id(principal.binding, principal.bound_client_id, principal.username)
    if not client_id:
        prefix = principal.bound_client_id if principal.binding == Binding.PREFIX else ""
        client_id = f"{prefix}{LEVEL}"
    networks = rule.networks or principal.networks
    return Client(
        client_id=client_id,
        username=principal.username,
        cn=principal.certificate_cn,
        address=str(networks[0].network_address) if networks else "",
    )
