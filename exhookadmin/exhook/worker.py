"""One endpoint process: from settings to a listening server, and back again in order.

``python -m exhookadmin.exhook.worker HOST PORT`` is what the supervisor spawns. It writes
``ready PORT`` on standard output once it listens.
"""

import asyncio
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

import django
import uvloop
from django.conf import settings
from django.db import Error, connection

from exhookadmin.exhook.lifetime import EXIT_DATABASE_AWAY, EXIT_PORT_TAKEN, end_with_parent

if TYPE_CHECKING:
    from exhookadmin.exhook.front import Front

logger = logging.getLogger("exhookadmin.exhook.worker")

GRACE_SECONDS = 5.0


def main(host: str, port: int) -> int:
    """Serves until SIGTERM or SIGINT. Answers the exit status."""
    django.setup()
    # Imported only now: gRPC starts threads, and the models need the set-up.
    from exhookadmin.exhook.transport import PortTaken

    try:
        _run(host, port)
    except PortTaken:
        return EXIT_PORT_TAKEN
    except Error as error:
        logger.error("worker cannot start: the database is away", extra={"error": str(error).strip()})
        return EXIT_DATABASE_AWAY
    return 0


def _run(host: str, port: int) -> None:
    from audit.recorder import Recorder
    from exhookadmin.exhook.feed import Feed
    from exhookadmin.exhook.front import Front
    from exhookadmin.exhook.service import new_provider

    recorder = Recorder(settings.EXHOOK_FACT_QUEUE)
    provider = new_provider(recorder.record)
    # Before it listens: EMQX's devices must never meet a provider without policies.
    provider.directory.load_policies()
    connection.close()
    feed = Feed(provider.directory)
    front = Front(provider)
    recorder.start()
    feed.start()
    try:
        uvloop.run(_serve(front, host, port))
    finally:
        front.close()
        feed.close()
        left = recorder.close()
        logger.info(
            "worker stopped",
            extra={
                "facts_written": recorder.written,
                "facts_left": left,
                "facts_dropped": sum(recorder.dropped.values()),
            },
        )


async def _serve(front: "Front", host: str, port: int) -> None:
    from exhookadmin.exhook.transport import new_transport

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    started = time.monotonic()
    transport = new_transport(front)
    bound = await transport.start(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    logger.info(
        "worker listens",
        extra={
            "port": bound,
            "transport": settings.EXHOOK_TRANSPORT,
            "policies": len(front.provider.directory.book.compiled),
        },
    )
    print(f"ready {bound}", flush=True)
    await stopping.wait()
    logger.info("worker drains", extra={"uptime_seconds": round(time.monotonic() - started, 1)})
    await transport.stop(GRACE_SECONDS)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
