"""From messages to facts: what each hook tells besides whose doing it was, in the audit log's terms."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from accounts.core.client import Client
from accounts.core.principal import Principal
from audit.fact import Fact, Kind
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.uptime import uptime_seconds
from exhookadmin.exhook.versions import Method

KIND_OF: Mapping[Hook, Kind] = {hook: Kind(hook.value) for hook in Hook}


class Told(NamedTuple):
    """What one fact says: the topic or filter as the broker sent it, and the rest in words."""

    topic: str = ""
    detail: str = ""
    allowed: bool | None = None


THAT_IT_HAPPENED = (Told(),)


def client_fact(
    kind: Kind, message: Any, client: Client, principal: Principal | None, told: Told, **decided: Any
) -> Fact:
    """A fact about a client. ``decided`` holds what a decision adds, in the fact's names."""
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
        topic=told.topic,
        detail=told.detail,
        **{"allowed": told.allowed, **decided},
    )


def node_fact(kind: Kind, message: Any, detail: str) -> Fact:
    """A fact about a broker's node."""
    return Fact(kind, node=message.meta.node, cluster=message.meta.cluster_name, detail=detail)


def loaded_fact(method: Method, message: Any, now: float, heard_before: float | None) -> Fact:
    """A node attaches, and says of itself what its sessions depend on."""
    broker, uptime = message.broker, uptime_seconds(message.broker.uptime)
    return Fact(
        Kind.PROVIDER_LOADED,
        time=now,
        node=message.meta.node,
        cluster=message.meta.cluster_name,
        detail=f"{broker.sysdescr} {broker.version}, protocol {method.version.name}",
        node_version=broker.version,
        node_protocol=method.version.name,
        node_started=None if uptime is None else now - uptime,
        node_heard=heard_before,
    )


def _that_it_happened(_: Any) -> Sequence[Told]:
    return THAT_IT_HAPPENED


def _asked_to_connect(message: Any) -> Sequence[Told]:
    # None of the properties: Authentication-Data is a secret (MQTT 5, 3.1.2.11.10).
    return (Told(detail=f"keepalive {message.conninfo.keepalive} s"),)


def _refused(message: Any) -> Sequence[Told]:
    """A connection that was accepted is told by ``client.connected``."""
    if message.result_code == "success":
        return ()
    return (Told(detail=message.result_code, allowed=False),)


def _reason(message: Any) -> Sequence[Told]:
    return (Told(detail=message.reason),)


def _filters_asked_for(message: Any) -> Sequence[Told]:
    """One for each filter. EMQX leaves out those that were denied, so that none may be left."""
    return [Told(item.name, _options_asked_for(item)) for item in message.topic_filters] or THAT_IT_HAPPENED


def _filters_given_up(message: Any) -> Sequence[Told]:
    """One for each filter; EMQX up to 5.3 names none."""
    return [Told(item.name) for item in message.topic_filters] or THAT_IT_HAPPENED


def _subscribed(message: Any) -> Sequence[Told]:
    options = message.subopts
    return (Told(_shared(message.topic, getattr(options, "share", "")), _options(options)),)


def _unsubscribed(message: Any) -> Sequence[Told]:
    return (Told(message.topic),)


def _published(message: Any) -> Sequence[Told]:
    return (Told(message.message.topic, _metadata(message.message)),)


def _received(message: Any) -> Sequence[Told]:
    """The client is the receiver: who sent it is a detail."""
    sender = getattr(message.message, "from")
    return (Told(message.message.topic, f"{_metadata(message.message)}, from {sender}"),)


def _dropped(message: Any) -> Sequence[Told]:
    return (Told(message.message.topic, f"{message.reason}: {_metadata(message.message)}"),)


TOLD: Mapping[Hook, Callable[[Any], Sequence[Told]]] = {
    Hook.CLIENT_CONNECT: _asked_to_connect,
    Hook.CLIENT_CONNACK: _refused,
    Hook.CLIENT_CONNECTED: _that_it_happened,
    Hook.CLIENT_DISCONNECTED: _reason,
    Hook.CLIENT_SUBSCRIBE: _filters_asked_for,
    Hook.CLIENT_UNSUBSCRIBE: _filters_given_up,
    Hook.SESSION_CREATED: _that_it_happened,
    Hook.SESSION_SUBSCRIBED: _subscribed,
    Hook.SESSION_UNSUBSCRIBED: _unsubscribed,
    Hook.SESSION_RESUMED: _that_it_happened,
    Hook.SESSION_DISCARDED: _that_it_happened,
    Hook.SESSION_TAKENOVER: _that_it_happened,
    Hook.SESSION_TERMINATED: _reason,
    Hook.MESSAGE_PUBLISH: _published,
    Hook.MESSAGE_DELIVERED: _received,
    Hook.MESSAGE_ACKED: _received,
    Hook.MESSAGE_DROPPED: _dropped,
}
"""What is to be recorded of each hook that asks for no decision, one fact each."""


def _shared(topic: str, group: str) -> str:
    """A shared subscription as the device wrote it, and as EMQX sends it from 5.4 on."""
    if not group or topic.startswith(("$share/", "$queue/")):
        return topic
    return f"$queue/{topic}" if group == "$queue" else f"$share/{group}/{topic}"


def _options_asked_for(topic_filter: Any) -> str:
    # EMQX moved them with 5.4, within the same version of the protocol.
    if hasattr(topic_filter, "subopts") and topic_filter.HasField("subopts"):
        return _options(topic_filter.subopts)
    return f"qos {getattr(topic_filter, 'qos', 0)}"


def _options(options: Any) -> str:
    """Subscription options (MQTT 5, 3.8.3.1); those that are off are not worth a word."""
    text = f"qos {options.qos}"
    if options.nl:
        text += ", no local"
    if options.rap:
        text += ", retain as published"
    if options.rh:
        text += f", retain handling {options.rh}"
    return text


def _metadata(message: Any) -> str:
    """All that is ever told of a message: its payload by length only."""
    return (
        f"qos {message.qos}, {len(message.payload)} bytes, id {message.id}, sent {_moment(message.timestamp)}"
    )


def _moment(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"  # No date that a calendar has.
