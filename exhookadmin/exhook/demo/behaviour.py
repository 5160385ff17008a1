"""What the demo's devices do all day, and how they tell of it."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from exhookadmin.exhook.demo.devices import ACCEPTED, REFUSED, MqttDevice, MqttSilent
from exhookadmin.exhook.demo.fleet import (
    CURIOUS,
    FORGETFUL,
    GATEWAY,
    MEDDLER,
    PLAN,
    RETIRED,
    SENSORS,
    Fleet,
    temperature_of,
)

Tell = Callable[[str, str], None]
"""Takes a device's name and what it does."""

WATCHED = temperature_of("+")


@dataclass
class Habit:
    """Something done again and again. ``due`` is in monotonic seconds."""

    act: Callable[[], None]
    every: float
    due: float


@contextmanager
def living(fleet: Fleet, port: int, tell: Tell) -> Iterator[Callable[[], None]]:
    """Connects the devices. Yields what has to be called a few times a second to keep them busy."""
    with ExitStack() as leaving:
        devices = {}
        for name, token in fleet.tokens.items():
            password = "not-my-password" if name == FORGETFUL else token
            devices[name] = MqttDevice(name, port, username=name, password=password)
            leaving.callback(devices[name].disconnect)
        habits = _habits(devices, tell)

        def go_on() -> None:
            for habit in habits:
                if time.monotonic() >= habit.due:
                    _carefully(habit.act, tell)
                    habit.due = time.monotonic() + habit.every
            gateway = devices[GATEWAY]
            while not gateway.received.empty():
                topic, payload = gateway.received.get()
                tell(GATEWAY, f"receives {payload.decode()} °C on {topic}")

        for name in (GATEWAY, *SENSORS, MEDDLER, CURIOUS):
            _connect(devices[name], tell)
        _subscribe(devices[GATEWAY], WATCHED, tell)
        try:
            yield go_on
        finally:
            tell("all", "devices say goodbye")


def _habits(devices: dict[str, MqttDevice], tell: Tell) -> list[Habit]:
    now = time.monotonic()
    first, second = (devices[name] for name in SENSORS)
    return [
        Habit(lambda: _measure(first, tell), every=2.0, due=now),
        Habit(lambda: _measure(second, tell), every=3.0, due=now),
        Habit(lambda: _connect(devices[FORGETFUL], tell), every=9.0, due=now + 0.5),
        Habit(lambda: _connect(devices[RETIRED], tell), every=14.0, due=now + 1.0),
        Habit(lambda: _meddle(devices[MEDDLER], tell), every=6.0, due=now + 1.5),
        Habit(lambda: _subscribe(devices[CURIOUS], "#", tell), every=11.0, due=now + 2.0),
        Habit(lambda: _lose_or_regain_power(second, tell), every=10.0, due=now + 10.0),
    ]


def _carefully(act: Callable[[], None], tell: Tell) -> None:
    try:
        act()
    except (MqttSilent, OSError) as problem:
        tell("broker", f"does not answer: {problem}")


def _connect(device: MqttDevice, tell: Tell) -> None:
    code = device.connect()
    outcome = "accepted" if code == ACCEPTED else f"refused (CONNACK return code {code})"
    tell(device.client_id, f"connects: {outcome}")


def _subscribe(device: MqttDevice, topic_filter: str, tell: Tell) -> None:
    code = device.subscribe(topic_filter)
    outcome = "refused (SUBACK 0x80)" if code == REFUSED else "granted"
    tell(device.client_id, f"subscribes to {topic_filter}: {outcome}")


def _measure(device: MqttDevice, tell: Tell) -> None:
    if not device.online:
        return
    temperature = f"{random.gauss(21, 1.5):.1f}"
    device.publish(temperature_of(device.client_id), temperature)
    tell(device.client_id, f"publishes {temperature} °C")


def _meddle(device: MqttDevice, tell: Tell) -> None:
    device.publish(PLAN, "I was here")
    tell(device.client_id, f"publishes to {PLAN}: refused, which MQTT 3.1.1 tells nobody; the audit log does")


def _lose_or_regain_power(device: MqttDevice, tell: Tell) -> None:
    if device.online:
        device.vanish()
        tell(device.client_id, "loses its power")
    else:
        _connect(device, tell)
