"""What an unsaved change to a policy would do: to which devices, and to which decisions.

Recorded decisions, and examples made from the rules that change, are decided twice by the function that
answers the broker: with the policies that are stored, and with the change. Nothing is written. However
large the log, a bounded number of rows is read, for a bounded time.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.core.client import Client
from accounts.core.decision import Decision
from accounts.core.principal import Principal
from accounts.models import Device, DeviceQuerySet
from accounts.principals import principal_of
from acl.core.compiled import CompiledRules
from acl.core.decide import AccessRequest, authorize
from acl.core.examples import questions_about
from acl.core.rules import Action, Rule
from acl.drafts import PolicyDraft, book_with, devices_under, rule_differences, same_reach
from acl.rulesets import PolicyBook, PolicyBroken, load_own_rules, load_policy_book
from audit.fact import Kind
from audit.models import Event

RECORDED = 5_000
"""So many decisions are looked at, the newest: half a second’s work."""
FEW_DEVICES = 20
RECORDED_EACH = 250
"""Of few devices, so many of the newest events each are looked at, however long ago they were."""
DEVICES_LOADED = 1_000
LOADED_AT_ONCE = 250
DEVICES_NAMED = 50
COUNTED = 10_000
TURNS_SHOWN = 25
EXAMPLE_DEVICES = 3
EXAMPLE_RULES = 20
SECONDS = 2.0
"""What is not done after so long is left out, and said to be."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that is answered differently once the change is stored.

    ``times`` and ``latest`` say how often it was recorded and when; an example was never recorded.
    """

    device_id: int
    device: str
    client: Client
    action: str
    topic: str
    before: Decision
    after: Decision
    times: int = 0
    latest: datetime | None = None


@dataclass(frozen=True, slots=True)
class WhatChanges:
    """The difference that a change makes.

    ``devices`` counts those that the policy applies to before or after, at most one above `COUNTED`.
    ``recorded`` decisions of theirs were found among ``looked_at`` events back to ``since``.
    """

    everyone: bool
    devices: int
    named: tuple[tuple[int, str], ...]
    looked_at: int
    recorded: int
    since: datetime | None
    turns: tuple[Turn, ...]
    examples: tuple[Turn, ...]
    complete: bool

    @property
    def allowed(self) -> tuple[Turn, ...]:
        """Recorded decisions that would be allowed from now on, the most frequent first."""
        return tuple(turn for turn in self.turns if turn.after.allow)

    @property
    def denied(self) -> tuple[Turn, ...]:
        """Recorded decisions that would be denied from now on, the most frequent first."""
        return tuple(turn for turn in self.turns if not turn.after.allow)


@dataclass(frozen=True, slots=True)
class _Applying:
    """A device with the rules that apply to it before and after; None where they cannot be read."""

    principal: Principal
    before: tuple[CompiledRules, ...] | None
    after: tuple[CompiledRules, ...] | None


@dataclass(slots=True)
class _Asked:
    times: int
    latest: datetime


_Question = tuple[int, Client, str, str]


def what_changes(
    stored: PolicyDraft | None,
    changed: PolicyDraft,
    *,
    recorded: int = RECORDED,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> WhatChanges:
    """The difference between what is stored (None for a new policy) and the draft.

    Raises PolicyError for a draft that does not compile, and django.db.Error.
    """
    ends = clock() + seconds
    drafts = [draft for draft in (stored, changed) if draft is not None and draft.enabled]
    everyone = any(draft.everyone for draft in drafts)
    devices = _devices(drafts)
    named = tuple(devices.order_by("username").values_list("pk", "username")[:DEVICES_NAMED])
    count = devices.order_by()[: COUNTED + 1].count() if named else 0
    book = load_policy_book()
    books = book, book_with(book, changed)
    events, looked_at = _recorded(devices, named, count, recorded)
    asked, since = _questions(events)
    loaded = _Loaded(devices, changed, books)
    turns, complete = _turns(asked, loaded, lambda: clock() < ends)
    return WhatChanges(
        everyone,
        count,
        named,
        looked_at,
        loaded.recorded,
        since,
        tuple(sorted(turns, key=lambda turn: -turn.times)),
        tuple(_examples(_changed_rules(stored, changed), loaded.first(named[:EXAMPLE_DEVICES]))),
        complete,
    )


def _devices(drafts: Sequence[PolicyDraft]) -> DeviceQuerySet:
    if any(draft.everyone for draft in drafts):
        return Device.objects.all()
    found = Device.objects.none()
    for draft in drafts:
        found = found | devices_under(draft)
    return found


def _recorded(
    devices: DeviceQuerySet, named: tuple[tuple[int, str], ...], count: int, most: int
) -> tuple[Iterable[Event], int]:
    """The newest recorded decisions, and how many events they were chosen from."""
    if not count:
        return (), 0
    newest = Event.objects.order_by("-time", "-id").defer("detail", "rule", "node", "cluster", "protocol")
    if count <= FEW_DEVICES:
        found = [
            event
            for _, username in named
            # By the name, in the order of an index: a condition on the kind could read on for ever.
            for event in newest.filter(device=username)[:RECORDED_EACH]
        ]
    else:
        found = list(newest.filter(kind=Kind.AUTHORIZE)[:most])
    decided = [each for each in found if each.kind == Kind.AUTHORIZE and each.device_id is not None]
    return decided, len(found)


def _questions(events: Iterable[Event]) -> tuple[dict[_Question, _Asked], datetime | None]:
    asked: dict[_Question, _Asked] = {}
    since = None
    for event in events:
        since = event.time if since is None else min(since, event.time)
        if event.device_id is None or event.action not in (Action.PUBLISH, Action.SUBSCRIBE):
            continue
        client = Client(
            client_id=event.client_id, username=event.username, address=event.address or "", cn=event.cn
        )
        question = (event.device_id, client, event.action, event.topic)
        known = asked.setdefault(question, _Asked(0, event.time))
        known.times += 1 + event.repeats
        known.latest = max(known.latest, event.last_time or event.time)
    return asked, since


class _Loaded:
    """Devices among those concerned, read in batches when they are asked for, up to a bound."""

    def __init__(
        self, devices: DeviceQuerySet, changed: PolicyDraft, books: tuple[PolicyBook, PolicyBook]
    ) -> None:
        self.recorded = 0
        self._devices = devices
        self._changed = changed
        self._books = books

    def batches(self, asked: dict[_Question, _Asked]) -> Iterator[dict[int, _Applying]]:
        """Those among the devices that are asked about, the first ones asked about first."""
        ids = list(dict.fromkeys(device_id for device_id, *_ in asked))[:DEVICES_LOADED]
        for begin in range(0, len(ids), LOADED_AT_ONCE):
            yield self._load(ids[begin : begin + LOADED_AT_ONCE])

    def first(self, named: Iterable[tuple[int, str]]) -> list[_Applying]:
        """The devices with these names."""
        return list(self._load([device_id for device_id, _ in named]).values())

    def _load(self, ids: list[int]) -> dict[int, _Applying]:
        # The ids in the outer query: the inner one may name every device there is.
        concerned = Device.objects.filter(pk__in=ids, id__in=self._devices.order_by().values("pk"))
        rows = concerned.for_decisions().prefetch_related("policies", "rules")
        applying = ((row.pk, self._applying(row)) for row in rows.order_by("username"))
        return {device_id: each for device_id, each in applying if each is not None}

    def _applying(self, device: Device) -> _Applying | None:
        try:
            principal = principal_of(device)
            own = load_own_rules(device)
        except (ValueError, PolicyBroken):
            return None
        policy_ids = frozenset(policy.pk for policy in device.policies.all())
        before, after = self._books
        return _Applying(
            principal,
            _rule_sets(before, principal, policy_ids, own),
            _rule_sets(after, principal, self._changed.policy_ids(device.pk, policy_ids), own),
        )


def _rule_sets(
    book: PolicyBook, principal: Principal, policy_ids: frozenset[int], own: CompiledRules
) -> tuple[CompiledRules, ...] | None:
    try:
        return book.rule_sets(principal, policy_ids, own)
    except PolicyBroken:
        return None


def _turns(
    asked: dict[_Question, _Asked], loaded: _Loaded, in_time: Callable[[], bool]
) -> tuple[list[Turn], bool]:
    by_device: dict[int, list[tuple[_Question, _Asked]]] = {}
    for question, known in asked.items():
        by_device.setdefault(question[0], []).append((question, known))
    turns: list[Turn] = []
    complete = len(by_device) <= DEVICES_LOADED
    looked_at = 0
    for batch in loaded.batches(asked):
        for device_id, applying in batch.items():
            # Of a few devices all is told, however busy the machine.
            if looked_at >= FEW_DEVICES and not in_time():
                return turns, False
            looked_at += 1
            for (_, client, action, topic), known in by_device[device_id]:
                loaded.recorded += known.times
                turn = _turn(applying, client, AccessRequest(Action(action), topic), known)
                turns += [turn] if turn else []
    return turns, complete


def _turn(
    applying: _Applying, client: Client, request: AccessRequest, known: _Asked | None = None
) -> Turn | None:
    now = time.time()
    before = authorize(client, applying.principal, request, applying.before, now)
    after = authorize(client, applying.principal, request, applying.after, now)
    if before.allow == after.allow:
        return None
    times, latest = (known.times, known.latest) if known else (0, None)
    principal = applying.principal
    return Turn(
        principal.id, principal.username, client, request.action, request.topic, before, after, times, latest
    )


def _changed_rules(stored: PolicyDraft | None, changed: PolicyDraft) -> list[Rule]:
    """The rules that are added or taken away; all of them where it changes to whom they apply."""
    if stored is None:
        rules = list(changed.rules)
    elif same_reach(stored, changed):
        rules = rule_differences(stored, changed)
    else:
        rules = [*changed.rules, *rule_differences(stored, changed)]
    return sorted(rules, key=lambda rule: rule.order)


def _examples(rules: list[Rule], devices: list[_Applying]) -> Iterator[Turn]:
    """What the changed rules are about, asked for some devices: one that turns is enough."""
    shown = set()
    for applying in devices:
        for rule in rules[:EXAMPLE_RULES]:
            for client, request in questions_about(rule, applying.principal):
                key = (rule.topic_filter, request.action)
                turn = None if key in shown else _turn(applying, client, request)
                if turn is not None:
                    shown.add(key)
                    yield turn
