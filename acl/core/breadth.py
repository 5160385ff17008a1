"""How much one rule opens: whether it is about topics that somebody named, or about everything."""

from acl.core.rules import Action, Effect


def names_nothing(topic_filter: str) -> bool:
    """True for a filter with wildcards and no level that names anything: ``#``, ``+/#``, ``/+``, ``+/+/+``.

    A first level that begins with ``$`` does not count as a name: ``$SYS/#`` is everything that the broker
    tells of itself, and every client that connects is in there. A placeholder does: it stands for
    one text without wildcards.
    """
    levels = topic_filter.split("/")
    if levels[0].startswith("$") and not levels[0].startswith("${"):
        levels = levels[1:]
    return any(level in ("+", "#") for level in levels) and all(level in ("+", "#", "") for level in levels)


def opens_everything(effect: str, action: str, topic_filter: str, literal: bool) -> bool:
    """True for a rule that by itself opens everything to whomever it applies to.

    A literal rule is about one text. As a subscription that text delivers what the filter matches; a
    publish to a text with wildcards is none (MQTT 5, 3.3.2.1).
    """
    if effect != Effect.ALLOW or not names_nothing(topic_filter):
        return False
    return not literal or action != Action.PUBLISH
