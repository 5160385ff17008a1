"""A bridge from amqtt, a broker written in Python, to an endpoint: it calls what EMQX would, in its order.

    connect → authenticate → session.created → connected → connack[success]
    connect → authenticate → connack[not_authorized]
    authorize for each topic filter → subscribe → session.subscribed for those granted
    authorize → message.publish
    disconnected → session.terminated

``OnProviderLoaded`` comes first, and only the hooks that its answer declares are called. What
amqtt does not tell (takeovers, deliveries, acknowledgements) is not called. A call that fails
denies, like EMQX's ``failed_action = deny``.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from amqtt.contexts import Action, BaseContext
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from accounts.core.client import Client
from exhookadmin.exhook.emqx import REQUEST_SECONDS, Node, Target, headers_of
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW
from exhookadmin.exhook.versions import VERSIONS

CLUSTER = "demo"
SAID_GOODBYE = "exhookadmin.said_goodbye"


class EndpointSilent(Exception):
    """The endpoint did not answer ``OnProviderLoaded``; EMQX would not load such a provider."""


def _ignore(_: str) -> None:
    pass


class EmqxBridge(BaseAuthPlugin, BaseTopicPlugin):
    """amqtt loads it by its dotted name. ``failed`` hears of calls that got no answer."""

    @dataclass
    class Config:
        """``target`` is the endpoint, ``port`` the one that devices connect to."""

        target: str = "127.0.0.1:9000"
        version: str = "v3"
        port: int = 1883

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        version = next(version for version in VERSIONS if version.name == self.config.version)
        self._node = Node(version, name="demo@127.0.0.1", cluster=CLUSTER, sysdescr="amqtt with a bridge")
        self._channel: grpc.aio.Channel | None = None
        self._declared: set[str] = set()
        self._clients: dict[str, Client] = {}
        # Calls about one client come one after the other, as on EMQX.
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.failed: Callable[[str], None] = _ignore

    async def on_broker_pre_start(self) -> None:
        # amqtt swallows what its plugins raise here; start_broker() looks at `loaded` instead.
        self._channel = grpc.aio.insecure_channel(
            self.config.target, options=Target(self.config.target).options()
        )
        reply = await self._call(Hook.PROVIDER_LOADED)
        if reply is not None:
            response = self._node.version.pb2.LoadedResponse.FromString(reply)
            self._declared = {hook.name for hook in response.hooks}

    @property
    def loaded(self) -> bool:
        """The endpoint has said which hooks it wants."""
        return bool(self._declared)

    @property
    def connected(self) -> bool:
        """There is a client of whose end the endpoint has not been told."""
        return bool(self._clients)

    async def close(self) -> None:
        if self._channel is not None:
            await self._call(Hook.PROVIDER_UNLOADED)
            await self._channel.close()

    async def authenticate(self, *, session: Session) -> bool:
        client = self._client_of(session)
        async with self._turns[client.client_id]:
            await self._tell(Hook.CLIENT_CONNECT, client)
            if not await self._decide(Hook.CLIENT_AUTHENTICATE, client):
                await self._tell(Hook.CLIENT_CONNACK, client, result_code="not_authorized")
                return False
            client = self._clients[client.client_id] = client._replace(password="")
            await self._tell(Hook.SESSION_CREATED, client)
            await self._tell(Hook.CLIENT_CONNECTED, client)
            await self._tell(Hook.CLIENT_CONNACK, client, result_code="success")
            return True

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        if action == Action.RECEIVE:
            return True  # EMQX asks when a client subscribes, not again for each delivery.
        client = self._clients.get(session.client_id or "") if session else None
        if client is None or topic is None:
            return False
        async with self._turns[client.client_id]:
            return await self._decide(
                Hook.CLIENT_AUTHORIZE, client, type=int(action == Action.SUBSCRIBE), topic=topic
            )

    async def on_broker_client_subscribed(self, *, client_id: str, topic: str, qos: int) -> None:
        async with self._turns[client_id]:
            if client := self._clients.get(client_id):
                filters = self._node.filters([(topic, qos)])
                await self._tell(Hook.CLIENT_SUBSCRIBE, client, topic_filters=filters)
                await self._tell(Hook.SESSION_SUBSCRIBED, client, topic=topic)

    async def on_broker_client_unsubscribed(self, *, client_id: str, topic: str) -> None:
        async with self._turns[client_id]:
            if client := self._clients.get(client_id):
                filters = self._node.filters([(topic, 0)])
                await self._tell(Hook.CLIENT_UNSUBSCRIBE, client, topic_filters=filters)
                await self._tell(Hook.SESSION_UNSUBSCRIBED, client, topic=topic)

    async def on_broker_message_broadcast(self, *, client_id: str, message: Any) -> None:
        async with self._turns[client_id]:
            if client := self._clients.get(client_id):
                told = self._node.message(
                    client, message.topic, bytes(message.data), message.qos or 0, secrets.token_hex(16)
                )
                await self._tell(Hook.MESSAGE_PUBLISH, None, message=told)

    async def on_mqtt_packet_received(self, *, packet: Any, session: Session | None = None) -> None:
        if session is not None and isinstance(packet, DisconnectPacket):
            session.attributes[SAID_GOODBYE] = True

    async def on_broker_client_disconnected(self, *, client_id: str, client_session: Session) -> None:
        async with self._turns[client_id]:
            client = self._client_of(client_session)._replace(password="")
            reason = "normal" if client_session.attributes.pop(SAID_GOODBYE, False) else "tcp_closed"
            await self._tell(Hook.CLIENT_DISCONNECTED, client, reason=reason)
            await self._tell(Hook.SESSION_TERMINATED, client, reason=reason)
            if self._clients.get(client_id) == client:
                del self._clients[client_id]

    def _client_of(self, session: Session) -> Client:
        return Client(
            client_id=session.client_id or "",
            username=session.username or "",
            password=session.password or "",
            address=session.remote_address or "",
            port=session.remote_port or 0,
            listener_port=self.config.port,
            protocol="mqtt",
            node=self._node.name,
        )

    async def _tell(self, hook: Hook, client: Client | None, **values: Any) -> None:
        if self._node.version.spell(hook) in self._declared:
            await self._call(hook, client, **values)

    async def _decide(self, hook: Hook, client: Client, **values: Any) -> bool:
        """What the endpoint decides; true for a hook that it does not want, as nobody else is asked here."""
        if self._node.version.spell(hook) not in self._declared:
            return True
        return await self._call(hook, client, **values) == ALLOW

    async def _call(self, hook: Hook, client: Client | None = None, **values: Any) -> bytes | None:
        """The reply; None when there is none."""
        assert self._channel is not None
        method, request = self._node.request(hook, client, **values)
        rpc: Any = self._channel.unary_unary(method.path)
        try:
            reply: bytes = await rpc(request, timeout=REQUEST_SECONDS, metadata=headers_of(method))
        except grpc.aio.AioRpcError as error:
            self.failed(f"{method.name}: {error.code().name}")
            return None
        return reply
