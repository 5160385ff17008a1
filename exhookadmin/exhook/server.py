"""One endpoint process: from settings to a listening server, and back again in order."""

import asyncio
import logging
import signal
import time

import uvloop
from django.conf import settings

from audit.recorder import Recorder
from exhookadmin.exhook.feed import Feed
from exhookadmin.exhook.front import Front
from exhookadmin.exhook.grpcio_transport import GrpcioTransport
from exhookadmin.exhook.service import new_provider

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0


def run(host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT. Raises PortTaken, and django.db.Error when policies
    cannot be loaded: EMQX admits everybody to a provider that is not ready."""
    recorder = Recorder(settings.EXHOOK_FACT_QUEUE)
    provider = new_provider(recorder.record)
    provider.directory.load_policies()
    feed = Feed(provider.directory)
    recorder.start()
    feed.start()
    front = Front(provider)
    try:
        uvloop.run(_serve(front, host, port))
    finally:
        front.close()
        feed.close()
        left = recorder.close()
        logger.info(
            "endpoint stopped",
            extra={"facts_written": recorder.written, "facts_left": left, "facts_dropped": sum(recorder.dropped.values())},
        )


async def _serve(front: Front, host: str, port: int) -> None:
    started = time.monotonic()
    transport = GrpcioTransport(front)
    bound = await transport.start(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    logger.info(
        "endpoint listens",
        extra={
            "host": host,
            "port": bound,
            "policies": len(front.provider.directory.book.compiled),
            "hooks": settings.EXHOOK_HOOKS,
        },
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    await stopping.wait()
    logger.info("endpoint drains", extra={"uptime_seconds": round(time.monotonic() - started, 1)})
    await transport.stop(GRACE_SECONDS)
