"""A client: one connection as the broker describes it in a hook."""

from typing import NamedTuple


class Client(NamedTuple):
    """What EMQX says about a connection. Absent values are empty, as in protobuf.

    ``cn`` is present only after a TLS handshake with a client certificate that the
    broker's listener accepted. ``password`` is present in authenticate only, and in no
    ``repr``. (A tuple because one is made for every call: a frozen dataclass takes thrice
    as long.)
    """

    client_id: str = ""
    username: str = ""
    password: str = ""
    address: str = ""
    port: int = 0
    listener_port: int = 0
    protocol: str = ""
    mountpoint: str = ""
    cn: str = ""
    dn: str = ""
    node: str = ""

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name != "password")
        return f"Client({', '.join(shown)})"
