from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.networks import address_allowed, one_a_line, parse_networks


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ("10.0.0.0/8", "10.0.0.0", True),
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8", "9.255.255.255", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("0.0.0.0/0", "203.0.113.9", True),
        ("192.0.2.0/24\n2001:db8::/32", "2001:db8::1", True),
        ("192.0.2.0/24\n2001:db8::/32", "192.0.2.9", True),
        ("192.0.2.0/24\n2001:db8::/32", "192.0.3.9", False),
        ("2001:db8::/32", "2001:db9::1", False),
        # one address has many spellings (RFC 5952)
        ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", True),
        # the families do not meet ...
        ("::/0", "192.0.2.1", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        # ... except for an IPv4 peer of a dual-stack listener (RFC 4291, 2.5.5.2)
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.0/24", "::ffff:c000:201", True),
        ("192.0.2.0/24", "::ffff:192.0.3.1", False),
        ("::/0", "::ffff:192.0.2.1", False),
        ("::ffff:192.0.2.0/120", "192.0.2.1", True),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.0/120", "192.0.3.1", False),
        # a link-local peer comes with its zone
        ("fe80::/10", "fe80::1%eth0", True),
        # what cannot be read is inside nothing
        ("0.0.0.0/0\n::/0", "", False),
        ("0.0.0.0/0\n::/0", "localhost", False),
        ("0.0.0.0/0\n::/0", "192.0.2.1:1883", False),
        ("0.0.0.0/0\n::/0", "192.0.2", False),
        ("0.0.0.0/0\n::/0", "192.0.2.01", False),
        ("0.0.0.0/0\n::/0", "\u0661.2.3.4", False),
        ("0.0.0.0/0\n::/0", "192.0.2.1\x00", False),
        ("0.0.0.0/0\n::/0", "192.0.2.1/32", False),
        # no restriction asks for no address
        ("", "192.0.2.1", True),
        ("", "", True),
        ("", "nonsense", True),
    ],
)
def test_an_address_is_inside_or_not(networks, address, allowed):
    assert address_allowed(parse_networks(networks.splitlines()), address) is allowed


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", ""),
        ("\n  \n\t\n", ""),
        ("  10.0.0.0/8  ", "10.0.0.0/8"),
        ("10.0.0.0/8\r\n192.0.2.7\r\n", "10.0.0.0/8\n192.0.2.7/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:0DB8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
    ],
)
def test_networks_are_kept_in_the_standard_spelling(written, kept):
    assert one_a_line(written) == kept
    assert one_a_line(kept) == kept


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("10.0.0.7/8", "host bits set; write 10.0.0.0/8"),
        ("2001:db8::1/32", "host bits set; write 2001:db8::/32"),
        ("10.0.0.0/33", "such as 192.0.2.0/24"),
        ("10.0.0.0/", "such as 192.0.2.0/24"),
        ("10.0.0.0/-1", "such as 192.0.2.0/24"),
        ("10.0.0/8", "such as 192.0.2.0/24"),
        ("10.0.0.256", "such as 192.0.2.0/24"),
        ("010.0.0.1", "such as 192.0.2.0/24"),
        ("example.org", "such as 192.0.2.0/24"),
        ("10.0.0.0/8, 192.0.2.0/24", "one a line"),
        ("10.0.0.0/8 192.0.2.0/24", "one a line"),
        ("2001:db8::/129", "2001:db8::/32"),
        ("fe80::%eth0/64", "leave out the % part"),
        ("10.0.0.0/8\x00", "such as 192.0.2.0/24"),
    ],
)
def test_what_is_no_network_is_refused_with_the_line_and_the_fix(line, says):
    with pytest.raises(ValueError, match="“") as refused:
        parse_networks(["192.0.2.0/24", line])
    assert line in str(refused.value)
    assert says in str(refused.value)


def test_a_long_line_does_not_flood_the_message():
    with pytest.raises(ValueError, match="…") as refused:
        parse_networks(["x" * 1_000_000])
    assert len(str(refused.value)) < 300


def test_the_message_can_always_be_sent():
    with pytest.raises(ValueError, match="is not a network") as refused:
        parse_networks(["\ud800"])
    assert str(refused.value).encode()


@given(address=st.ip_addresses(v=4), prefix=st.integers(0, 32), other=st.ip_addresses(v=4))
def test_ipv4_is_inside_when_the_leading_bits_agree(address, prefix, other):
    network = IPv4Network((address, prefix), strict=False)
    inside = prefix == 0 or int(other) >> (32 - prefix) == int(network.network_address) >> (32 - prefix)
    networks = parse_networks([str(network)])
    assert address_allowed(networks, str(other)) is inside
    mapped = IPv6Address((0xFFFF << 32) | int(other))
    assert address_allowed(networks, str(mapped)) is inside


@given(address=st.ip_addresses(v=6), prefix=st.integers(0, 128), other=st.ip_addresses(v=6))
def test_ipv6_is_inside_when_the_leading_bits_agree(address, prefix, other):
    network = IPv6Network((address, prefix), strict=False)
    if network.network_address.ipv4_mapped or other.ipv4_mapped:
        return
    inside = int(other) >> (128 - prefix) == int(network.network_address) >> (128 - prefix)
    assert address_allowed(parse_networks([str(network)]), str(other)) is inside


@given(st.lists(st.ip_addresses().map(str), max_size=5))
def test_a_list_of_addresses_contains_its_members(addresses):
    networks = parse_networks(addresses)
    assert all(address_allowed(networks, address) for address in addresses)
    assert len(networks) == len(addresses)


@given(st.text())
def test_no_text_breaks_the_question(address):
    everywhere = parse_networks(["0.0.0.0/0", "::/0"])
    assert address_allowed((), address)
    assert address_allowed(everywhere, address) in (True, False)


@given(
    st.text(max_size=40) | st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f.:/]{1,20}", fullmatch=True)
)
def test_any_line_is_read_or_refused(line):
    try:
        networks = parse_networks([line])
    except ValueError:
        networks = None
    assert networks is None or len(networks) == (line.strip() != "")


def test_an_address_may_be_asked_for_many_times():
    """The memory behind the question is bounded, and its answers do not depend on it."""
    networks = parse_networks(["10.0.0.0/8"])
    for number in range(70_000):
        assert address_allowed(networks, str(IPv4Address(0x0A000000 + number)))
    assert not address_allowed(networks, "11.0.0.0")
