"""A search of the audit log as a value: read from and written as parameters, and answered by indexes.

The one place that knows what can be asked: the explorer, the API, the commands and exports search with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q

from audit.comparisons import InNetwork, IPNetwork, holds_word
from audit.models import Event
from audit.paging import Listing
from audit.search_parameters import BY_NAME, PARAMETERS, Parameter, words_of
from audit.topic_search import matching_topics

SEARCHED_TEXTS = ("device", "client_id", "username", "topic", "detail")
"""Where the words of ``text`` are looked for."""
MOST_CHOICES = 50
LATE = timedelta(seconds=30)
"""Whoever follows the log looks back so far: workers store what they heard each in its own time, and a moment
after it happened."""


class SearchProblem(ValueError):
    """Parameters that make no search: ``problems`` has for each name what is wrong and what to do."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which events are meant. What is empty asks nothing; an event must answer to everything else.

    ``since`` is the first moment that counts, ``until`` the first that no longer does. ``topic`` is an MQTT
    topic filter, compared with the topic, or the requested filter, as text: + stands for one level, # for
    the rest. Each word of ``text`` is in one of ``SEARCHED_TEXTS``, whatever its case; quoted words belong
    together. Other texts are compared whole.
    """

    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    allowed: bool | None = None
    device: str = ""
    client_id: str = ""
    username: str = ""
    address: IPNetwork | None = None
    node: str = ""
    cluster: str = ""
    cn: str = ""
    action: str = ""
    topic: str = ""
    text: str = ""

    def parameters(self) -> list[tuple[str, str]]:
        """What ``parse_search`` reads it from again: name and value, a name once for each of its values."""
        return [
            (parameter.name, parameter.show(value))
            for parameter in PARAMETERS
            for value in _values(getattr(self, parameter.attribute), parameter.many)
        ]

    def query_string(self) -> str:
        """The same as a URL has it, without a question mark."""
        return urlencode(self.parameters())

    def mapping(self) -> dict[str, str | list[str]]:
        """The same as JSON has it: a list where several values may be given."""
        several = {parameter.name for parameter in PARAMETERS if parameter.many}
        found: dict[str, str | list[str]] = {}
        for name, value in self.parameters():
            if name in several:
                found.setdefault(name, []).append(value)  # type: ignore[union-attr]
            else:
                found[name] = value
        return found

    def listing(self) -> Listing[Event]:
        """The events, for ``audit.paging``; to be looked through slice by slice where no index knows them."""
        conditions = self._conditions()
        indexed = next((name for name in INDEXED if name in conditions), None)
        scanned = Event.objects.filter(self._period())
        if indexed:
            scanned = scanned.filter(conditions.pop(indexed))
        if not conditions:
            return Listing(scanned)
        matching = scanned
        for condition in conditions.values():
            matching = matching.filter(condition)
        return Listing(matching, scanned)

    def _period(self) -> Q:
        bounds = {"time__gte": self.since, "time__lt": self.until}
        return Q(**{lookup: moment for lookup, moment in bounds.items() if moment is not None})

    def _conditions(self) -> dict[str, Any]:
        """What is asked for besides the period, by what it is called in ``INDEXED``."""
        conditions: dict[str, Any] = {
            name: Q(**{name: getattr(self, name)})
            for name in ("device", "client_id", "username", "node", "cluster", "cn", "action")
            if getattr(self, name)
        }
        if self.kinds:
            name = "kind" if len(self.kinds) == 1 else "kinds"
            conditions[name] = Q(kind__in=self.kinds) if name == "kinds" else Q(kind=self.kinds[0])
        if self.reasons:
            conditions["reasons"] = Q(reason__in=self.reasons)
        if self.allowed is not None:
            conditions["allowed"] = Q(allowed=self.allowed)
        if self.address is not None and self.address.num_addresses == 1:
            conditions["address"] = Q(address=str(self.address.network_address))
        elif self.address is not None:
            conditions["network"] = InNetwork("address", self.address)
        if self.topic:
            conditions["topic"] = matching_topics(self.topic)
        for number, word in enumerate(words_of(self.text)):
            anywhere = Q()
            for column in SEARCHED_TEXTS:
                anywhere |= Q(holds_word(column, word))
            conditions[f"word {number}"] = anywhere
        return conditions


# In which order an index is chosen, the one that is likely to find least first.
INDEXED = ("client_id", "device", "username", "address", "kind")


def parse_search(parameters: Mapping[str, Any] | Iterable[tuple[str, str]], now: datetime) -> Search:
    """The search that the parameters describe: a plain mapping (of texts, or lists of them), or pairs.

    ``now`` is what “1h” counts back from. Blank values are left out. Raises SearchProblem, which names
    every parameter at fault.
    """
    given = _gathered(parameters)
    problems: dict[str, str] = {}
    for name in given.keys() - BY_NAME.keys():
        problems[name] = f"there is no such search field; choose from {', '.join(BY_NAME)}."
    found: dict[str, Any] = {}
    for parameter in PARAMETERS:
        texts = given.get(parameter.name, [])
        if not texts:
            continue
        try:
            values = _read_values(parameter, texts, now)
        except ValueError as problem:
            problems[parameter.name] = str(problem)
        else:
            found[parameter.attribute] = values if parameter.many else values[0]
    since, until = found.get("since"), found.get("until")
    if since is not None and until is not None and since >= until:
        problems["until"] = "it is not after “since”, so that nothing lies between; change one of the two."
    if problems:
        raise SearchProblem(problems)
    return Search(**found)


def _gathered(parameters: Mapping[str, Any] | Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        texts = [str(each).strip() for each in values if each is not None]
        given.setdefault(name, []).extend(text for text in texts if text)
    return given


def _read_values(parameter: Parameter, texts: list[str], now: datetime) -> tuple[Any, ...]:
    texts = list(dict.fromkeys(texts))
    most = MOST_CHOICES if parameter.many else 1
    if len(texts) > most:
        raise ValueError(
            f"it is given {len(texts)} times; give it {'once' if most == 1 else f'{most} times at most'}."
        )
    if any("\x00" in text for text in texts):
        raise ValueError("it holds a NUL character, which no recorded text does; remove it.")
    return tuple(parameter.read(text, now) for text in texts)


def _values(value: Any, many: bool) -> Iterable[Any]:
    if many:
        return tuple(value)
    return () if value is None or value == "" else (value,)
