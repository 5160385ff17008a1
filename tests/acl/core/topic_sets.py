"""Filters as plain sets of topics: slow, independent of the program, and hard to get wrong.

A set is an integer with one bit for each topic of a small world. `FRESH` stands for all the level texts that
no filter of a test mentions. A world one level deeper than its filters tells all of them apart.
"""

import re
from functools import cache
from itertools import product

FRESH = "fresh"


def all_topics(levels, depth):
    return ["/".join(t) for n in range(1, depth + 1) for t in product(levels, repeat=n) if t != ("",)]


def all_filters(levels, depth):
    """Every filter of these levels, ``+`` and ``#``."""
    bodies = [list(chosen) for n in range(depth + 1) for chosen in product([*levels, "+"], repeat=n)]
    exact = ["/".join(body) for body in bodies if body not in ([], [""])]
    return exact + ["/".join([*body, "#"]) for body in bodies if len(body) < depth]


def spelled_match(topic_filter, topic):
    """MQTT 5, 4.7, read as a regular expression."""
    if topic_filter[0] in "+#" and topic[0] == "$":
        return False
    if topic_filter == "#":
        return True
    body, parent = (topic_filter[:-2], "(/.*)?") if topic_filter.endswith("/#") else (topic_filter, "")
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in body.split("/"))
    return re.fullmatch(pattern + parent, topic, re.DOTALL) is not None


class World:
    def __init__(self, levels, depth):
        self.topics = all_topics([*levels, FRESH], depth)
        self.topics_of = cache(self._topics_of)

    def _topics_of(self, topic_filter):
        return sum(1 << n for n, topic in enumerate(self.topics) if spelled_match(topic_filter, topic))

    def contains(self, outer, inner):
        return self.topics_of(inner) & ~self.topics_of(outer) == 0

    def overlaps(self, one, two):
        return self.topics_of(one) & self.topics_of(two) != 0
