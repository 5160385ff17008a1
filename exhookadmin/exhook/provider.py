"""The provider: one method a hook, from message to reply, recording facts on the way.

``quick`` answers from memory, on the event loop: no query, no slow hash, no lock held
across I/O. Where memory is not enough it says what is needed; ``full`` may query and hash.
Both run the same decision code and differ in where they look only.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import random
from typing import Any

from django.conf import settings

from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, deny
from accounts.core.identity import IdentitySource
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action
from acl.core.topics import filter_levels, levels_contain
from acl.rulesets import PolicyBook
from audit.fact import Fact, Kind
from audit.nodes import Node
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.facts import KIND_OF, TOLD, Told, client_fact, loaded_fact, node_fact
from exhookadmin.exhook.hooks import MESSAGE_HOOKS, Hook
from exhookadmin.exhook.logins import Logins, Need
from exhookadmin.exhook.memory import Known
from exhookadmin.exhook.metrics_tally import CallTally
from exhookadmin.exhook.replies import EMPTY_SUCCESS, IGNORE, reply_to
from exhookadmin.exhook.sightings import Sightings
from exhookadmin.exhook.translate import client_in, client_of, names_its_sender
from exhookadmin.exhook.versions import Method

Find = Callable[[Client], Known | None]
Record = Callable[[Fact], None]
Answer = Callable[[Method, Any], bytes | Need]
Access = tuple[bytes, float, int, Node]

# Recorded whenever the broker calls them, also one that has not heard of a shorter list yet:
# sessions are derived from them.
ALWAYS_RECORDED = frozenset({Hook.CLIENT_CONNACK, Hook.CLIENT_CONNECTED, Hook.CLIENT_DISCONNECTED})
ABOUT_THE_SENDER = (Hook.MESSAGE_PUBLISH, Hook.MESSAGE_DROPPED)
NEVER_AGAIN = float("-inf")


@dataclass(frozen=True)
class Options:
    """What an operator may choose about answers and facts.

    ``sample_authenticate`` and ``sample_authorize`` are the shares, from 0 to 1, of allowed
    decisions that are recorded. ``message_topics`` narrows the message hooks.
    """

    hooks: tuple[Hook, ...]
    identity_order: tuple[IdentitySource, ...]
    chain_unknown: bool
    message_topics: tuple[str, ...] = ()
    sample_authenticate: float = 0.0
    sample_authorize: float = 0.0

    @classmethod
    def from_settings(cls) -> "Options":
        return cls(
            hooks=tuple(Hook(name) for name in settings.EXHOOK_HOOKS),
            identity_order=tuple(IdentitySource(name) for name in settings.EXHOOK_IDENTITY_ORDER),
            chain_unknown=settings.EXHOOK_CHAIN_UNKNOWN,
            message_topics=tuple(settings.EXHOOK_MESSAGE_TOPICS),
            sample_authenticate=settings.EXHOOK_SAMPLE_AUTHENTICATE,
            sample_authorize=settings.EXHOOK_SAMPLE_AUTHORIZE,
        )


class Provider:
    """Answers every hook of every version."""

    def __init__(
        self,
        directory: Directory,
        logins: Logins,
        record: Record,
        options: Options,
        sightings: Sightings | None = None,
    ) -> None:
        self.directory = directory
        self.logins = logins
        self.tally = CallTally()
        self.sightings = sightings or Sightings()
        self._seen, self._nodes, self._hear = self.sightings.seen, self.sightings.nodes, self.sightings.hear
        self._take_fact = record
        self.options = options
        self._message_topics = [filter_levels(topic_filter) for topic_filter in options.message_topics]
        self._recorded = TOLD.keys() & (ALWAYS_RECORDED | set(options.hooks))
        self._quick: dict[Hook, Answer] = self._answers(directory.peek) | {
            Hook.CLIENT_AUTHENTICATE: lambda _, message: self._quick_authenticate(message)
        }
        self._full: dict[Hook, Answer] = self._answers(directory.find) | {
            Hook.CLIENT_AUTHENTICATE: self._full_authenticate
        }

    def _answers(self, find: Find) -> dict[Hook, Answer]:
        answers: dict[Hook, Answer] = dict.fromkeys(Hook, _acknowledge) | {
            Hook.PROVIDER_LOADED: self._provider_loaded,
            Hook.PROVIDER_UNLOADED: self._provider_unloaded,
            Hook.CLIENT_AUTHORIZE: lambda method, message: self._authorize(method, message, find),
        }
        for hook in self._recorded:
            answers[hook] = lambda method, message: self._happened(method, message, find)
        return answers

    def quick(self, method: Method, message: Any) -> bytes | Need:
        """The reply if memory is enough, else what it takes."""
        return self._quick[method.hook](method, message)

    def access(self, _: Method, message: Any, find: Find, record_allowed: bool) -> Access | Need:
        """The reply to an access; until when, on the directory's clock, the same question would be
        answered the same way, as a denial never is; and which device and node ask it. A permission is a
        fact if that is asked for."""
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return Need.DEVICE
        node = self._nodes.get(client.node) or self._hear(client.node, message)
        device = 0
        if known.principal is not None:
            device = known.principal.id
            self._seen[device] = None
        now = time.time()
        access = AccessRequest(_action(message), message.topic)
        decision = authorize(client, known.principal, access, known.rule_sets, now)
        reply = self._conclude_authorize(message, client, known, decision, record_allowed)
        until = self.directory.settled_until(known, now) if decision.allow else NEVER_AGAIN
        return reply, until, device, node

    def full(self, method: Method, message: Any) -> bytes:
        """The reply, whatever it takes. Raises django.db.Error when the database is needed and away."""
        reply = self._full[method.hook](method, message)
        if isinstance(reply, Need):
            raise RuntimeError(f"{method.hook} still needs {reply.value}")
        return reply

    def load(self, messages: Iterable[Any]) -> None:
        """Brings the messages' devices into memory. Raises django.db.Error when the database is away."""
        self.directory.load([client_in(message) for message in messages])

    def without_hash(self, message: Any) -> bytes | Need:
        """The reply to a login that would be given a dummy hash, in times when that cannot be afforded."""
        return self._quick_authenticate(message, spare=True)

    def failed(self, method: Method, message: Any, reason: Reason) -> bytes:
        """The reply when deciding was impossible: a denial where the hook asks for a decision,
        never a gRPC error, which stalls EMQX 4.4 for seconds."""
        decision = deny(reason)
        if method.hook == Hook.CLIENT_AUTHENTICATE:
            return self._conclude_authenticate(message, client_of(message.clientinfo), None, decision)
        if method.hook == Hook.CLIENT_AUTHORIZE:
            return self._conclude_authorize(message, client_of(message.clientinfo), None, decision, False)
        self.tally.failed[method][reason] += 1
        if method.hook == Hook.PROVIDER_LOADED:
            return self._declaration(method)
        if method.hook in self._recorded:
            # What happened is recorded even where it cannot be found out whose doing it was.
            self._happened(method, message, _nobody)
        return _acknowledge(method, message)

    def _record(self, fact: Fact) -> None:
        self.tally.recorded[fact.kind] += 1
        self._take_fact(fact)

    def _provider_loaded(self, method: Method, message: Any) -> bytes:
        heard_before = self.sightings.heard_before((message.meta.cluster_name, message.meta.node))
        self._record(loaded_fact(method, message, time.time(), heard_before))
        self._hear(message.meta.node, message)
        return self._declaration(method)

    def _declaration(self, method: Method) -> bytes:
        """The hooks we want: a broker that is told of none asks nothing and admits everybody."""
        pb2 = method.version.pb2
        specs = [
            pb2.HookSpec(
                name=method.version.spell(hook),
                topics=self.options.message_topics if hook in MESSAGE_HOOKS else (),
            )
            for hook in self.options.hooks
        ]
        reply: bytes = pb2.LoadedResponse(hooks=specs).SerializeToString()
        return reply

    def _provider_unloaded(self, method: Method, message: Any) -> bytes:
        self._record(node_fact(Kind.PROVIDER_UNLOADED, message, f"protocol {method.version.name}"))
        return EMPTY_SUCCESS

    def _quick_authenticate(self, message: Any, spare: bool = False) -> bytes | Need:
        client = client_of(message.clientinfo)
        known = self.directory.peek(client)
        if known is None:
            return Need.DEVICE
        decision = self.logins.quick(client, known.principal, spare)
        if isinstance(decision, Need):
            return decision
        return self._conclude_authenticate(message, client, known, decision)

    def _full_authenticate(self, _: Method, message: Any) -> bytes:
        client = client_of(message.clientinfo)
        known = self.directory.find(client)
        decision = self.logins.full(client, known.principal)
        return self._conclude_authenticate(message, client, known, decision)

    def _conclude_authenticate(
        self, message: Any, client: Client, known: Known | None, decision: Decision
    ) -> bytes:
        if not decision.allow or _chosen(self.options.sample_authenticate):
            self._record(self._decision_fact(Kind.AUTHENTICATE, message, client, known, decision, Told()))
        if client.node not in self._nodes:
            self._hear(client.node, message)
        if decision.allow and known is not None and known.principal is not None:
            self._seen[known.principal.id] = None
            if decision.credential_id is not None:
                self.sightings.used[decision.credential_id] = None
        self.tally.decided(message, decision)
        return reply_to(decision, self.options.chain_unknown)

    def _authorize(self, method: Method, message: Any, find: Find) -> bytes | Need:
        answer = self.access(method, message, find, _chosen(self.options.sample_authorize))
        return answer if isinstance(answer, Need) else answer[0]

    def _conclude_authorize(
        self, message: Any, client: Client, known: Known | None, decision: Decision, record_allowed: bool
    ) -> bytes:
        if record_allowed or not decision.allow:
            told = Told(message.topic)
            action = str(_action(message))
            self._record(
                self._decision_fact(Kind.AUTHORIZE, message, client, known, decision, told, action=action)
            )
        self.tally.decided(message, decision)
        return reply_to(decision, self.options.chain_unknown)

    def _decision_fact(
        self,
        kind: Kind,
        message: Any,
        client: Client,
        known: Known | None,
        decision: Decision,
        told: Told,
        **more: Any,
    ) -> Fact:
        return client_fact(
            kind,
            message,
            client,
            known.principal if known else None,
            told,
            allowed=decision.allow,
            reason=decision.reason,
            rule_id=decision.rule.id if decision.rule else None,
            rule=str(decision.rule) if decision.rule else "",
            credential_id=decision.credential_id,
            revision=known.book.revision if known else self.directory.revision,
            **more,
        )

    def _happened(self, method: Method, message: Any, find: Find) -> bytes | Need:
        """Records what a hook tells that asks for no decision."""
        hook = method.hook
        told = TOLD[hook](message) if self._wanted(hook, message) else ()
        if told:
            client = client_in(message)
            if hook in ABOUT_THE_SENDER and not names_its_sender(message.message):
                find = _nobody
            known = find(client)
            if known is None:
                return Need.DEVICE
            if client.node not in self._nodes:
                self._hear(client.node, message)
            if hook is Hook.CLIENT_CONNECTED and known.principal is not None:
                self._seen[known.principal.id] = None
            for one in told:
                self._record(client_fact(KIND_OF[hook], message, client, known.principal, one))
        return _acknowledge(method, message)

    def _wanted(self, hook: Hook, message: Any) -> bool:
        """False for a message that a broker tells of that has not heard of narrower filters yet."""
        if hook not in MESSAGE_HOOKS:
            return True
        levels = message.message.topic.split("/")
        return any(levels_contain(wanted, levels) for wanted in self._message_topics)


def _nobody(_: Client) -> Known:
    return Known(None, PolicyBook(), 0.0)


def _acknowledge(method: Method, _: Any) -> bytes:
    """A message goes on as it is, for the next provider and for the broker."""
    return IGNORE if method.hook is Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS


def _chosen(share: float) -> bool:
    """True in so many cases of all, from 0 to 1."""
    return share > 0 and random() < share


def _action(message: Any) -> Action:
    return Action.SUBSCRIBE if message.type else Action.PUBLISH
