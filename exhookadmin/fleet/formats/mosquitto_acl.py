"""Mosquitto's ACL file.

    user <name>
    topic [read|write|readwrite|deny] <filter>      of the user above it, or of clients without a name
    pattern [read|write|readwrite|deny] <filter>    of everyone; %c and %u are filled in

Denials are tried before what grants: a user's denials, his topics, then the patterns' denials, then the
patterns (``security_default.c``). ``read`` is what may be delivered; Mosquitto itself lets everybody
subscribe to anything and holds back what may not be read, while here the subscription is refused.
"""

from collections.abc import Iterator
from typing import BinaryIO

from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import ANYONE, Alternatives, lost, username_is
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.rewriting import rewritten
from exhookadmin.fleet.formats.text_lines import text_lines
from exhookadmin.fleet.formats.topics import BadFilter, Filter, percent_filter, plain_filter
from exhookadmin.fleet.records import Read

ACCESS = {
    "read": (Effect.ALLOW, Action.SUBSCRIBE),
    "write": (Effect.ALLOW, Action.PUBLISH),
    "readwrite": (Effect.ALLOW, Action.ALL),
    "deny": (Effect.DENY, Action.ALL),
}
ORDER = {("topic", "deny"): 0, ("topic", "allow"): 1, ("pattern", "deny"): 2, ("pattern", "allow"): 3}
"""Which kind of line is tried before which."""


def read_mosquitto_acl(stream: BinaryIO, options: Options) -> Iterator[Read]:
    """Raises Malformed."""
    user: str | None = None
    for line, raw in text_lines(stream):
        text = raw.strip()
        if not text or text.startswith("#"):
            continue
        keyword, _, rest = text.partition(" ")
        rest = rest.strip()
        begins = "a line begins with topic, user or pattern"
        if not rest:
            raise Malformed(line, f"{begins}, and then a name or a filter")
        if keyword == "user":
            user = rest
            continue
        if keyword not in ("topic", "pattern"):
            raise Malformed(line, begins)
        effect, action, filter_ = _grant(line, keyword, rest)
        yield from rewritten(
            line,
            effect,
            action,
            ANYONE if keyword == "pattern" else _of(user),
            [filter_],
            priority=options.priority - ORDER[keyword, str(effect)],
            note=f"{options.name}, line {line}",
        )


def _of(user: str | None) -> Alternatives:
    return lost("that the client sends no username") if user is None else username_is(user)


def _grant(line: int, keyword: str, rest: str) -> tuple[Effect, Action, Filter]:
    word, _, after = rest.partition(" ")
    # One word alone is a filter, even where it is the name of an access.
    access, text = (word, after.strip()) if after else ("readwrite", rest)
    if access not in ACCESS:
        raise Malformed(line, f"before the filter only {', '.join(ACCESS)} may stand", "access")
    try:
        filter_ = percent_filter(text) if keyword == "pattern" else plain_filter(text)
    except BadFilter as problem:
        raise Malformed(line, str(problem), "topic") from None
    return *ACCESS[access], filter_
