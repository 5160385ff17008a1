"""A rule: what one line of a policy says, and which of two rules is tried first."""

from dataclasses import dataclass, field
from enum import StrEnum

from accounts.core.decision import RuleRef
from accounts.core.networks import Networks
from acl.core.placeholders import placeholder_problem
from acl.core.topic_problems import filter_problem, quoted
from acl.core.wrappers import WRAPPERS

_NETWORKS_SHOWN = 3


class Effect(StrEnum):
    """What a rule does once it matches."""

    ALLOW = "allow"
    DENY = "deny"


class Action(StrEnum):
    """What a client asks for, or a rule speaks about. Only a rule can say `ALL`."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    ALL = "all"


Order = tuple[int, bool, int, str]
"""The sort key of evaluation: a smaller one is tried earlier."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Whether its filter is usable is for `rule_filter_problem` and the compiler to say.

    `literal` compares the filter as text (EMQX's ``eq``). `source` names where the rule is kept, as people
    know it: “device pump-17”, “policy fleet”. A higher `priority` is tried earlier.
    """

    id: int
    effect: Effect
    action: Action
    topic_filter: str
    literal: bool = False
    networks: Networks = ()
    priority: int = 0
    source: str = ""
    ref: RuleRef = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made sure here because a mere text “deny” would not be Effect.DENY, and so allow.
        object.__setattr__(self, "effect", Effect(self.effect))
        object.__setattr__(self, "action", Action(self.action))
        object.__setattr__(self, "ref", RuleRef(self.id, self.source, self._text()))

    def _text(self) -> str:
        text = f"{self.effect} {self.action} {'eq ' if self.literal else ''}{self.topic_filter}"
        if self.networks:
            shown = ", ".join(str(network) for network in self.networks[:_NETWORKS_SHOWN])
            more = len(self.networks) - _NETWORKS_SHOWN
            text += f" from {shown}" + (f" and {more} more" if more > 0 else "")
        return text + (f" (priority {self.priority})" if self.priority else "")

    @property
    def order(self) -> Order:
        """Highest priority first, deny before allow, then the older rule; id and source identify a rule."""
        return (-self.priority, self.effect is not Effect.DENY, self.id, self.source)


def rule_filter_problem(text: str) -> str | None:
    """Why a rule cannot have this filter, in words for a form; None when it can."""
    if text.startswith(WRAPPERS):
        return f"{quoted(text)}: write the inner filter: the wrapper is removed before rules are tried."
    return placeholder_problem(text) or filter_problem(text)
