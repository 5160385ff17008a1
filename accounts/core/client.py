"""A client: one connection as the broker describes it in a hook."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Client:
    """What EMQX says about a connection. Absent values are empty, as in protobuf.

    ``cn`` is present only after a TLS handshake with a client certificate that the
    broker's listener accepted. ``password`` is present in authenticate only.
    """

    client_id: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    address: str = ""
    port: int = 0
    listener_port: int = 0
    protocol: str = ""
    mountpoint: str = ""
    cn: str = ""
    dn: str = ""
    node: str = ""
