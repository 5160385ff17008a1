"""EMQX's side of the protocol: its channel, its headers and its requests, in every version's spelling.

For the tools that play the broker (the probe, the replay, the demo). The way back, from
requests to our own values, is ``translate``.
"""

import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from accounts.core.client import Client
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.versions import VERSIONS, Method, Version

REQUEST_SECONDS = 5.0
"""EMQX's own request_timeout, unless its operator changed it."""

USER_AGENT = "grpc-erlang/0.1.0"
# 4 MB, as the endpoint takes them; grpc would refuse to send more than it receives by default.
_MESSAGE_BYTES = 4 * 1024 * 1024

METHODS: Mapping[str, Method] = {
    method.path: method for version in VERSIONS for method in version.methods.values()
}
"""Every RPC of every version, by its path."""

Headers = tuple[tuple[str, str], ...]

# A release that speaks each version, for the requests that name one.
_RELEASES = {"v1": "4.4.19", "v2": "5.8.8", "v3": "5.10.1"}


class Unreachable(Exception):
    """Nobody answers at the address; the text says what to look at."""


@dataclass(frozen=True)
class Target:
    """Where an endpoint listens and how to reach it. Paths name PEM files.

    ``cert`` and ``key`` are for an endpoint that asks for a client certificate; ``server_name``
    is the name in the endpoint's certificate where that is not the host of ``address``.
    """

    address: str
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def options(self) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [
            ("grpc.primary_user_agent", USER_AGENT),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            # A proxy of the environment is for the web, not for an endpoint next door.
            ("grpc.enable_http_proxy", 0),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return options

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError, naming the file, when one cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes() if self.ca else None,
            private_key=self.key.read_bytes() if self.key else None,
            certificate_chain=self.cert.read_bytes() if self.cert else None,
        )


def open_channel(target: Target) -> grpc.Channel:
    """A channel; connecting begins with the first call. Raises OSError for an unreadable PEM file."""
    if target.tls:
        return grpc.secure_channel(target.address, target.credentials(), target.options())
    return grpc.insecure_channel(target.address, target.options())


def headers_of(method: Method) -> Headers:
    """The headers that EMQX sends with a call, as far as grpc leaves them to its user."""
    return (("grpc-encoding", "identity"), ("grpc-message-type", _request_of(method).full_name))


def explain_unreachable(target: Target, error: grpc.RpcError) -> Unreachable:
    """Why the first call found nobody, in words, with what to try."""
    details = str(error.details())
    if "refused" in details.lower():
        return Unreachable(
            f"Nothing listens at {target.address}. Is the endpoint running (manage.py run_exhook), "
            f"and is this its host and port?"
        )
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unreachable(
            f"{target.address} did not answer within {REQUEST_SECONDS:g} s. Is a firewall in between, "
            f"or does another program listen there?"
        )
    hint = (
        "Is --ca the authority that signed its certificate, and --server-name the name in it? "
        "Does the endpoint use TLS at all?"
        if target.tls
        else "Does it expect TLS? Then add --tls. Or does another program listen there?"
    )
    return Unreachable(f"{target.address} is no endpoint that can be spoken to: {details}. {hint}")


def is_unreachable(error: grpc.RpcError) -> bool:
    """True for what a call ends with when there is nobody to answer it."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Node:
    """A broker node: who it says it is, and what it would send."""

    version: Version
    name: str = field(default_factory=lambda: f"emqx@{socket.gethostname()}")
    cluster: str = "emqxcl"
    sysdescr: str = "EMQX"
    started: float = field(default_factory=time.time)

    def method(self, hook: Hook) -> Method:
        """The RPC that this version calls at a hook."""
        return next(method for method in self.version.methods.values() if method.hook == hook)

    def request(self, hook: Hook, client: Client | None = None, **values: Any) -> tuple[Method, bytes]:
        """What EMQX calls at a hook, about a client unless the hook is about the node.

        ``values`` are the request's other fields, in protobuf's names; what a version does not have
        is left out. Raises TypeError for a value that does not fit its field.
        """
        method = self.method(hook)
        message = getattr(self.version.pb2, _request_of(method).name)
        if client is not None:
            values |= {"clientinfo": self._client_info(hook, client), "conninfo": self._connection(client)}
        if hook == Hook.PROVIDER_LOADED:
            values["broker"] = self._broker()
        values["meta"] = {
            "node": self.name,
            "version": _RELEASES[self.version.name],
            "sysdescr": self.sysdescr,
            "cluster_name": self.cluster,
        }
        request: bytes = message(**_known(message, values)).SerializeToString()
        return method, request

    def filters(self, granted: Iterable[tuple[str, int]]) -> list[Any]:
        """Topic filters with their QoS, for ``client.subscribe`` and ``client.unsubscribe``."""
        message = self.version.pb2.TopicFilter
        subopts = {"qos": 0}
        return [
            message(**_known(message, {"name": name, "qos": qos, "subopts": subopts | {"qos": qos}}))
            for name, qos in granted
        ]

    def message(self, client: Client, topic: str, payload: bytes, qos: int, id: str) -> dict[str, Any]:
        """A message from a client, for the ``message.*`` hooks."""
        return {
            "node": self.name,
            "id": id,
            "qos": qos,
            "from": client.client_id,
            "topic": topic,
            "payload": payload,
            "timestamp": int(time.time() * 1000),
            "headers": {
                "username": client.username,
                "protocol": client.protocol,
                "peerhost": client.address,
            },
        }

    def _client_info(self, hook: Hook, client: Client) -> Any:
        message = self.version.pb2.ClientInfo
        values = {
            "node": self.name,
            "clientid": client.client_id,
            "username": client.username,
            "password": client.password if hook == Hook.CLIENT_AUTHENTICATE else "",
            "peerhost": client.address,
            "sockport": client.listener_port,
            "protocol": client.protocol,
            "mountpoint": client.mountpoint,
            "anonymous": True,
            "cn": client.cn,
            "dn": client.dn,
            "peerport": client.port,
        }
        return message(**_known(message, values))

    def _connection(self, client: Client) -> Any:
        message = self.version.pb2.ConnInfo
        values = {
            "node": self.name,
            "clientid": client.client_id,
            "username": client.username,
            "peerhost": client.address,
            "sockport": client.listener_port,
            "proto_name": "MQTT",
            "proto_ver": "4",
            "keepalive": 60,
            "peerport": client.port,
        }
        return message(**_known(message, values))

    def _broker(self) -> Any:
        seconds = time.time() - self.started
        # 4.x tells its uptime in words, later versions in milliseconds.
        uptime: str | int = f"{int(seconds)} seconds" if self.version.name == "v1" else int(seconds * 1000)
        return self.version.pb2.BrokerInfo(
            version=_RELEASES[self.version.name],
            sysdescr=self.sysdescr,
            uptime=uptime,
            datetime=datetime.now(UTC).isoformat(),
        )


def _request_of(method: Method) -> Any:
    service = method.version.pb2.DESCRIPTOR.services_by_name["HookProvider"]
    return service.methods_by_name[method.name].input_type


def _known(message: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = message.DESCRIPTOR.fields_by_name
    return {name: value for name, value in values.items() if name in fields}
