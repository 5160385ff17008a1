"""What a worker knows without asking the database: devices that spoke lately, and every policy."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.db import InterfaceError, OperationalError

from accounts.core.client import Client
from accounts.core.identity import IdentitySource, claims, identify
from accounts.core.principal import Principal
from accounts.models import Device
from accounts.principals import find_device, principal_of
from acl.core.compiled import CompiledRules
from acl.rulesets import PolicyBook, PolicyBroken, load_own_rules, load_policy_book

# Names that nobody has are remembered apart, and few: a flood of invented ones must not
# push out real devices.
STRANGERS = 10_000
REMEMBERED_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """A device and the rules that apply to it; no principal for a name that nobody has.

    ``own`` holds the device's own rules, ``rule_sets`` those and its policies' as ``book``
    has them; either is None when something in it does not compile: such a device is denied.
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
    ``everything`` stands for changes too many to name.
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


Name = tuple[IdentitySource, str]


class Directory:
    """A bounded memory of devices in front of the database, and of all policies.

    ``peek`` answers from memory only and belongs on the event loop; ``find`` may query and
    does not. Locks are held for dictionary operations only, never across I/O.

    What a change names is dropped. What may have changed unnoticed (``doubt``: the
    notifications were interrupted) or is old is read again at its next use; while the
    database is away it goes on serving, up to the fail-static age. ``version`` moves
    whenever an answer could become another one.
    """

    def __init__(
        self,
        order: Sequence[IdentitySource],
        capacity: int,
        max_age: float,
        fail_static_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._order = tuple(order)
        self._capacity = capacity
        self._max_age = max_age
        self._fail_static_age = fail_static_age
        self._clock = clock
        self._lock = threading.Lock()
        self._devices: OrderedDict[Name, Known] = OrderedDict()
        self._strangers: OrderedDict[Name, Known] = OrderedDict()
        self._names_of: dict[int, set[Name]] = {}
        self._changes: deque[tuple[int, Change]] = deque(maxlen=REMEMBERED_CHANGES)
        self._generation = 0
        self.version = 0
        self._doubted_at = float("-inf")
        self._book: PolicyBook | None = None
        self._book_loaded_at = float("-inf")

    @property
    def book(self) -> PolicyBook:
        """The policies that are in force."""
        if self._book is None:
            raise RuntimeError("load_policies() comes before the first question")
        return self._book

    @property
    def held(self) -> int:
        """How many devices are in memory."""
        return len(self._devices)

    def load_policies(self) -> PolicyBook:
        """Reads and compiles every policy, then puts them in force with one assignment.

        Raises django.db.Error when the database is away; the old ones then stay in force.
        """
        started = self._clock()
        self._book = load_policy_book(self._book)
        self._book_loaded_at = started
        with self._lock:
            self.version += 1
        return self._book

    def peek(self, client: Client) -> Known | None:
        """The client's device if memory holds it fresh, else None: then ``find`` knows."""
        now = self._clock()
        if now - self._book_loaded_at > self._fail_static_age:
            return None
        for name in claims(client, self._order):
            with self._lock:
                known = self._recall(name)
            if known is None or not self._fresh(known, now):
                return None
            if known.principal is not None:
                return known if known.book is self._book else self._renewed(name, known)
        return Known(None, self.book, now)

    def find(self, client: Client) -> Known:
        """The client's device, from memory or the database.

        Raises django.db.Error when the database is away and memory holds nothing young enough.
        """
        if self._clock() - self._book_loaded_at > self._fail_static_age:
            self.load_policies()
        found = identify(client, self._order, lambda source, value: self._find((source, value)))
        return found or Known(None, self.book, self._clock())

    def invalidate(self, change: Change) -> None:
        """Drops what a change concerns. New policies come with ``load_policies``."""
        with self._lock:
            self._generation += 1
            self._changes.append((self._generation, change))
            if change.everything:
                self._devices.clear()
                self._names_of.clear()
            for device_id in change.device_ids:
                for name in self._names_of.pop(device_id, ()):
                    self._devices.pop(name, None)
            if change.new_names or change.everything:
                self._strangers.clear()
            self.version += 1

    def doubt(self) -> None:
        """Everything may have changed unnoticed: it is read again at its next use."""
        self._doubted_at = self._clock()
        with self._lock:
            self.version += 1

    def now(self) -> float:
        """Seconds of the clock that entries age by."""
        return self._clock()

    def settled_until(self, client: Client, wall_clock: float) -> float:
        """Until when, on this clock, what memory holds of the client's device cannot change by
        time alone; the past when memory holds nothing."""
        known, now = self.peek(client), self._clock()
        if known is None or known.principal is None:
            return now
        edges = [known.principal.valid_from, known.principal.valid_until]
        ahead = [edge - wall_clock for edge in edges if edge is not None and edge > wall_clock]
        return min([known.loaded_at + self._max_age, *(now + seconds for seconds in ahead)])

    def _find(self, name: Name) -> Known | None:
        with self._lock:
            known = self._recall(name)
        if known is None or not self._fresh(known, self._clock()):
            try:
                known = self._load(name)
            except (OperationalError, InterfaceError):
                if known is None or self._clock() - known.loaded_at > self._fail_static_age:
                    raise
        if known.principal is None:
            return None
        return known if known.book is self._book else self._renewed(name, known)

    def _load(self, name: Name) -> Known:
        generation, started = self._generation, self._clock()
        device = find_device(*name)
        known = _known(device, self.book, started) if device else Known(None, self.book, started)
        with self._lock:
            if not self._changed_since(generation, known):
                self._remember(name, known)
        return known

    def _renewed(self, name: Name, known: Known) -> Known:
        """The same device after the policies changed and it did not."""
        renewed = _under(known, self.book)
        with self._lock:
            if self._devices.get(name) is known:
                self._devices[name] = renewed
        return renewed

    def _fresh(self, known: Known, now: float) -> bool:
        return known.loaded_at > self._doubted_at and now - known.loaded_at <= self._max_age

    def _recall(self, name: Name) -> Known | None:
        known = self._devices.get(name)
        if known is None:
            return self._strangers.get(name)
        self._devices.move_to_end(name)
        return known

    def _remember(self, name: Name, known: Known) -> None:
        if known.principal is None:
            self._forget(name)
            self._strangers[name] = known
            if len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)
            return
        self._strangers.pop(name, None)
        self._forget(name)
        self._devices[name] = known
        self._names_of.setdefault(known.principal.id, set()).add(name)
        if len(self._devices) > self._capacity:
            self._forget(next(iter(self._devices)))

    def _forget(self, name: Name) -> None:
        known = self._devices.pop(name, None)
        if known is not None and known.principal is not None:
            names = self._names_of.get(known.principal.id, set())
            names.discard(name)
            if not names:
                self._names_of.pop(known.principal.id, None)

    def _changed_since(self, generation: int, known: Known) -> bool:
        if self._generation == generation:
            return False
        if not self._changes or self._changes[0][0] > generation + 1:
            return True  # More changes than are remembered: one of them may concern it.
        return any(change.concerns(known) for number, change in self._changes if number > generation)


def _known(device: Device, book: PolicyBook, loaded_at: float) -> Known:
    try:
        own = load_own_rules(device)
    except PolicyBroken:
        own = None
    policy_ids = frozenset(policy.pk for policy in device.policies.all())
    return _under(Known(principal_of(device), book, loaded_at, own, policy_ids), book)


def _under(known: Known, book: PolicyBook) -> Known:
    """The same device under these policies."""
    if known.principal is None or known.own is None:
        return replace(known, book=book, rule_sets=None)
    try:
        rule_sets = book.rule_sets(known.principal, known.policy_ids, known.own)
    except PolicyBroken:
        return replace(known, book=book, rule_sets=None)
    return replace(known, book=book, rule_sets=rule_sets)
