"""The provider: one method a hook, from message to reply, recording facts on the way.

``quick`` answers from memory, on the event loop: no query, no slow hash, no lock held
across I/O. Where memory is not enough it says what is needed; ``full`` may query and hash.
Both run the same decision code and differ in where they look only.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, deny
from accounts.core.identity import IdentitySource
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action
from acl.rulesets import PolicyBook
from audit.fact import Fact, Kind
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.logins import Logins, Need
from exhookadmin.exhook.memory import Known
from exhookadmin.exhook.metrics_tally import CallTally
from exhookadmin.exhook.replies import EMPTY_SUCCESS, IGNORE, reply_to
from exhookadmin.exhook.translate import assigned_client_id, client_of, connecting_client_of
from exhookadmin.exhook.versions import Method

Find = Callable[[Client], Known | None]
Record = Callable[[Fact], None]


@dataclass(frozen=True)
class Options:
    """What an operator may choose about the answers."""

    hooks: tuple[Hook, ...]
    identity_order: tuple[IdentitySource, ...]
    chain_unknown: bool

    @classmethod
    def from_settings(cls) -> "Options":
        return cls(
            hooks=tuple(Hook(name) for name in settings.EXHOOK_HOOKS),
            identity_order=tuple(IdentitySource(name) for name in settings.EXHOOK_IDENTITY_ORDER),
            chain_unknown=settings.EXHOOK_CHAIN_UNKNOWN,
        )


class Provider:
    """Answers every hook of every version."""

    def __init__(self, directory: Directory, logins: Logins, record: Record, options: Options) -> None:
        self.directory = directory
        self.logins = logins
        self.tally = CallTally()
        self._take_fact = record
        self._options = options
        self._quick: dict[Hook, Callable[[Method, Any], bytes | Need]] = dict.fromkeys(Hook, _acknowledge) | {
            Hook.PROVIDER_LOADED: self._provider_loaded,
            Hook.PROVIDER_UNLOADED: self._provider_unloaded,
            Hook.CLIENT_AUTHENTICATE: lambda _, message: self._quick_authenticate(message),
            Hook.CLIENT_AUTHORIZE: lambda _, message: self._authorize(message, directory.peek),
            Hook.CLIENT_CONNACK: lambda _, message: self._connack(message, directory.peek),
            Hook.CLIENT_CONNECTED: lambda _, message: self._connected(message, directory.peek),
            Hook.CLIENT_DISCONNECTED: lambda _, message: self._disconnected(message, directory.peek),
            Hook.MESSAGE_PUBLISH: _leave_message,
        }
        self._full: dict[Hook, Callable[[Any], bytes | Need]] = {
            Hook.CLIENT_AUTHENTICATE: self._full_authenticate,
            Hook.CLIENT_AUTHORIZE: lambda message: self._authorize(message, directory.find),
            Hook.CLIENT_CONNACK: lambda message: self._connack(message, directory.find),
            Hook.CLIENT_CONNECTED: lambda message: self._connected(message, directory.find),
            Hook.CLIENT_DISCONNECTED: lambda message: self._disconnected(message, directory.find),
        }
        # What happened is recorded even where it cannot be found out whose doing it was.
        self._untold: dict[Hook, Callable[[Any], bytes | Need]] = {
            Hook.CLIENT_CONNACK: lambda message: self._connack(message, _nobody),
            Hook.CLIENT_CONNECTED: lambda message: self._connected(message, _nobody),
            Hook.CLIENT_DISCONNECTED: lambda message: self._disconnected(message, _nobody),
        }

    def quick(self, method: Method, message: Any) -> bytes | Need:
        """The reply if memory is enough, else what it takes."""
        return self._quick[method.hook](method, message)

    def full(self, method: Method, message: Any) -> bytes:
        """The reply, whatever it takes. Raises django.db.Error when the database is needed and away."""
        reply = self._full[method.hook](message) if method.hook in self._full else self.quick(method, message)
        if isinstance(reply, Need):
            raise RuntimeError(f"{method.hook} still needs {reply.value}")
        return reply

    def settled_until(self, message: Any) -> float:
        """Until when, on the directory's clock, the same message would be answered the same way."""
        return self.directory.settled_until(client_of(message.clientinfo), time.time())

    def load(self, messages: Iterable[Any]) -> None:
        """Brings the messages' devices into memory. Raises django.db.Error when the database is away."""
        self.directory.load([_client_in(message) for message in messages])

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
            return self._conclude_authorize(message, client_of(message.clientinfo), None, decision)
        self.tally.failed[method][reason] += 1
        if method.hook == Hook.PROVIDER_LOADED:
            return self._declaration(method)
        if method.hook in self._untold:
            self._untold[method.hook](message)
        return IGNORE if method.hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS

    def _record(self, fact: Fact) -> None:
        self.tally.recorded[fact.kind] += 1
        self._take_fact(fact)

    def _provider_loaded(self, method: Method, message: Any) -> bytes:
        broker = message.broker
        detail = f"{broker.sysdescr} {broker.version}, protocol {method.version.name}"
        self._record(_node_fact(Kind.PROVIDER_LOADED, message, detail))
        return self._declaration(method)

    def _declaration(self, method: Method) -> bytes:
        """The hooks we want: a broker that is told of none asks nothing and admits everybody."""
        specs = [method.version.pb2.HookSpec(name=method.version.spell(hook)) for hook in self._options.hooks]
        reply: bytes = method.version.pb2.LoadedResponse(hooks=specs).SerializeToString()
        return reply

    def _provider_unloaded(self, method: Method, message: Any) -> bytes:
        self._record(_node_fact(Kind.PROVIDER_UNLOADED, message, f"protocol {method.version.name}"))
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

    def _full_authenticate(self, message: Any) -> bytes:
        client = client_of(message.clientinfo)
        known = self.directory.find(client)
        decision = self.logins.full(client, known.principal)
        return self._conclude_authenticate(message, client, known, decision)

    def _conclude_authenticate(
        self, message: Any, client: Client, known: Known | None, decision: Decision
    ) -> bytes:
        if not decision.allow:
            self._record(_client_fact(Kind.AUTHENTICATE, message, client, known, decision))
        self.tally.decided(message, decision)
        return reply_to(decision, self._options.chain_unknown)

    def _authorize(self, message: Any, find: Find) -> bytes | Need:
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return Need.DEVICE
        access = AccessRequest(_action(message), message.topic)
        decision = authorize(client, known.principal, access, known.rule_sets, time.time())
        return self._conclude_authorize(message, client, known, decision)

    def _conclude_authorize(
        self, message: Any, client: Client, known: Known | None, decision: Decision
    ) -> bytes:
        if not decision.allow:
            fact = _client_fact(
                Kind.AUTHORIZE,
                message,
                client,
                known,
                decision,
                action=str(_action(message)),
                topic=message.topic,
            )
            self._record(fact)
        self.tally.decided(message, decision)
        return reply_to(decision, self._options.chain_unknown)

    def _connack(self, message: Any, find: Find) -> bytes | Need:
        if message.result_code != "success":
            client = _client_in(message)
            known = find(client)
            if known is None:
                return Need.DEVICE
            self._record(
                _client_fact(Kind.CONNACK, message, client, known, allowed=False, detail=message.result_code)
            )
        return EMPTY_SUCCESS

    def _connected(self, message: Any, find: Find) -> bytes | Need:
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return Need.DEVICE
        self._record(_client_fact(Kind.CONNECTED, message, client, known))
        return EMPTY_SUCCESS

    def _disconnected(self, message: Any, find: Find) -> bytes | Need:
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return Need.DEVICE
        self._record(_client_fact(Kind.DISCONNECTED, message, client, known, detail=message.reason))
        return EMPTY_SUCCESS


def _client_in(message: Any) -> Client:
    """Whom a message is about: connect and connack carry a ``ConnInfo``, the others a ``ClientInfo``."""
    if hasattr(message, "conninfo"):
        return connecting_client_of(message.conninfo, assigned_client_id(getattr(message, "props", ())))
    return client_of(message.clientinfo)


def _nobody(_: Client) -> Known:
    return Known(None, PolicyBook(), 0.0)


def _acknowledge(_: Method, __: Any) -> bytes:
    return EMPTY_SUCCESS


def _leave_message(_: Method, __: Any) -> bytes:
    return IGNORE


def _action(message: Any) -> Action:
    return Action.SUBSCRIBE if message.type else Action.PUBLISH


def _client_fact(
    kind: Kind,
    message: Any,
    client: Client,
    known: Known | None,
    decision: Decision | None = None,
    **more: Any,
) -> Fact:
    principal = known.principal if known else None
    if decision is not None:
        more |= {
            "allowed": decision.allow,
            "reason": decision.reason,
            "rule_id": decision.rule.id if decision.rule else None,
            "rule": str(decision.rule) if decision.rule else "",
            "credential_id": decision.credential_id,
        }
    return Fact(
        kind,
        device_id=principal.id if principal else None,
        device=principal.username if principal else "",
        client_id=client.client_id,
        username=client.username,
        address=client.address,
        port=client.port,
        listener_port=client.listener_port,
        protocol=client.protocol,
        cn=client.cn,
        node=client.node or message.meta.node,
        cluster=message.meta.cluster_name,
        **more,
    )


def _node_fact(kind: Kind, message: Any, detail: str) -> Fact:
    return Fact(kind, node=message.meta.node, cluster=message.meta.cluster_name, detail=detail)
