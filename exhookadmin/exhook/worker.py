"""One endpoint process: from settings to a listening server, and back again in order.

``python -m exhookadmin.exhook.worker HOST PORT`` is what the supervisor spawns. It writes
``ready PORT`` on standard output once it listens.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import django
import uvloop
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection

from exhookadmin.exhook.lifetime import (
    EXIT_DATABASE_AWAY,
    EXIT_PORT_TAKEN,
    EXIT_SETTINGS,
    end_with_parent,
)
from exhookadmin.logs import log_the_uncaught

if TYPE_CHECKING:
    from exhookadmin.exhook.front import Front
    from exhookadmin.exhook.metrics_report import Reporter
    from exhookadmin.exhook.tls import ServerTls

logger = logging.getLogger("exhookadmin.exhook.worker")

GRACE_SECONDS = 5.0


def main(host: str, port: int) -> int:
    """Serves until SIGTERM or SIGINT. Answers the exit status."""
    # gRPC's own lines on standard error are no JSON; GRPC_VERBOSITY=debug brings them back.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Until the certificates are about to be read, there is nothing to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    django.setup()
    log_the_uncaught()
    # Imported only now: gRPC starts threads, and the models need the set-up.
    from exhookadmin.exhook.tls import TlsProblem
    from exhookadmin.exhook.transport import PortTaken

    try:
        _run(host, port)
    except PortTaken:
        return EXIT_PORT_TAKEN
    except Error as error:
        logger.error("worker cannot start: the database is away", extra={"error": str(error).strip()})
        return EXIT_DATABASE_AWAY
    except (TlsProblem, ImproperlyConfigured) as problem:
        logger.error("worker cannot start", extra={"problem": str(problem)})
        return EXIT_SETTINGS
    return 0


def _run(host: str, port: int) -> None:
    from audit.recorder import Recorder
    from exhookadmin.exhook.feed import Feed
    from exhookadmin.exhook.front import Front
    from exhookadmin.exhook.metrics_report import Reporter, Sources
    from exhookadmin.exhook.service import new_provider
    from exhookadmin.exhook.sightings import SightingsWriter
    from exhookadmin.exhook.tls import ServerTls, files_from_settings

    recorder = Recorder.from_settings()
    provider = new_provider(recorder.record)
    sightings = SightingsWriter(provider.sightings, recorder.record)
    # Before it listens: EMQX's devices must never meet a provider without policies.
    try:
        provider.directory.load_policies()
        sightings.begin()
    except BaseException:
        recorder.close()
        raise
    connection.close()
    feed = Feed(provider.directory)
    front = Front(provider)
    files = files_from_settings()
    tls = ServerTls(files) if files else None
    reporter = Reporter(Sources(front, recorder, feed, tls))
    # What is there by now stays; looking through it again and again takes a sixth of the audit writer's time.
    gc.collect()
    gc.freeze()
    recorder.start()
    sightings.start()
    feed.start()
    try:
        uvloop.run(_serve(front, tls, reporter, host, port))
    finally:
        front.close()
        sightings.close()
        feed.close()
        left = recorder.close()
        reporter.write_last()
        logger.info(
            "worker stopped",
            extra={
                "facts_written": recorder.written,
                "facts_left": left,
                "facts_dropped": sum(recorder.dropped.values()),
            },
        )


async def _serve(front: "Front", tls: "ServerTls | None", reporter: "Reporter", host: str, port: int) -> None:
    from exhookadmin.exhook.transport import new_transport

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    if tls is not None:
        loop.add_signal_handler(signal.SIGHUP, loop.run_in_executor, None, tls.reload)
    started = time.monotonic()
    transport = new_transport(front, tls)
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
    reporter.start(transport.mirror)
    await stopping.wait()
    logger.info("worker drains", extra={"uptime_seconds": round(time.monotonic() - started, 1)})
    await transport.stop(GRACE_SECONDS)
    await asyncio.to_thread(reporter.stop)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
