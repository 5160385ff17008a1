"""Placeholders in topic filters: ``dev-${clientid}/up`` is a different filter for each client.

A value comes from outside, so it may hold text that means something in a filter. Such a value is
never put in: it has no rendering, and the caller must then take the strict side.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from accounts.core.client import Client
from accounts.core.principal import Principal
from acl.core.topic_problems import quoted

KNOWN = "${clientid}, ${username}, ${cn} and ${attr.name}"

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"clientid|username|cn|attr\.[A-Za-z0-9_.-]+")
_RENAMED = {"cert_common_name": "cn", "common_name": "cn", "client_id": "clientid", "user": "username"}


class Placeholder(NamedTuple):
    """One placeholder of a filter; `leads` says that the filter begins with it."""

    name: str
    leads: bool

    def text(self) -> str:
        return f"${{{self.name}}}"

    def stored_value(self, client: Client, principal: Principal) -> str:
        """What the connection or the device has under this name; empty for nothing.

        ``${username}`` is the device's own name, whatever the client sent: a device found by its client
        id or certificate is the same device.
        """
        match self.name:
            case "clientid":
                return client.client_id
            case "username":
                return principal.username
            case "cn":
                return client.cn
        return principal.attributes.get(self.name.removeprefix("attr."), "")

    def value(self, client: Client, principal: Principal) -> str | None:
        """The value to put in; None when there is none, or none that is safe in a filter."""
        value = self.stored_value(client, principal)
        if (
            not value
            or "/" in value
            or "+" in value
            or "#" in value
            or "\0" in value
            # A client id “$SYS” would turn ${clientid}/# into the broker's own topics.
            or (self.leads and value[0] == "$")
        ):
            return None
        return value

    def flaw(self, client: Client, principal: Principal) -> str | None:
        """Why there is no value to put in, in words for the explain page; None when there is one."""
        if self.value(client, principal) is not None:
            return None
        value = self.stored_value(client, principal)
        if not value:
            return f"placeholder {self.text()} has no value"
        if self.leads and value[0] == "$":
            return f"the value of placeholder {self.text()} begins with $ where the filter begins"
        return f"the value of placeholder {self.text()} holds + # / or NUL"


@dataclass(frozen=True, slots=True)
class Template:
    """A filter, or one level of it, with at least one placeholder."""

    placeholders: tuple[Placeholder, ...]
    pattern: str
    """The text as Python's ``%`` formatting reads it: one ``%s`` for each placeholder."""

    def render(self, client: Client, principal: Principal) -> str | None:
        """The text for this client; None when a value is missing or unsafe."""
        values = []
        for placeholder in self.placeholders:
            value = placeholder.value(client, principal)
            if value is None:
                return None
            values.append(value)
        return self.pattern % tuple(values)

    def flaw(self, client: Client, principal: Principal) -> str | None:
        """Why there is no rendering, in words that name the placeholder; None when there is one."""
        flaws = (placeholder.flaw(client, principal) for placeholder in self.placeholders)
        return next((flaw for flaw in flaws if flaw is not None), None)


def parse_template(text: str, *, first: bool = True) -> Template | None:
    """The template that a valid filter, or level of one, is; None when it holds no placeholder.

    `first` says that a filter begins with this text; False for a level further in.
    """
    if "${" not in text:
        return None
    placeholders = tuple(
        Placeholder(found[1], leads=first and found.start() == 0) for found in _PLACEHOLDER.finditer(text)
    )
    return Template(placeholders, _PLACEHOLDER.sub("%s", text.replace("%", "%%")))


def placeholder_problem(text: str) -> str | None:
    """Why the placeholders of this filter cannot be used, in words for a form; None when they can."""
    for found in _PLACEHOLDER.finditer(text):
        if not _NAME.fullmatch(found[1]):
            return f"{quoted(found[0])} is not known here; known are {KNOWN}{_hint(found[1])}."
    if "${" in _PLACEHOLDER.sub(" ", text):
        return "A placeholder is opened with ${ and never closed; write for example ${clientid}."
    first_level = text.partition("/")[0]
    if first_level.startswith("$") and not first_level.startswith("${") and "${" in first_level:
        return (
            f"{quoted(first_level)}: a first level that begins with $ names topics of the broker itself "
            "and cannot hold a placeholder; write it out, for example $SYS."
        )
    return None


def placeholder_advice(text: str) -> str | None:
    """A remark on a legal filter that looks like another broker's placeholders; None without one."""
    for mark, name in (("%c", "clientid"), ("%u", "username")):
        if mark in text:
            return f"“{mark}” is plain text here; if you mean a placeholder, write ${{{name}}}."
    return None


def _hint(name: str) -> str:
    wanted = name.strip().lower()
    attribute = wanted.removeprefix("client_attrs.")
    if attribute != wanted:
        meant = f"attr.{name.strip()[len('client_attrs.') :]}"
    else:
        meant = _RENAMED.get(wanted, wanted)
    return f"; you may mean ${{{meant}}}" if _NAME.fullmatch(meant) else ""
