"""What a file leaves open and only the operator knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from accounts.core.binding import Binding

LIST_NAME_CHARACTERS = 100
"""The longest ``name``: it begins the notes of rules."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to read a file. Each format looks at what concerns it.

    ``algorithm`` … ``dk_length`` are the settings of EMQX's authenticator, which its files do not carry;
    empty where nobody said. ``salt_encoding`` is mosquitto-go-auth's. ``attributes`` maps names of EMQX's
    client attributes to ours. ``binding`` is what devices get whose file pins no client id. ``priority`` is
    that of the first rule of a list; ``name`` is what the list is called, in notes and as a policy. ``now``
    is seconds since the epoch.
    """

    plain: bool = False
    algorithm: str = ""
    salt_position: str = "prefix"
    mac: str = "sha256"
    iterations: int = 4096
    dk_length: int | None = None
    salt_encoding: str = "base64"
    attributes: Mapping[str, str] = field(default_factory=dict)
    binding: Binding | None = None
    priority: int = 0
    name: str = ""
    now: float = 0.0
    widen_denies: bool = False
    """The operator accepts denies without the conditions that cannot be kept."""
