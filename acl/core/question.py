"""What a client asks for, as the broker sent it and as the rules see it."""

from dataclasses import dataclass
from typing import NamedTuple

from accounts.core.client import Client
from accounts.core.principal import Principal
from acl.core.rules import Action
from acl.core.topic_problems import InvalidTopic, filter_problem, string_problem, topic_problem
from acl.core.topics import filter_levels
from acl.core.wrappers import unwrap_publication, unwrap_subscription


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """`PUBLISH` to a topic or `SUBSCRIBE` to a topic filter, in the broker's words, wrapper included."""

    action: Action
    topic: str


class Question(NamedTuple):
    """A valid request without its wrapper, and who asks. `levels` are those of `text`."""

    action: Action
    text: str
    levels: list[str]
    client: Client
    principal: Principal


def ask(client: Client, principal: Principal, request: AccessRequest) -> Question:
    """Raises InvalidTopic, with words for people, when the topic or filter is none."""
    requested = request.topic
    # Of the whole text: what is wrong in a wrapper is no better than what is wrong inside.
    problem = string_problem(requested)
    if problem is None:
        if request.action is Action.PUBLISH:
            inner = unwrap_publication(requested)
            problem = topic_problem(inner)
        elif request.action is Action.SUBSCRIBE:
            inner = unwrap_subscription(requested)
            problem = filter_problem(inner)
        else:
            raise ValueError(f"one asks to publish or to subscribe, not {request.action!r}")
    if problem is not None:
        raise InvalidTopic(problem)
    return Question(request.action, inner, filter_levels(inner), client, principal)
