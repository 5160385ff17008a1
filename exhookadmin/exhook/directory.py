"""What a worker knows without asking the database: devices that spoke lately, and every policy."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from typing import TypeVar

from django.db import InterfaceError, OperationalError
from django.db.models import prefetch_related_objects

from accounts.core.client import Client
from accounts.core.identity import IdentitySource, claims, identify
from accounts.models import Device
from accounts.principals import find_devices, principal_of
from accounts.validators import NAME_CHARACTERS
from acl.rulesets import PolicyBook, PolicyBroken, load_own_rules, load_policy_book
from exhookadmin.exhook.memory import Change, DeviceMemory, Known, Name

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# While the database is away it is tried again so often, by one caller; the others do not wait for it.
RETRY_SECONDS = 1.0


class DatabaseAway(OperationalError):
    """The database did not answer a moment ago, and is not asked again just now."""


class Directory:
    """A bounded memory of devices in front of the database, and of all policies.

    ``peek`` answers from memory only and belongs on the event loop; ``find`` and ``load``
    may query and do not.

    What a change names is dropped. What may have changed unnoticed (``doubt``: the
    notifications were interrupted) or is old is read again at its next use. While the
    database is away everything goes on serving, up to the fail-static age. ``version``
    moves whenever an answer could become another one.
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
        self._max_age = max_age
        self._fail_static_age = fail_static_age
        self._clock = clock
        self._memory = DeviceMemory(capacity)
        self._doubted_at = float("-inf")
        self._missed_at = float("-inf")
        self._retry_at: float | None = None
        self._book: PolicyBook | None = None
        self._book_loaded_at = float("-inf")
        self._confirmed_at = float("-inf")
        self._version_lock = threading.Lock()
        self.version = 0

    @property
    def book(self) -> PolicyBook:
        """The policies that are in force."""
        if self._book is None:
            raise RuntimeError("load_policies() comes before the first question")
        return self._book

    @property
    def revision(self) -> str:
        """The fingerprint of the policies in force; empty before they were read."""
        return self._book.revision if self._book else ""

    @property
    def held(self) -> int:
        """How many devices are in memory."""
        return len(self._memory)

    @property
    def database_away(self) -> bool:
        """True from the first question that the database did not answer to the next that it does."""
        return self._retry_at is not None

    @property
    def policies_usable(self) -> bool:
        """False when the policies are older than what may be served without the database."""
        return not self._too_old(self._book_loaded_at, self._clock())

    def now(self) -> float:
        """Seconds of the clock that entries age by."""
        return self._clock()

    def load_policies(self) -> PolicyBook:
        """Reads and compiles every policy, then puts them in force with one assignment.

        Raises django.db.Error when the database is away; the old ones then stay in force.
        """
        started = self._clock()
        book = self._asked(lambda: load_policy_book(self._book))
        with self._version_lock:
            # Of two that read them at the same time, the one that began later knows more.
            if started >= self._book_loaded_at:
                self._book, self._book_loaded_at = book, started
        self._move_version()
        return self.book

    def peek(self, client: Client) -> Known | None:
        """The client's device if memory holds it, else None: then ``find`` knows."""
        now = self._clock()
        if self._too_old(self._book_loaded_at, now):
            return None
        for name in self._names(client):
            known = self._memory.recall(name)
            if known is None or not self._usable(known, now):
                return None
            if known.principal is not None:
                return known if known.book is self._book else self._renewed(name, known)
        return Known(None, self.book, now)

    def find(self, client: Client) -> Known:
        """The client's device, from memory or the database.

        Raises django.db.Error when the database is away and memory holds nothing young enough.
        """
        known = self.peek(client)
        if known is not None:
            return known
        try:
            book, read = self._read(set(self._names(client)))
        except (OperationalError, InterfaceError):
            # Now that the database is known to be away, what was not fresh enough may do.
            known = self.peek(client)
            if known is None:
                raise
            return known

        def find(source: IdentitySource, value: str) -> Known | None:
            found = read.get((source, value))
            if isinstance(found, ValueError):
                raise found
            return found if found and found.principal else None

        return identify(client, self._order, find) or Known(None, book, self._clock())

    def load(self, clients: Iterable[Client]) -> None:
        """Brings the devices of many clients into memory at once: five queries however many.

        Raises django.db.Error when the database is away.
        """
        self._read({name for client in clients for name in self._names(client)})

    def invalidate(self, change: Change) -> None:
        """Drops what a change concerns. New policies come with ``load_policies``."""
        self._memory.drop(change)
        self._move_version()

    def confirm(self, at: float) -> None:
        """Nothing has changed in the database up to then, on this clock: what is in memory is as
        good as if it had been read then, should the database now go away."""
        self._confirmed_at = at

    def doubt(self, database_away: bool = False) -> None:
        """Everything may have changed unnoticed: it is read again at its next use, or, when the
        database is away, served as it is until that is back."""
        self._doubted_at = self._clock()
        if not database_away:
            self._missed_at = self._doubted_at
        elif self._retry_at is None:
            self._retry_at = self._doubted_at
        self._move_version()

    def settled_until(self, known: Known, wall_clock: float) -> float:
        """Until when, on this clock, what is known of a device cannot change by time alone."""
        until = known.loaded_at + self._max_age
        if known.principal is not None:
            for edge in (known.principal.valid_from, known.principal.valid_until):
                if edge is not None and edge > wall_clock:
                    until = min(until, self._clock() + edge - wall_clock)
        return until

    def _names(self, client: Client) -> list[Name]:
        """What to look the client up by. A name longer than a device can have is nobody's, without
        being asked for or remembered: strangers choose it, and MQTT allows 65,535 bytes."""
        return [name for name in claims(client, self._order) if len(name[1]) <= NAME_CHARACTERS]

    def _usable(self, known: Known, now: float) -> bool:
        age = now - known.loaded_at
        if known.loaded_at > self._doubted_at and age <= self._max_age:
            return True
        return self._retry_at is not None and not self._too_old(known.loaded_at, now)

    def _too_old(self, loaded_at: float, now: float) -> bool:
        """True for what may not even be used while the database is away."""
        # What was missed once, no quiet afterwards makes up for.
        confirmed_at = self._confirmed_at if loaded_at > self._missed_at else loaded_at
        return now - max(loaded_at, confirmed_at) > self._fail_static_age

    def _read(self, names: Set[Name]) -> tuple[PolicyBook, dict[Name, Known | ValueError]]:
        """What the database knows under these names, now in memory too. A device whose row
        cannot be understood is an error of its own and no other device's."""
        if not self.policies_usable:
            self.load_policies()
        generation, started, book = self._memory.generation, self._clock(), self.book
        devices = self._asked(lambda: _devices(names))
        read: dict[Name, Known | ValueError] = {}
        for name in names:
            try:
                known = read[name] = _known(devices.get(name), book, started)
            except ValueError as error:
                read[name] = error
            else:
                self._memory.remember(name, known, generation)
        return book, read

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """Asks the database, unless it was away a moment ago; notes whether it is."""
        now = self._clock()
        if self._retry_at is not None and now < self._retry_at:
            raise DatabaseAway("the database was away a moment ago")
        if self._retry_at is not None:
            self._retry_at = now + RETRY_SECONDS
        try:
            answer = ask()
        except (OperationalError, InterfaceError):
            if self._retry_at is None:
                logger.error("the database is away; devices in memory go on being served")
            self._retry_at = self._clock() + RETRY_SECONDS
            raise
        if self._retry_at is not None:
            logger.info("the database is back")
        self._retry_at = None
        return answer

    def _renewed(self, name: Name, known: Known) -> Known:
        """The same device after the policies changed and it did not."""
        renewed = _under(known, self.book)
        self._memory.renew(name, known, renewed)
        return renewed

    def _move_version(self) -> None:
        with self._version_lock:
            self.version += 1


def _devices(names: Set[Name]) -> dict[Name, Device]:
    devices = find_devices(names)
    prefetch_related_objects(list(devices.values()), "policies", "rules")
    return devices


def _known(device: Device | None, book: PolicyBook, loaded_at: float) -> Known:
    if device is None:
        return Known(None, book, loaded_at)
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
