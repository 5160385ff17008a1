"""Topics and topic filters as sets of topics: what a filter matches, contains and overlaps (MQTT 5, 4.7).

A topic is a filter without wildcards. On it *contains*, *overlaps* and *matches* are one and the same,
so publish and subscribe are decided by the same two functions.
"""

from collections.abc import Sequence

Levels = Sequence[str]


def filter_levels(text: str) -> list[str]:
    """The levels of a valid filter or topic, in the one form the functions below compare.

    Filters that match the same topics get the same levels. A topic has at least one level, so ``#`` is
    ``+/#``; and there is no empty topic (4.7.3-1), so ``/#`` has no parent to match and is ``/+/#``.
    """
    if text == "#":
        return ["+", "#"]
    if text == "/#":
        return ["", "+", "#"]
    return text.split("/")


def levels_contain(outer: Levels, inner: Levels) -> bool:
    """True when every topic that `inner` matches is matched by `outer`. Both from `filter_levels`."""
    if outer[0] == "+" and inner[0][:1] == "$":  # 4.7.2-1
        return False
    for level, other in zip(outer, inner, strict=False):
        if level == "#":
            return True
        if level != other and (level != "+" or other == "#"):
            return False
    return len(outer) == len(inner) or (len(outer) == len(inner) + 1 and outer[-1] == "#")


def levels_overlap(one: Levels, two: Levels) -> bool:
    """True when some topic is matched by both. Both from `filter_levels`."""
    if (one[0] == "+" and two[0][:1] == "$") or (two[0] == "+" and one[0][:1] == "$"):  # 4.7.2-1
        return False
    for level, other in zip(one, two, strict=False):
        if level == "#" or other == "#":
            return True
        if level != other and level != "+" and other != "+":
            return False
    if len(one) == len(two):
        return True
    short, long = sorted((one, two), key=len)
    return len(long) == len(short) + 1 and long[-1] == "#"


def match(topic_filter: str, topic: str) -> bool:
    """True when the filter matches the topic; both must be valid."""
    return levels_contain(filter_levels(topic_filter), topic.split("/"))


def contains(outer: str, inner: str) -> bool:
    """True when every topic that the filter `inner` matches is matched by the filter `outer`."""
    return levels_contain(filter_levels(outer), filter_levels(inner))


def overlaps(one: str, two: str) -> bool:
    """True when some topic is matched by both filters."""
    return levels_overlap(filter_levels(one), filter_levels(two))


def has_wildcards(text: str) -> bool:
    """True when a valid filter matches more than the one topic it spells."""
    return "+" in text or "#" in text
