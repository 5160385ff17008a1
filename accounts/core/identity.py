"""Identity: which device a client claims to be."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from accounts.core.client import Client

Found = TypeVar("Found")


class IdentitySource(StrEnum):
    """Where a client's claim to be a device is read from.

    A device's username is its name: a client that sends no username is looked up by its
    client id under the same name. A certificate CN is looked up among the devices' CNs.
    """

    USERNAME = "username"
    CLIENT_ID = "client_id"
    CERTIFICATE_CN = "certificate_cn"


DEFAULT_ORDER = (IdentitySource.USERNAME, IdentitySource.CLIENT_ID, IdentitySource.CERTIFICATE_CN)


def claims(client: Client, order: Sequence[IdentitySource]) -> list[tuple[IdentitySource, str]]:
    """The names this client can be looked up by, best first.

    A username that was sent is final: nothing after it is tried, so a client that
    misspells its username is never admitted as somebody else.
    """
    made: list[tuple[IdentitySource, str]] = []
    for source in order:
        if source is IdentitySource.USERNAME:
            if client.username:
                made.append((source, client.username))
                break
        else:
            value = client.client_id if source is IdentitySource.CLIENT_ID else client.cn
            if value:
                made.append((source, value))
    return made


def identify(
    client: Client,
    order: Sequence[IdentitySource],
    find: Callable[[IdentitySource, str], Found | None],
) -> Found | None:
    """What ``find`` knows under the first claim it knows at all; None when it knows none."""
    for source, value in claims(client, order):
        found = find(source, value)
        if found is not None:
            return found
    return None
