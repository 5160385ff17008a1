"""A bounded memory of devices by name, which forgets what a change concerns."""

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass

from accounts.core.identity import IdentitySource
from accounts.core.principal import Principal
from acl.core.compiled import CompiledRules
from acl.rulesets import PolicyBook

# Names that nobody has are remembered apart, and few: a flood of invented ones must not
# push out real devices.
STRANGERS = 10_000
REMEMBERED_CHANGES = 1_000

Name = tuple[IdentitySource, str]


@dataclass(frozen=True, slots=True)
class Known:
    """A device and the rules that apply to it; no principal for a name that nobody has.

    ``own`` holds the device's own rules, ``rule_sets`` those and its policies' as ``book``
    has them; either is None when something in it does not compile: such a device is denied.
    ``loaded_at`` is the directory's clock just before the database was asked.
    """

    principal: Principal | None
    book: PolicyBook
    loaded_at: float
    own: CompiledRules | None = None
    policy_ids: frozenset[int] = frozenset()
    rule_sets: tuple[CompiledRules, ...] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What changed in the database.

    ``device_ids`` names devices that changed in any way, ``new_names`` says that a device
    appeared or was renamed, ``policies`` that a shared policy or its attachment changed.
    ``everything`` stands for devices and names too many to name.
    """

    device_ids: frozenset[int] = frozenset()
    new_names: bool = False
    policies: bool = False
    everything: bool = False

    def concerns(self, known: Known) -> bool:
        """True when an entry read before this change may differ from the database after it."""
        if known.principal is None:
            return self.everything or self.new_names
        return self.everything or known.principal.id in self.device_ids


class DeviceMemory:
    """The least recently used goes first. The lock is held for dictionary operations only."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._devices: OrderedDict[Name, Known] = OrderedDict()
        self._strangers: OrderedDict[Name, Known] = OrderedDict()
        self._names_of: dict[int, tuple[Name, ...]] = {}
        self._changes: deque[tuple[int, Change]] = deque(maxlen=REMEMBERED_CHANGES)
        self.generation = 0

    def __len__(self) -> int:
        return len(self._devices)

    def recall(self, name: Name) -> Known | None:
        """What is held under this name, of whatever age."""
        with self._lock:
            known = self._devices.get(name)
            if known is None:
                return self._strangers.get(name)
            self._devices.move_to_end(name)
            return known

    def remember(self, name: Name, known: Known, generation: int) -> None:
        """Keeps what was read, unless a change since ``generation`` (as of before the reading)
        may concern it."""
        with self._lock:
            if self._changed_since(generation, known):
                return
            self._forget(name)
            self._strangers.pop(name, None)
            if known.principal is None:
                self._strangers[name] = known
                if len(self._strangers) > STRANGERS:
                    self._strangers.popitem(last=False)
                return
            self._devices[name] = known
            self._names_of[known.principal.id] = (*self._names_of.get(known.principal.id, ()), name)
            if len(self._devices) > self._capacity:
                self._forget(next(iter(self._devices)))

    def renew(self, name: Name, known: Known, renewed: Known) -> None:
        """Puts one entry in another's place, if that one is still there."""
        with self._lock:
            if self._devices.get(name) is known:
                self._devices[name] = renewed

    def drop(self, change: Change) -> None:
        """Forgets what a change concerns."""
        with self._lock:
            self.generation += 1
            self._changes.append((self.generation, change))
            if change.everything:
                self._devices.clear()
                self._names_of.clear()
            for device_id in change.device_ids:
                for name in self._names_of.pop(device_id, ()):
                    self._devices.pop(name, None)
            if change.new_names or change.everything:
                self._strangers.clear()

    def _forget(self, name: Name) -> None:
        known = self._devices.pop(name, None)
        if known is not None and known.principal is not None:
            left = tuple(other for other in self._names_of.get(known.principal.id, ()) if other != name)
            if left:
                self._names_of[known.principal.id] = left
            else:
                self._names_of.pop(known.principal.id, None)

    def _changed_since(self, generation: int, known: Known) -> bool:
        if self.generation == generation:
            return False
        if not self._changes or self._changes[0][0] > generation + 1:
            return True  # More changes than are remembered: one of them may concern it.
        return any(change.concerns(known) for number, change in self._changes if number > generation)
