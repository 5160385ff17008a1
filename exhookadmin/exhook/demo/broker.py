"""amqtt with the bridge, on a thread with an event loop of its own."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from amqtt.broker import Broker
from amqtt.errors import BrokerError

from exhookadmin.exhook.demo.bridge import EmqxBridge, EndpointSilent

BRIDGE = f"{EmqxBridge.__module__}.{EmqxBridge.__qualname__}"
STOP_SECONDS = 60.0
GOODBYE_SECONDS = 10.0
"""So long the broker waits, when it is stopped, for the last clients to be gone."""


class PortTaken(Exception):
    """The broker cannot listen there."""


@contextmanager
def running_broker(
    target: str, port: int = 0, version: str = "v3", failed: Callable[[str], None] | None = None
) -> Iterator[int]:
    """An MQTT 3.1.1 broker on this machine that asks the endpoint at ``target``. Yields its port.

    ``failed`` hears, on another thread, of calls that got no answer. Raises PortTaken, and
    EndpointSilent when the endpoint does not answer the first call.
    """
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.WARNING)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mqtt-broker", daemon=True)
    thread.start()
    try:
        starting = _start(target, port, version, failed)
        broker, bound = asyncio.run_coroutine_threadsafe(starting, loop).result()
        try:
            yield bound
        finally:
            asyncio.run_coroutine_threadsafe(_stop(broker), loop).result(STOP_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)
        loop.close()


async def _start(
    target: str, port: int, version: str, failed: Callable[[str], None] | None
) -> tuple[Broker, int]:
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {BRIDGE: {"target": target, "version": version}},
        }
    )
    bridge = _bridge_of(broker)
    bridge.failed = failed or bridge.failed
    try:
        await broker.start()
    except BrokerError as error:
        await bridge.close()
        raise PortTaken(f"127.0.0.1:{port}") from error
    if not bridge.loaded:
        await broker.shutdown()
        raise EndpointSilent(target)
    # amqtt has no public way to tell which port it got for 0.
    bound: int = broker._servers["default"].instance.sockets[0].getsockname()[1]
    bridge.config.port = bound
    return broker, bound


async def _stop(broker: Broker) -> None:
    # Who has just said goodbye may not have been heard yet, and amqtt would not tell of it any more.
    bridge, patience = _bridge_of(broker), time.monotonic() + GOODBYE_SECONDS
    while bridge.connected and time.monotonic() < patience:
        await asyncio.sleep(0.01)
    await broker.shutdown()


def _bridge_of(broker: Broker) -> EmqxBridge:
    return next(plugin for plugin in broker.plugins_manager.plugins if isinstance(plugin, EmqxBridge))
