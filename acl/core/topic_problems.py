"""What is wrong with a topic or a topic filter, in words for a form (MQTT 5, 1.5.4 and 4.7)."""

import re

from acl.core.topics import has_wildcards

MAX_BYTES = 65_535
"""The longest UTF-8 string MQTT can carry (MQTT 5, 1.5.4)."""

_QUOTED_LENGTH = 80
_WILDCARD = re.compile("[+#]")
_MISPLACED = re.compile("[^/][+#]|[+#][^/]|#/")


class InvalidTopic(ValueError):
    """A request whose topic or filter is none; the text says why, in words for people."""


def topic_problem(text: str) -> str | None:
    """Why this is not a topic one can publish to; None when it is."""
    problem = string_problem(text)
    if problem is None and has_wildcards(text):
        return f"{quoted(text)}: a topic to publish to cannot hold + or #; name one topic, for example a/b."
    return problem


def filter_problem(text: str) -> str | None:
    """Why this is not a topic filter, and the nearest text that is; None when it is. Levels may be empty."""
    problem = string_problem(text)
    if problem is not None or not _MISPLACED.search(text):
        return problem
    levels = text.split("/")
    for depth, level in enumerate(levels, start=1):
        if level == "#" and depth < len(levels):
            return f"{quoted(text)}: # is only allowed as the last level; {_advice(levels)}"
        for wildcard in "+#":
            if wildcard in level and level != wildcard:
                return f"{quoted(text)}: {wildcard} must stand alone in its level; {_advice(levels)}"
    return None


def string_problem(text: str) -> str | None:
    """Why MQTT cannot carry this text at all; None when it can."""
    if not text:
        return "It is empty; write at least one level, for example a/b."
    if "\0" in text:
        return "It holds the character NUL (U+0000), which MQTT forbids; remove it."
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            # Not quoted: such a text cannot be sent to a browser either.
            return "It holds half of a surrogate pair, which is not a character; type it again."
    if size > MAX_BYTES:
        return f"It is {size:,} bytes long in UTF-8 and MQTT allows {MAX_BYTES:,}; shorten it."
    return None


def _advice(levels: list[str]) -> str:
    nearest: list[str] = []
    for level in levels:
        if "#" in level:
            before = _WILDCARD.split(level)[0]
            nearest += [before, "#"] if before else ["#"]
            break
        nearest.append("+" if "+" in level else level)
    written = "/".join(nearest)
    return f"write {written}" if len(written) <= _QUOTED_LENGTH else "write for example a/+/b or a/#"


def quoted(text: str) -> str:
    """The text in quotation marks, cut where it would flood a message."""
    return f"“{text if len(text) <= _QUOTED_LENGTH else text[:_QUOTED_LENGTH] + '…'}”"
