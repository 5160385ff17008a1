"""Other brokers' topic filters in ours, as far as they mean the same.

A placeholder that has no counterpart here leaves two ways: an allow cannot be kept, and a deny can be kept
only wider, with ``+`` for the level. A literal text (EMQX's ``eq``) is never filled in there, so one that
looks like a placeholder would mean something else here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from accounts.core.text import quoted
from acl.core.topics import has_wildcards
from exhookadmin.fleet.formats.unrepeated import filter_reason

_EMQX = {"clientid": "clientid", "username": "username", "cert_common_name": "cn"}
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_ATTRIBUTE = re.compile(r"client_attrs\.(.+)")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that a rule can hold. ``lost`` says what of it could not be kept; it then is a wider one."""

    text: str
    literal: bool = False
    lost: str = ""


class BadFilter(ValueError):
    """No rule can have this filter, and none of the broker's could ever match; the text says why."""


def emqx_filter(text: str, attributes: Mapping[str, str], *, literal: bool = False) -> Filter:
    """A filter of EMQX: ``eq `` in front makes it literal; ``${…}`` are placeholders. Raises BadFilter."""
    if not literal and text.startswith("eq "):
        literal, text = True, text.removeprefix("eq ")
    if literal:
        return _literal(text)
    lost = []

    def ours(found: re.Match[str]) -> str:
        name = found[1]
        attribute = _ATTRIBUTE.fullmatch(name)
        if name in _EMQX:
            return f"${{{_EMQX[name]}}}"
        if attribute and attribute[1] in attributes:
            return f"${{attr.{attributes[attribute[1]]}}}"
        lost.append(f"the placeholder {quoted(found[0])}")
        return "\0"

    return _checked(_PLACEHOLDER.sub(ours, text), lost)


def percent_filter(text: str, mountpoint: str | None = None, *, literal: bool = False) -> Filter:
    """A filter with ``%c`` and ``%u`` (EMQX 4, Mosquitto, VerneMQ; there also ``%m``). Raises BadFilter."""
    if literal:
        return _literal(text)
    if "${" in text:
        return _checked(re.sub(r"\$\{[^/]*", "\0", text), ["“${”, which is plain text there,"])
    text = text.replace("%c", "${clientid}").replace("%u", "${username}")
    if mountpoint is not None and "%m" in text:
        if has_wildcards(mountpoint) or "$" in mountpoint:
            return _checked(text.replace("%m", "\0"), ["the mountpoint in %m"])
        text = text.replace("%m", mountpoint)
    return _checked(text, [])


def plain_filter(text: str) -> Filter:
    """A filter of a broker that fills in nothing here. Raises BadFilter."""
    if "${" in text:
        return _checked(re.sub(r"\$\{[^/]*", "\0", text), ["“${”, which is plain text there,"])
    return _checked(text, [])


def _literal(text: str) -> Filter:
    if "${" in text:
        return _checked(
            re.sub(r"\$\{[^/]*", "\0", text), ["“${” in a literal filter, which is plain text there,"]
        )
    return Filter(_usable(text, literal=True), literal=True)


def _checked(text: str, lost: list[str]) -> Filter:
    # NUL stands for what is lost; whatever it was, it was within one level.
    levels = ["+" if "\0" in level else level for level in text.split("/")]
    return Filter(_usable("/".join(levels)), lost=" and ".join(lost))


def _usable(text: str, literal: bool = False) -> str:
    problem = filter_reason(text)
    if problem:
        raise BadFilter(problem)
    return text
