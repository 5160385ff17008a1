"""Topics by an MQTT topic filter, in SQL: + stands for one level, # for the rest (MQTT 5, 4.7.1)."""

import re

from django.db.models import Q
from django.db.models.functions import Left
from django.db.models.lookups import Exact


def topic_filter_problem(text: str) -> str:
    """What is wrong with the filter and how to mend it; empty for a good one."""
    *parents, last = text.split("/")
    if any("#" in level for level in parents) or ("#" in last and last != "#"):
        return "# stands for whole levels and comes last; write it as in dev/#."
    if any("+" in level and level != "+" for level in (*parents, last)):
        return "+ stands for one whole level; write it as in dev/+/state."
    return ""


def matching_topics(text: str) -> Q:
    """The events whose topic is covered by the filter; a requested filter is compared as if it were a topic.

    A leading wildcard covers no topic that begins with $ (MQTT 5, 4.7.2).
    """
    levels = text.split("/")
    if not {"+", "#"} & set(levels):
        return Q(topic=text)
    open_ended = levels[-1] == "#"
    if open_ended:
        levels.pop()
    literal = levels[: levels.index("+")] if "+" in levels else levels
    if open_ended and literal and literal == levels:
        parent = "/".join(literal)
        return _beginning_with(literal) | (Q(topic=parent) if parent else Q())
    # \A and \Z mean the same to PostgreSQL and Python, ^ and $ do not; and a level may hold any character.
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    end = (r"(/|\Z)" if levels else "") if open_ended else r"\Z"
    if literal:
        return _beginning_with(literal) & Q(topic__regex=rf"\A{pattern}{end}")
    return Q(topic__gt="") & Q(topic__regex=rf"\A(?!\$){pattern}{end}")


def _beginning_with(levels: list[str]) -> Q:
    """The topics below these levels. SQLite's LIKE would take upper case for lower."""
    beginning = "/".join(levels) + "/"
    return Q(Exact(Left("topic", len(beginning)), beginning))
