"""What a transport is, and which one the settings ask for."""

from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from exhookadmin.exhook.front import Front
from exhookadmin.exhook.preflight import NATIVE_HAS_NO_TLS, NATIVE_IS_MISSING
from exhookadmin.exhook.tls import ServerTls

# Larger than any MQTT packet EMQX accepts by default (1 MB), with room for the rest.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# EMQX does not honour a low limit: it would deny the devices whose calls are refused.
MAX_STREAMS = 1_000_000


class PortTaken(Exception):
    """The address cannot be listened on."""


class Transport(Protocol):
    """Carries calls to the front and replies back. Used within a running event loop."""

    async def start(self, address: str) -> int:
        """Listens. Answers the port, which matters when 0 was asked for. Raises PortTaken."""

    async def mirror(self, ready: bool) -> None:
        """Tells health checks whether calls are welcome; calls that come anyway are answered."""

    async def stop(self, grace: float) -> None:
        """Waits at most so many seconds for the calls under way, then ends."""


def new_transport(front: Front, tls: ServerTls | None = None) -> Transport:
    """The transport that EXHOOK_TRANSPORT names. Raises ImproperlyConfigured."""
    if settings.EXHOOK_TRANSPORT == "grpcio":
        from exhookadmin.exhook.grpcio_transport import GrpcioTransport

        return GrpcioTransport(front, tls)
    if tls is not None:
        raise ImproperlyConfigured(NATIVE_HAS_NO_TLS)
    try:
        from exhookadmin.exhook.native_transport import NativeTransport
    except ImportError:
        raise ImproperlyConfigured(NATIVE_IS_MISSING) from None
    return NativeTransport(front)
