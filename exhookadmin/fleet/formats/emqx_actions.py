"""EMQX's QoS and retain conditions, in both spellings, reduced to what is lost with them.

ExHook's authorize request carries neither QoS nor retain, so a rule that depends on them cannot be kept.
"""

from collections.abc import Iterable

ALL_QOS = frozenset({0, 1, 2})


def lost_with(action: str, qos: Iterable[int], retain: bool | None) -> list[str]:
    """The words for what is lost; none where the condition excludes nothing. ``retain`` None is *all*."""
    words = []
    levels = sorted(set(qos))
    if set(levels) != ALL_QOS:
        words.append(f"the condition QoS {' or '.join(map(str, levels))}")
    # EMQX ignores retain for subscribe.
    if retain is not None and action != "subscribe":
        words.append(f"the condition retain {'true' if retain else 'false'}")
    return words
