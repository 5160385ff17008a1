"""To whom another broker's rule applies, as alternatives of which each has one subject and its networks.

Conditions are joined with *and* and *or*; here a rule has one device, or everyone, and a list of networks. So
they are multiplied out. What has no counterpart (zone, listener, a pattern) stays as words in ``lost``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product

from accounts.core.networks import Network, parse_networks
from accounts.core.text import quoted

MOST_ALTERNATIVES = 1_000

_META = set(".^$*+?{}[]\\|()")
# What a backslash makes plain; “\d” and its like are classes.
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])")


class BadCondition(ValueError):
    """A condition that the broker itself could not read; the text says why."""


@dataclass(frozen=True, slots=True)
class Who:
    """One alternative: everything that is given must hold. ``networks`` is None for from anywhere."""

    username: str | None = None
    client_id: str | None = None
    networks: tuple[Network, ...] | None = None
    lost: tuple[str, ...] = ()

    def network_texts(self) -> tuple[str, ...]:
        return tuple(str(network) for network in self.networks or ())


Alternatives = tuple[Who, ...]
"""Any of them; none at all means nobody."""

ANYONE: Alternatives = (Who(),)


def lost(what: str) -> Alternatives:
    """A condition that cannot be kept."""
    return (Who(lost=(what,)),)


def username_is(name: str) -> Alternatives:
    return (Who(username=name),)


def client_id_is(name: str) -> Alternatives:
    return (Who(client_id=name),)


def username_like(pattern: str) -> Alternatives:
    names = exact_texts(pattern)
    if names is None:
        return lost(f"the username pattern {quoted(pattern)}")
    return tuple(Who(username=name) for name in names)


def client_id_like(pattern: str) -> Alternatives:
    names = exact_texts(pattern)
    if names is None:
        return lost(f"the client id pattern {quoted(pattern)}")
    return tuple(Who(client_id=name) for name in names)


def from_networks(cidrs: Iterable[str]) -> Alternatives:
    """Addresses and CIDRs; host bits are dropped, as EMQX does (``esockd_cidr:parse``).

    Raises BadCondition.
    """
    networks: list[Network] = []
    for cidr in cidrs:
        try:
            networks += parse_networks([str(ip_network(cidr.strip(), strict=False))])
        except ValueError:
            raise BadCondition("this is no address and no CIDR such as 192.0.2.0/24") from None
    # Before they are an empty tuple, which would mean from anywhere in a rule.
    return (Who(networks=tuple(dict.fromkeys(networks))),) if networks else ()


def all_of(conditions: Iterable[Alternatives]) -> Alternatives:
    """*And*. Raises BadCondition where it cannot be multiplied out in bearable size."""
    met: Alternatives = ANYONE
    for condition in conditions:
        if len(met) * len(condition) > MOST_ALTERNATIVES:
            raise BadCondition(f"these conditions have more than {MOST_ALTERNATIVES:,} combinations")
        met = tuple(
            joined for one, other in product(met, condition) if (joined := _both(one, other)) is not None
        )
    return tuple(dict.fromkeys(met))


def any_of(conditions: Iterable[Alternatives]) -> Alternatives:
    """*Or*. Raises BadCondition as ``all_of`` does."""
    met = tuple(dict.fromkeys(who for condition in conditions for who in condition))
    if len(met) > MOST_ALTERNATIVES:
        raise BadCondition(f"these conditions have more than {MOST_ALTERNATIVES:,} alternatives")
    return met


def exact_texts(pattern: str) -> tuple[str, ...] | None:
    """The texts that an unanchored pattern matches, where it names them: ``^a$``, ``^(a|b)$``.

    None for every other pattern. (PCRE's ``$`` also matches before a line feed at the end; names
    that end in one are not thought of.)
    """
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) > 2):
        return None
    inner = pattern[1:-1]
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1].removeprefix("?:")
        parts = inner.split("|")
    else:
        parts = [inner]
    texts = [_plain(part) for part in parts]
    return None if None in texts else tuple(text for text in texts if text is not None)


def _plain(pattern: str) -> str | None:
    if set(_ESCAPED.sub("", pattern)) & _META or pattern.endswith("\\"):
        return None
    return _ESCAPED.sub(r"\1", pattern) or None


def _both(one: Who, other: Who) -> Who | None:
    """None where the two can never hold together."""
    for mine, theirs in ((one.username, other.username), (one.client_id, other.client_id)):
        if mine is not None and theirs is not None and mine != theirs:
            return None
    if one.networks is None or other.networks is None:
        networks = one.networks if other.networks is None else other.networks
    else:
        networks = tuple(dict.fromkeys(_common(one.networks, other.networks)))
        if not networks:
            return None
    return Who(
        one.username if one.username is not None else other.username,
        one.client_id if one.client_id is not None else other.client_id,
        networks,
        tuple(dict.fromkeys(one.lost + other.lost)),
    )


def _common(one: Iterable[Network], other: Iterable[Network]) -> Iterable[Network]:
    """Of two CIDRs one holds the other, or they have nothing in common."""
    for mine, theirs in product(tuple(one), tuple(other)):
        if mine.version == theirs.version and mine.overlaps(theirs):
            yield mine if mine.prefixlen >= theirs.prefixlen else theirs
