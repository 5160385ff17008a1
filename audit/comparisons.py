"""Comparisons that SQL has no portable word for: an address in a network, a word in a text.

PostgreSQL has both. For SQLite they are functions in Python, which every connection gets.
"""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import BooleanField, F, Func, Q, Value

IPNetwork = IPv4Network | IPv6Network

# The same addresses come again and again in a log.
_ADDRESSES = 50_000


class InNetwork(Func):
    """Whether the address of a column lies in the network; an empty one lies in none."""

    output_field = BooleanField()
    function = "exhook_in_network"

    def __init__(self, column: str, network: IPNetwork) -> None:
        super().__init__(F(column), Value(str(network)))

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        column, network = self.get_source_expressions()
        left, left_values = compiler.compile(column)
        right, right_values = compiler.compile(network)
        return f"({left} <<= {right}::inet)", (*left_values, *right_values)


class HoldsWord(Func):
    """Whether a text of the column holds the word, whatever the case, in any alphabet."""

    output_field = BooleanField()
    function = "exhook_holds_word"

    def __init__(self, column: str, word: str) -> None:
        super().__init__(F(column), Value(word.lower()))


def holds_word(column: str, word: str) -> Q | HoldsWord:
    """The cheapest condition that is right: SQLite's own LIKE folds the case of ASCII only."""
    if connection.vendor == "sqlite" and not word.isascii():
        return HoldsWord(column, word)
    return Q(**{f"{column}__icontains": word})


@lru_cache(_ADDRESSES)
def _in_network(address: str | None, network: str) -> bool:
    if not address:
        return False
    inside = ip_network(network)
    found = ip_address(address)
    return found.version == inside.version and found in inside


def _holds_word(text: str | None, lowered: str) -> bool:
    return text is not None and lowered in text.lower()


def _teach(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    if connection.vendor == "sqlite":
        own = connection.connection
        own.create_function("exhook_in_network", 2, _in_network, deterministic=True)
        own.create_function("exhook_holds_word", 2, _holds_word, deterministic=True)


def teach_sqlite() -> None:
    """Gives every SQLite connection, from now on, the functions."""
    connection_created.connect(_teach, dispatch_uid="audit.comparisons")
