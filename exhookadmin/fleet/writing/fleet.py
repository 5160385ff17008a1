"""A fleet as writers see it: records that can be gone through again and again, one at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from exhookadmin.fleet.records import DeviceRecord, Record, RuleRecord
from exhookadmin.fleet.writing.unsaid import Unsaid


class Effective(NamedTuple):
    """A device and every rule that applies to it, in evaluation order; what is switched off is not there."""

    device: DeviceRecord
    rules: tuple[RuleRecord, ...]


class Listed(NamedTuple):
    """A rule and the names of some devices that it applies to; None for everyone."""

    rule: RuleRecord
    usernames: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Fleet:
    """``shared`` gives groups, then policies, each followed by its rules. ``listed`` gives the rules of all
    in evaluation order; a rule of many devices comes several times, with some of them each time."""

    shared: Callable[[], Iterator[Record]]
    devices: Callable[[], Iterator[DeviceRecord]]
    effective: Callable[[], Iterator[Effective]]
    listed: Callable[[], Iterator[Listed]]


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How to write. ``algorithm`` … ``dk_length`` are the settings of EMQX's authenticator; ``attributes``
    maps ours to EMQX's client attributes. ``any_client_id`` says that the operator accepts that the target
    does not bind devices to client ids. ``now`` is seconds since the epoch."""

    algorithm: str = ""
    salt_position: str = "prefix"
    mac: str = "sha256"
    iterations: int = 4096
    dk_length: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    any_client_id: bool = False
    now: float = 0.0


Written = bytes | Unsaid
Writer = Callable[[Fleet, WriteOptions], Iterator[Written]]
