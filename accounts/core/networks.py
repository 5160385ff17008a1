"""Source networks: CIDR lists and the question whether an address is inside."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from accounts.core.text import quoted

Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]


def parse_networks(lines: Iterable[str]) -> Networks:
    """Reads CIDRs or single addresses, one an item; blank items are skipped.

    Raises ValueError naming the item and an example. Host bits are refused
    rather than dropped: ``10.0.0.7/8`` is more often a typing error than a wish.
    IPv4-mapped networks become IPv4, as addresses do in ``address_allowed``.
    """
    networks = []
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if "%" in text:
            raise ValueError(f"{quoted(text)} names a zone, which no broker reports; leave out the % part.")
        try:
            networks.append(_unmapped(ip_network(text)))
        except ValueError:
            raise ValueError(f"{quoted(text)} is not a network: {_fix(text)}.") from None
    return tuple(networks)


def one_a_line(text: str) -> str:
    """Such a list as it is kept: one a line, in the standard spelling. Raises as ``parse_networks`` does."""
    return "\n".join(str(network) for network in parse_networks(text.splitlines()))


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - 96))


def _fix(text: str) -> str:
    try:
        return f"it has host bits set; write {ip_network(text, strict=False)}"
    except ValueError:
        return "write an address or a CIDR such as 192.0.2.0/24 or 2001:db8::/32, one a line"


@lru_cache(maxsize=65536)
def _address(text: str) -> object | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # A dual-stack listener reports IPv4 peers as ::ffff:192.0.2.1 (RFC 4291, 2.5.5.2).
        return address.ipv4_mapped or address
    return address


def address_allowed(networks: Networks, address: str) -> bool:
    """True when there is no restriction, or the address lies in one of the networks.

    An address that cannot be read is inside nothing.
    """
    if not networks:
        return True
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)
