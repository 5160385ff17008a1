"""From a fact to its row."""

from ipaddress import IPv6Address, ip_address

from audit.fact import TEXT_CHARACTERS, Fact, bounded
from audit.models import Event


def event_of(fact: Fact) -> Event:
    """The event that tells of the fact, not stored yet."""
    return Event(
        id=fact.id,
        time=fact.at,
        kind=fact.kind,
        allowed=fact.allowed,
        reason=fact.reason,
        device_id=fact.device_id,
        device=bounded(fact.device),
        client_id=bounded(fact.client_id),
        username=bounded(fact.username),
        address=stored_address(fact.address),
        port=fact.port,
        listener_port=fact.listener_port,
        protocol=bounded(fact.protocol, 40),
        cn=bounded(fact.cn),
        node=bounded(fact.node),
        cluster=bounded(fact.cluster),
        action=fact.action,
        topic=bounded(fact.topic, TEXT_CHARACTERS),
        rule_id=fact.rule_id,
        rule=bounded(fact.rule, TEXT_CHARACTERS),
        credential_id=fact.credential_id,
        detail=bounded(fact.detail, TEXT_CHARACTERS),
        revision=fact.revision,
    )


def stored_address(text: str) -> str | None:
    """The address in the form that both databases store; None for what is none."""
    try:
        address = ip_address(text.partition("%")[0])  # PostgreSQL takes no zone, as in fe80::1%eth0
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
