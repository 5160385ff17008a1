"""What a search of the audit log can be asked: each parameter's name, how it is read, and how it is shown."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from django.utils import timezone
from django.utils.text import smart_split, unescape_string_literal

from audit.comparisons import IPNetwork
from audit.fact import NAME_CHARACTERS, TEXT_CHARACTERS
from audit.models import KINDS
from audit.topic_search import topic_filter_problem

MOST_WORDS = 8

_AGO = re.compile(r"-?([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME_FORMS = (
    "write a day such as 2026-11-20, a time such as 2026-11-20T14:30 or 2026-11-20T14:30:00Z, "
    "or how long ago: 15m, 6h, 7d."
)


def _read_moment(text: str, now: datetime, of_day: timedelta) -> datetime:
    """ISO 8601, in the site's time zone unless it names one; ``of_day`` is added to a day without a time."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            moment = datetime.combine(date.fromisoformat(text) + of_day, time.min)
        else:
            # A plus sign that was not escaped in a URL arrives as a blank.
            moment = datetime.fromisoformat(re.sub(r" (\d\d:\d\d)$", r"+\1", text) if "T" in text else text)
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"“{_short(text)}” is no time; {_TIME_FORMS}") from None


def _read_since(text: str, now: datetime) -> datetime:
    return _read_moment(text, now, timedelta(0))


def _read_until(text: str, now: datetime) -> datetime:
    return _read_moment(text, now, timedelta(days=1))


def _show_moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_kind(text: str, now: datetime) -> str:
    known = [kind for kind, _ in KINDS]
    if text not in known:
        raise ValueError(f"“{_short(text)}” is no kind of event; choose from {', '.join(known)}.")
    return text


def _read_reason(text: str, now: datetime) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,40}", text):
        raise ValueError(f"“{_short(text)}” is no reason; write one such as credential_wrong.")
    return text


def _read_allowed(text: str, now: datetime) -> bool:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in answers:
        raise ValueError(f"“{_short(text)}” is neither yes nor no; write yes for allowed, no for refused.")
    return answers[text.lower()]


def _show_allowed(allowed: bool) -> str:
    return "yes" if allowed else "no"


def _read_name(text: str, now: datetime) -> str:
    return _no_longer_than(NAME_CHARACTERS, text)


def _read_topic(text: str, now: datetime) -> str:
    problem = topic_filter_problem(_no_longer_than(TEXT_CHARACTERS, text))
    if problem:
        raise ValueError(problem)
    return text


def _read_action(text: str, now: datetime) -> str:
    if text not in ("publish", "subscribe"):
        raise ValueError(f"“{_short(text)}” is no action; write publish or subscribe.")
    return text


def _read_text(text: str, now: datetime) -> str:
    if len(words_of(_no_longer_than(NAME_CHARACTERS, text))) > MOST_WORDS:
        raise ValueError(f"it has more than {MOST_WORDS} words; leave some out, or put a phrase into quotes.")
    return text


def _read_address(text: str, now: datetime) -> IPNetwork:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(
            f"“{_short(text)}” is neither an address nor a network; {_address_fix(text)}."
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    # Events hold IPv4 addresses as such, however the broker spelled them (RFC 4291, 2.5.5.2).
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _address_fix(text: str) -> str:
    try:
        return f"it has host bits set: write {ip_network(text, strict=False)}"
    except ValueError:
        return "write one such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"


def _show_address(network: IPNetwork) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _no_longer_than(characters: int, text: str) -> str:
    if len(text) > characters:
        raise ValueError(
            f"it has {len(text)} characters, and nothing recorded has more than {characters}; shorten it."
        )
    return text


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def words_of(text: str) -> list[str]:
    """The words of a free text; what stands in quotes is one."""
    words = []
    for word in smart_split(text):
        quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
        words.append(unescape_string_literal(word) if quoted else word)
    return [word for word in words if word]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that can be asked for: its name in URLs, JSON and, with dashes, on the command line."""

    name: str
    help: str
    read: Callable[[str, datetime], Any] = _read_name
    show: Callable[[Any], str] = str
    attribute: str = ""
    many: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "attribute", self.attribute or self.name)


PARAMETERS: Sequence[Parameter] = (
    Parameter(
        "since",
        "From this time on: a day, a time (ISO 8601), or how long ago, as in 6h.",
        _read_since,
        _show_moment,
    ),
    Parameter("until", "Before this time; a day is meant to its end.", _read_until, _show_moment),
    Parameter("kind", "What happened.", _read_kind, attribute="kinds", many=True),
    Parameter("reason", "Why it was decided so.", _read_reason, attribute="reasons", many=True),
    Parameter("allowed", "yes or no.", _read_allowed, _show_allowed),
    Parameter("device", "The device’s whole name."),
    Parameter("client_id", "The whole MQTT client id."),
    Parameter("username", "The whole username that was sent."),
    Parameter("address", "An address or a network, as in 192.0.2.0/24.", _read_address, _show_address),
    Parameter("node", "The broker node’s whole name."),
    Parameter("cluster", "The broker cluster’s whole name."),
    Parameter("cn", "The whole common name in the client certificate."),
    Parameter("action", "publish or subscribe.", _read_action),
    Parameter("topic", "A topic, or a topic filter that covers it: dev/+/firmware, dev/#.", _read_topic),
    Parameter("text", "Words in the device, client id, username, topic or detail.", _read_text),
)
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
