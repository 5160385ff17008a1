"""From protobuf messages to our own values. Field names are the same in every version."""

from typing import Any

from accounts.core.client import Client

_MAPPED = "::ffff:"


def client_of(info: Any) -> Client:
    """The client in a ``ClientInfo``. The password is there in authenticate only."""
    # In the order of the fields, because this runs for every call and names cost time.
    return Client(
        info.clientid,
        info.username,
        info.password,
        _address(info.peerhost),
        getattr(info, "peerport", 0),
        info.sockport,
        info.protocol,
        info.mountpoint,
        info.cn,
        info.dn,
        info.node,
    )


def connecting_client_of(info: Any, assigned_client_id: str = "") -> Client:
    """The client in a ``ConnInfo`` (connect, connack), where one that sent no client id has none."""
    return Client(
        client_id=info.clientid or assigned_client_id,
        username=info.username,
        address=_address(info.peerhost),
        port=getattr(info, "peerport", 0),
        listener_port=info.sockport,
        protocol=f"{info.proto_name} {info.proto_ver}".strip().lower(),
        node=info.node,
    )


def sending_client_of(message: Any) -> Client:
    """The client that sent a ``Message``, as far as its headers tell."""
    headers = message.headers
    return Client(
        client_id=getattr(message, "from"),
        username=headers.get("username", ""),
        address=_address(headers.get("peerhost", "")),
        protocol=headers.get("protocol", ""),
        node=message.node,
    )


def names_its_sender(message: Any) -> bool:
    """True when a ``Message`` says all that its sender's device is found by.

    EMQX 4.3 sends no headers, nor has a message from a rule or an API any. What is in
    ``from`` is then not to be taken for the name of a device: the sender may have had a username.
    """
    return "username" in message.headers or "protocol" in message.headers


def client_in(message: Any) -> Client:
    """Whom a request is about: its ``ClientInfo``; connect and connack carry a ``ConnInfo``; what
    has neither is about the sender of a message."""
    if hasattr(message, "clientinfo"):
        return client_of(message.clientinfo)
    if hasattr(message, "conninfo"):
        return connecting_client_of(message.conninfo, assigned_client_id(message))
    return sending_client_of(message.message)


def assigned_client_id(message: Any) -> str:
    """The client id the broker chose (MQTT 5, 3.2.2.3.7), from a CONNACK's properties."""
    for item in message.props:
        if item.name == "Assigned-Client-Identifier":
            return str(item.value)
    return ""


def _address(text: str) -> str:
    # A dual-stack listener reports IPv4 peers as ::ffff:192.0.2.1; they are the same address.
    if text.startswith(_MAPPED) and "." in text:
        return text[len(_MAPPED) :]
    return text
