"""The demo from beginning to end: endpoint, broker, devices, and everything stopped in order."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import get_user_model

from exhookadmin.exhook.demo.behaviour import living
from exhookadmin.exhook.demo.broker import PortTaken, running_broker
from exhookadmin.exhook.demo.endpoint import running_endpoint
from exhookadmin.exhook.demo.fleet import DEVICES, GROUPS, POLICIES, make_fleet

MQTT_PORT = 1883
TICK_SECONDS = 0.2

Say = Callable[[str], None]


class WebTaken(Exception):
    """The address for the web interface is in use."""


@dataclass(frozen=True)
class Wishes:
    """``target`` is an endpoint that runs already, else one is started, with the web interface at
    ``web`` unless that is empty. Without ``mqtt_port`` MQTT's own is used, or a free one.
    ``seconds`` of None is until somebody stops it; ``told_to_stop`` says whether somebody did."""

    target: str = ""
    web: str = ""
    mqtt_port: int | None = None
    seconds: float | None = None
    told_to_stop: Callable[[], bool] = lambda: False


def run(wishes: Wishes, say: Say) -> None:
    """Returns after ``seconds``; KeyboardInterrupt stops it early, as cleanly.

    Raises NameTaken, WebTaken, PortTaken, EndpointFailed or EndpointSilent when it cannot start.
    """
    say_in_turn = _one_at_a_time(say)
    with ExitStack() as running:
        if wishes.web and not wishes.target:
            _require_free(wishes.web)
        fleet = make_fleet()
        say(
            f"In the database: {len(DEVICES)} devices, {len(GROUPS)} groups and {len(POLICIES)} policies "
            f"whose names begin with demo-. “manage.py demo --clean” removes them."
        )
        target = wishes.target or running.enter_context(_own_endpoint(wishes.web, say))
        port = running.enter_context(_broker(target, wishes.mqtt_port, say_in_turn))
        say(f"MQTT broker: 127.0.0.1:{port}. It asks the endpoint at {target}, as EMQX 5.10 would.")
        if not get_user_model().objects.filter(is_superuser=True).exists():
            say("Nobody can sign in yet. In another terminal: manage.py createsuperuser")
        say("Stop with Ctrl-C." if wishes.seconds is None else f"It stops after {wishes.seconds:g} s.")
        say("")

        def tell(device: str, what: str) -> None:
            say_in_turn(f"{time.strftime('%H:%M:%S')}  {device:<15} {what}")

        with living(fleet, port, tell) as go_on:
            # From when they are all there, which on a busy machine takes a while.
            until = float("inf") if wishes.seconds is None else time.monotonic() + wishes.seconds
            while time.monotonic() < until and not wishes.told_to_stop():
                go_on()
                time.sleep(TICK_SECONDS)
    say("Stopped. The devices and what happened stay in the database.")


@contextmanager
def _own_endpoint(web: str, say: Say) -> Iterator[str]:
    log = settings.VAR_DIR / "demo-endpoint.log"
    arguments = ["--web", web] if web else []
    # The home page asks there; where something else listens already, the page is about that.
    if web and _is_free(settings.EXHOOK_METRICS):
        arguments += ["--metrics", settings.EXHOOK_METRICS]
    with running_endpoint(log, arguments) as endpoint:
        say(f"Endpoint: {endpoint.address}, started for this demo. Its log: {log}")
        if web:
            say(f"Watch it at http://{web}/admin/ (devices, events, sessions).")
        yield endpoint.address


@contextmanager
def _broker(target: str, port: int | None, say: Say) -> Iterator[int]:
    with ExitStack() as running:

        def start(port: int) -> int:
            return running.enter_context(
                running_broker(target, port, failed=lambda what: say(f"The endpoint did not answer {what}"))
            )

        try:
            bound = start(MQTT_PORT if port is None else port)
        except PortTaken:
            if port is not None:
                raise
            bound = start(0)
        yield bound


def _require_free(web: str) -> None:
    if not _is_free(web):
        raise WebTaken(web)


def _is_free(address: str) -> bool:
    """Whether HOST:PORT can be listened on; what is no such address cannot."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError):
            return False
    return True


def _one_at_a_time(say: Say) -> Say:
    """The broker's thread has something to say too."""
    lock = threading.Lock()

    def say_alone(text: str) -> None:
        with lock:
            say(text)

    return say_alone
