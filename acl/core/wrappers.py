"""Requests that wrap a filter or topic: EMQX's ``$share``, ``$queue``, ``$exclusive`` and ``$delayed``.

A decision is about the real filter or topic inside. Brokers differ in whether they unwrap it before they ask
(EMQX 5.4 does for shared subscriptions), so a request that is not wrapped is taken as it comes.
"""

from acl.core.topic_problems import InvalidTopic
from acl.core.topics import has_wildcards

SUBSCRIBE_WRAPPERS = ("$share/", "$queue/", "$exclusive/")
PUBLISH_WRAPPERS = ("$delayed/",)
WRAPPERS = SUBSCRIBE_WRAPPERS + PUBLISH_WRAPPERS


def unwrap_subscription(requested: str) -> str:
    """The filter inside ``$share/<group>/f`` (MQTT 5, 4.8.2), ``$queue/f`` or ``$exclusive/f``, or as given.

    Raises InvalidTopic for an unusable group, an empty filter, or one that is wrapped again.
    """
    if not requested.startswith(SUBSCRIBE_WRAPPERS):
        return requested
    wrapper, _, inner = requested.partition("/")
    if wrapper == "$share":
        group, _, inner = inner.partition("/")
        if not group or has_wildcards(group):
            raise InvalidTopic("$share needs a group name without + or #; write for example $share/g/a/b.")
    return _bare(wrapper, inner, SUBSCRIBE_WRAPPERS)


def unwrap_publication(requested: str) -> str:
    """The topic inside EMQX's ``$delayed/<seconds>/t``, or as given.

    Raises InvalidTopic when the seconds are not digits, the topic is empty, or it is wrapped again.
    """
    if not requested.startswith(PUBLISH_WRAPPERS):
        return requested
    wrapper, _, rest = requested.partition("/")
    seconds, _, inner = rest.partition("/")
    if not (seconds.isascii() and seconds.isdigit()):
        raise InvalidTopic("$delayed needs a number of seconds; write for example $delayed/60/a/b.")
    return _bare(wrapper, inner, PUBLISH_WRAPPERS)


def _bare(wrapper: str, inner: str, wrappers: tuple[str, ...]) -> str:
    if not inner:
        raise InvalidTopic(f"{wrapper} has nothing inside; add the topic, for example a/b.")
    if inner.startswith(wrappers):
        raise InvalidTopic(f"{wrapper} holds another wrapper; only one is allowed, remove one.")
    return inner
