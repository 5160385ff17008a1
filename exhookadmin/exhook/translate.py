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


def assigned_client_id(properties: Any) -> str:
    """The client id the broker chose (MQTT 5, 3.2.2.3.7), from a CONNACK's properties."""
    for item in properties:
        if item.name == "Assigned-Client-Identifier":
            return str(item.value)
    return ""


def _address(text: str) -> str:
    # A dual-stack listener reports IPv4 peers as ::ffff:192.0.2.1; they are the same address.
    if text.startswith(_MAPPED) and "." in text:
        return text[len(_MAPPED) :]
    return text
