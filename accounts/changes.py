"""Changes that people and programs make: who makes one, whether they may, and the record of it.

Every service announces what it changes, inside its transaction. What is to become of that is for the
site to say (``connect``): `exhookadmin.staff` refuses what the actor may not do, and writes the history.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from getpass import getuser
from os import getuid
from socket import gethostname
from typing import Any

from django.core.exceptions import PermissionDenied

State = Mapping[str, Any]
"""Fields of one object by name, as people read them. Never a secret, nor the hash of one."""


class NotAllowed(PermissionDenied):
    """The actor may not make this change. The text is for people: what is refused, and who may."""


class Channel(StrEnum):
    """The door through which a change came in."""

    ADMIN = "admin"
    API = "api"
    CLI = "cli"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: a member of the staff, an API key, or whoever runs a command on the server.

    ``address`` is where the request came from; for a command, the name of the machine.
    ``has_permission`` answers for permissions such as “accounts.change_device”.
    """

    name: str
    channel: Channel
    address: str = ""
    user_id: int | None = None
    has_permission: Callable[[str], bool] = field(default=lambda permission: True, repr=False, compare=False)


class Verb(StrEnum):
    """What happens to an object; the word that Django's permissions use."""

    ADD = "add"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One object, before and after. ``kind`` names its model: “accounts.device”.

    ``before`` is None for what is added, ``after`` for what is deleted. A value that is a frozenset
    is recorded as what was taken out of it and put in. ``part_of`` names the object on whose page this
    belongs, as (kind, id): the device of a credential.
    """

    kind: str
    object_id: int | None
    name: str
    before: State | None
    after: State | None
    part_of: tuple[str, int] | None = None

    @property
    def verb(self) -> Verb:
        if self.before is None:
            return Verb.ADD
        return Verb.DELETE if self.after is None else Verb.CHANGE

    @property
    def is_empty(self) -> bool:
        return self.before == self.after

    def was(self, name: str) -> Any:
        """The field's value before; None for what is added."""
        return self.before.get(name) if self.before is not None else None

    def becomes(self, name: str) -> Any:
        """The field's value after; None for what is deleted."""
        return self.after.get(name) if self.after is not None else None

    def changes_any(self, *names: str) -> bool:
        return any(self.was(name) != self.becomes(name) for name in names)

    def gained(self, name: str) -> frozenset[str]:
        """What is put into a field that holds a set."""
        return frozenset(self.becomes(name) or ()) - frozenset(self.was(name) or ())

    def stored_as(self, object_id: int) -> "Change":
        """The same, of an object that got its id by being stored."""
        return replace(self, object_id=object_id)


Gate = Callable[[Actor, Sequence[Change]], None]
Recorder = Callable[[Actor, Iterable[Change]], None]

_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
_gates: list[Gate] = []
_recorders: list[Recorder] = []


def connect(gate: Gate, recorder: Recorder) -> None:
    """From now on ``gate`` raises NotAllowed where one of the changes may not be, and ``recorder`` keeps
    what is done."""
    _gates.append(gate)
    _recorders.append(recorder)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """What happens inside is done by this actor. Without it: by whoever runs this program."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def current_actor() -> Actor:
    """Who makes the changes of this thread or task."""
    return _ACTOR.get() or _program()


@cache
def _program() -> Actor:
    try:
        name = getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = f"uid {getuid()}"
    return Actor(name, Channel.CLI, gethostname())


def check(change: Change) -> None:
    """Raises NotAllowed where the current actor may not make this change."""
    if not change.is_empty:
        _pass(current_actor(), [change])


def _pass(actor: Actor, changes: Sequence[Change]) -> None:
    for gate in _gates:
        gate(actor, changes)


def announce(changes: Iterable[Change]) -> None:
    """Checks and records changes that were just made; to be called inside their transaction.

    Raises NotAllowed, which has to undo them.
    """
    told = [change for change in changes if not change.is_empty]
    if not told:
        return
    actor = current_actor()
    _pass(actor, told)
    for recorder in _recorders:
        recorder(actor, told)
