"""The provider: one method a hook, from message to reply, recording facts on the way.

``quick`` answers from memory, on the event loop: no query, no slow hash, no lock held
across I/O. It answers None when memory is not enough; ``full`` then may query and hash.
Both run the same decision code and differ in where they look only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from accounts.core.authenticate import authenticate
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason, deny
from accounts.core.identity import IdentitySource
from accounts.core.principal import PrincipalCredential
from accounts.core.tokens import looks_like_token
from accounts.passwords import password_matches, spend_a_verification
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action
from audit.fact import Fact, Kind
from exhookadmin.exhook.directory import Directory, Known
from exhookadmin.exhook.hooks import Hook
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

    def __init__(self, directory: Directory, record: Record, options: Options) -> None:
        self.directory = directory
        self._record = record
        self._options = options
        self._quick: dict[Hook, Callable[[Method, Any], bytes | None]] = dict.fromkeys(Hook, _acknowledge) | {
            Hook.PROVIDER_LOADED: self._provider_loaded,
            Hook.PROVIDER_UNLOADED: self._provider_unloaded,
            Hook.CLIENT_AUTHENTICATE: lambda _, m: self._quick_authenticate(m),
            Hook.CLIENT_AUTHORIZE: lambda _, m: self._authorize(m, directory.peek),
            Hook.CLIENT_CONNACK: self._connack,
            Hook.CLIENT_CONNECTED: lambda _, m: self._connected(m, directory.peek),
            Hook.CLIENT_DISCONNECTED: self._disconnected,
            Hook.MESSAGE_PUBLISH: _leave_message,
        }
        self._full: dict[Hook, Callable[[Any], bytes | None]] = {
            Hook.CLIENT_AUTHENTICATE: self._full_authenticate,
            Hook.CLIENT_AUTHORIZE: lambda m: self._authorize(m, directory.find),
            Hook.CLIENT_CONNECTED: lambda m: self._connected(m, directory.find),
        }

    def quick(self, method: Method, message: Any) -> bytes | None:
        """The reply if memory is enough, else None."""
        return self._quick[method.hook](method, message)

    def full(self, method: Method, message: Any) -> bytes:
        """The reply, whatever it takes. Raises django.db.Error when the database is needed and away."""
        reply = self._full[method.hook](message) if method.hook in self._full else self.quick(method, message)
        if reply is None:
            raise RuntimeError(f"{method.hook} was left undecided")
        return reply

    def failed(self, method: Method, message: Any, reason: Reason) -> bytes:
        """The reply when deciding was impossible: a denial where the hook asks for a decision,
        never a gRPC error, which stalls EMQX 4.4 for seconds."""
        decision = deny(reason)
        if method.hook == Hook.CLIENT_AUTHENTICATE:
            return self._conclude_authenticate(message, client_of(message.clientinfo), None, decision)
        if method.hook == Hook.CLIENT_AUTHORIZE:
            return self._conclude_authorize(message, client_of(message.clientinfo), None, decision)
        if method.hook == Hook.CLIENT_CONNECTED:
            self._record(_client_fact(Kind.CONNECTED, message, client_of(message.clientinfo), None))
        return IGNORE if method.hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS

    def _provider_loaded(self, method: Method, message: Any) -> bytes:
        broker = message.broker
        detail = f"{broker.sysdescr} {broker.version}, protocol {method.version.name}"
        self._record(_node_fact(Kind.PROVIDER_LOADED, message, detail))
        specs = [method.version.pb2.HookSpec(name=method.version.spell(hook)) for hook in self._options.hooks]
        reply: bytes = method.version.pb2.LoadedResponse(hooks=specs).SerializeToString()
        return reply

    def _provider_unloaded(self, method: Method, message: Any) -> bytes:
        self._record(_node_fact(Kind.PROVIDER_UNLOADED, message, f"protocol {method.version.name}"))
        return EMPTY_SUCCESS

    def _quick_authenticate(self, message: Any) -> bytes | None:
        client = client_of(message.clientinfo)
        known = self.directory.peek(client)
        if known is None:
            return None
        decision = authenticate(client, known.principal, time.time(), _cannot_tell)
        if decision is None or _owes_a_hash(client, decision):
            return None
        return self._conclude_authenticate(message, client, known, decision)

    def _full_authenticate(self, message: Any) -> bytes:
        hashed = False

        def verify(credential: PrincipalCredential, password: str) -> bool:
            nonlocal hashed
            hashed = True
            return password_matches(credential.encoded, password)

        client = client_of(message.clientinfo)
        known = self.directory.find(client)
        decision = authenticate(client, known.principal, time.time(), verify)
        if decision is None:
            raise RuntimeError("a verifier that hashes leaves nothing undecided")
        if _owes_a_hash(client, decision) and not hashed:
            spend_a_verification(client.password)
        return self._conclude_authenticate(message, client, known, decision)

    def _conclude_authenticate(
        self, message: Any, client: Client, known: Known | None, decision: Decision
    ) -> bytes:
        if not decision.allow:
            self._record(_client_fact(Kind.AUTHENTICATE, message, client, known, decision))
        return reply_to(decision, self._options.chain_unknown)

    def _authorize(self, message: Any, find: Find) -> bytes | None:
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return None
        if known.principal is not None and known.rule_sets is None:
            decision = deny(Reason.POLICY_BROKEN)
        else:
            access = AccessRequest(_action(message), message.topic)
            decision = authorize(client, known.principal, access, known.rule_sets or (), time.time())
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
        return reply_to(decision, self._options.chain_unknown)

    def _connack(self, method: Method, message: Any) -> bytes:
        if message.result_code != "success":
            client = connecting_client_of(message.conninfo, assigned_client_id(message.props))
            known = self.directory.peek(client)
            self._record(
                _client_fact(Kind.CONNACK, message, client, known, allowed=False, detail=message.result_code)
            )
        return EMPTY_SUCCESS

    def _connected(self, message: Any, find: Find) -> bytes | None:
        client = client_of(message.clientinfo)
        known = find(client)
        if known is None:
            return None
        self._record(_client_fact(Kind.CONNECTED, message, client, known))
        return EMPTY_SUCCESS

    def _disconnected(self, _: Method, message: Any) -> bytes:
        client = client_of(message.clientinfo)
        known = self.directory.peek(client)
        self._record(_client_fact(Kind.DISCONNECTED, message, client, known, detail=message.reason))
        return EMPTY_SUCCESS


def _acknowledge(_: Method, __: Any) -> bytes:
    return EMPTY_SUCCESS


def _leave_message(_: Method, __: Any) -> bytes:
    return IGNORE


def _cannot_tell(_: PrincipalCredential, __: str) -> None:
    return None


def _owes_a_hash(client: Client, decision: Decision) -> bool:
    """True for the refusal of a secret that a slow hash could have been computed for: one is
    due however early the refusal came, or the time to answer would tell which names exist."""
    return not decision.allow and client.password != "" and not looks_like_token(client.password)


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
