"""The probe: acts as EMQX towards a running endpoint and says, check by check, whether it answers well.

It creates nothing in the database, but what it does is logged like any broker's calls, under the
cluster name ``exhook-probe``.
"""

import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accounts.core.client import Client
from exhookadmin.exhook.emqx import (
    REQUEST_SECONDS,
    Node,
    Target,
    explain_unreachable,
    headers_of,
    is_unreachable,
    open_channel,
)
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY, IGNORE
from exhookadmin.exhook.versions import VERSIONS, Version

CLUSTER = "exhook-probe"
ALLOWED, DENIED, ANSWERED = "allowed", "denied", "answered"
_SAID = {ALLOW: ALLOWED, DENY: DENIED, IGNORE: "abstained: EMQX then decides alone"}


@dataclass(frozen=True)
class Device:
    """Whom the probe pretends to be. Without a username the endpoint goes by the client id."""

    client_id: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    address: str = "127.0.0.1"

    @property
    def known(self) -> bool:
        return bool(self.client_id or self.username)


@dataclass(frozen=True)
class Check:
    """One check. ``passed`` is None for one that was left out; ``got`` then says why."""

    name: str
    expected: str
    got: str
    passed: bool | None
    seconds: float | None = None


def probe(
    target: Target,
    version: Version,
    device: Device | None = None,
    publish: str = "",
    subscribe: str = "",
) -> Iterator[Check]:
    """Makes the calls of one device's life, in EMQX's order.

    A stranger (a random name) must be refused everything. A ``device`` with its password must be
    admitted, and allowed to ``publish`` to that topic and to ``subscribe`` to that filter.

    Raises Unreachable when nobody answers the first call, OSError for an unreadable PEM file.
    """
    with open_channel(target) as channel:
        yield from _Probe(channel, target, version).run(device or Device(), publish, subscribe)


class _Probe:
    def __init__(self, channel: grpc.Channel, target: Target, version: Version) -> None:
        self._channel = channel
        self._target = target
        self._node = Node(version, name=f"probe@{socket.gethostname()}", cluster=CLUSTER, sysdescr="probe")

    def run(self, device: Device, publish: str, subscribe: str) -> Iterator[Check]:
        name = f"probe-{secrets.token_hex(4)}"
        stranger = Client(
            client_id=name, username=name, address=device.address, listener_port=1883, protocol="mqtt"
        )
        client = stranger
        if device.known:
            client = stranger._replace(
                client_id=device.client_id or device.username, username=device.username
            )
        yield self._health()
        yield self._loaded()
        yield self._told("connect", Hook.CLIENT_CONNECT, client)
        yield self._authenticate("authenticate, a stranger", stranger, secrets.token_urlsafe(16), DENIED)
        if device.password:
            wrong = secrets.token_urlsafe(16)
            yield self._authenticate("authenticate, wrong password", client, wrong, DENIED)
            yield self._authenticate("authenticate, right password", client, device.password, ALLOWED)
        else:
            for which, expected in (("wrong", DENIED), ("right", ALLOWED)):
                yield _left_out(f"authenticate, {which} password", expected, "no credentials were given")
        yield self._told("session created", Hook.SESSION_CREATED, client)
        yield self._told("connected", Hook.CLIENT_CONNECTED, client)
        yield self._told("connack", Hook.CLIENT_CONNACK, client, result_code="success")
        for action, number, topic in (("publish", 0, publish), ("subscribe", 1, subscribe)):
            yield self._authorize(f"authorize {action}, a stranger", stranger, number, name, DENIED)
            if topic and device.known:
                yield self._authorize(f"authorize {action}", client, number, topic, ALLOWED)
            else:
                missing = f"no --{action} was given" if device.known else "no device was given"
                yield _left_out(f"authorize {action}", ALLOWED, missing)
        granted = subscribe or name
        filters = self._node.filters([(granted, 0)])
        yield self._told("subscribe", Hook.CLIENT_SUBSCRIBE, client, topic_filters=filters)
        yield self._told("session subscribed", Hook.SESSION_SUBSCRIBED, client, topic=granted)
        yield self._told("disconnected", Hook.CLIENT_DISCONNECTED, client, reason="normal")
        yield self._told("session terminated", Hook.SESSION_TERMINATED, client, reason="normal")
        yield self._told("unload", Hook.PROVIDER_UNLOADED, None)

    def _health(self) -> Check:
        """The first call: when it finds nobody, there is nothing to check."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        request = health_pb2.HealthCheckRequest(service=self._node.version.service)
        began = time.perf_counter()
        try:
            response = stub.Check(request, timeout=REQUEST_SECONDS)
        except grpc.RpcError as error:
            if is_unreachable(error):
                raise explain_unreachable(self._target, error) from error
            return Check("health", "SERVING", _status(error), False, time.perf_counter() - began)
        got = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        return Check("health", "SERVING", got, got == "SERVING", time.perf_counter() - began)

    def _loaded(self) -> Check:
        expected = f"hooks that {self._node.version.name} knows"
        reply, seconds = self._call(Hook.PROVIDER_LOADED, None)
        if isinstance(reply, str):
            return Check("load", expected, reply, False, seconds)
        names = [hook.name for hook in self._node.version.pb2.LoadedResponse.FromString(reply).hooks]
        known = {self._node.version.spell(hook) for hook in Hook}
        unknown = [name for name in names if name not in known]
        if unknown:
            return Check("load", expected, f"unknown to EMQX: {', '.join(unknown)}", False, seconds)
        return Check("load", expected, ", ".join(names) or "none", bool(names), seconds)

    def _told(self, name: str, hook: Hook, client: Client | None, **values: Any) -> Check:
        reply, seconds = self._call(hook, client, **values)
        if isinstance(reply, str):
            return Check(name, ANSWERED, reply, False, seconds)
        return Check(name, ANSWERED, ANSWERED, True, seconds)

    def _authenticate(self, name: str, client: Client, password: str, expected: str) -> Check:
        client = client._replace(password=password)
        return self._asked(name, Hook.CLIENT_AUTHENTICATE, client, expected)

    def _authorize(self, name: str, client: Client, action: int, topic: str, expected: str) -> Check:
        return self._asked(name, Hook.CLIENT_AUTHORIZE, client, expected, type=action, topic=topic)

    def _asked(self, name: str, hook: Hook, client: Client, expected: str, **values: Any) -> Check:
        reply, seconds = self._call(hook, client, **values)
        got = reply if isinstance(reply, str) else _SAID.get(reply, f"no decision: 0x{reply.hex()}")
        return Check(name, expected, got, got == expected, seconds)

    def _call(self, hook: Hook, client: Client | None, **values: Any) -> tuple[bytes | str, float]:
        """The reply, or a failure in words, and how many seconds it took."""
        method, request = self._node.request(hook, client, **values)
        rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method.path)
        began = time.perf_counter()
        try:
            reply = rpc(request, timeout=REQUEST_SECONDS, metadata=headers_of(method))
        except grpc.RpcError as error:
            return _status(error), time.perf_counter() - began
        return reply, time.perf_counter() - began


def version_named(name: str) -> Version:
    """``v1``, ``v2`` or ``v3``; raises KeyError for another."""
    return {version.name: version for version in VERSIONS}[name]


def table(checks: list[Check]) -> str:
    """The checks for a terminal."""
    width = max(len(check.name) for check in checks)
    expected = max(len(check.expected) for check in checks)
    lines = [f"    {'check':<{width}}  {'expected':<{expected}}  {'ms':>7}  got"]
    for check in checks:
        mark = {True: "✓", False: "✗", None: "-"}[check.passed]
        took = "" if check.seconds is None else f"{check.seconds * 1000:.1f}"
        lines.append(f"  {mark} {check.name:<{width}}  {check.expected:<{expected}}  {took:>7}  {check.got}")
    return "\n".join(lines)


def _left_out(name: str, expected: str, why: str) -> Check:
    return Check(name, expected, f"skipped: {why}", None)


def _status(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}"
