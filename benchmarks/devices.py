"""Who asks what: the devices of the benchmarks, their secrets, and their calls as EMQX would send them."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from accounts.core.client import Client
from accounts.core.tokens import PREFIX
from exhookadmin.exhook.emqx import Node
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.versions import VERSIONS

V3 = VERSIONS[-1]
AUTHENTICATE = f"/{V3.service}/OnClientAuthenticate"
AUTHORIZE = f"/{V3.service}/OnClientAuthorize"
NODE = Node(V3, name="emqx@10.0.0.5", started=0.0)

PASSWORD = "correct horse battery staple"
SITE = "berlin"


@dataclass(frozen=True)
class Family:
    """Devices that differ in their number only. ``secret`` is “password” or “token”."""

    name: str
    secret: str
    group: str

    def device(self, number: int) -> str:
        """The username, which is the client id as well."""
        return f"{self.name}-{number:07d}"


PUMPS = Family("pump", "password", "fleet")
"""The devices that are connected and go on asking."""
METERS = Family("meter", "token", "fleet")
"""Devices that connect for the first time."""
VALVES = Family("valve", "password", "fleet")
"""Devices that connect in a storm."""
FEW = Family("few", "password", "ten rules")
MANY = Family("many", "password", "ten thousand rules")
SENSORS = Family("sensor", "password", "fleet")
"""The multitude."""

RULES = {FEW: 10, MANY: 10_000}
"""How many rules the policies of these have; the fleet's are few and hold placeholders."""

FAMILIES = {family.name: family for family in (PUMPS, METERS, VALVES, FEW, MANY, SENSORS)}


def token_of(device: str) -> str:
    """The device's token: known from its name, so that nobody has to keep a list."""
    return PREFIX + hashlib.sha256(device.encode()).hexdigest()[:32]


def secret_of(family: Family, device: str) -> str:
    """What the device logs in with."""
    return token_of(device) if family.secret == "token" else PASSWORD


def client(device: str, password: str = "") -> Client:
    """The connection of a device; address and port are always the same for the same device."""
    number = int(device.rpartition("-")[2])
    return Client(
        client_id=device,
        username=device,
        password=password,
        address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        port=1024 + number % 60_000,
        listener_port=1883,
        protocol="mqtt",
        node=NODE.name,
    )


def fleet_topic(device: str, number: int) -> str:
    """A topic that the fleet's policy lets the device publish to."""
    return f"site/{SITE}/{device}/measurement-{number}"


def rule_topic(number: int, press: int = 0) -> str:
    """A topic that one rule of the large policies, the one of this number, lets publish to."""
    return f"plant/{number // 100}/line/{number % 100}/press-{press}/state"


def rule_filter(number: int) -> str:
    """The filter of that rule."""
    return f"plant/{number // 100}/line/{number % 100}/+/state"


def authorize(device: str, topic: str) -> bytes:
    """The call that EMQX makes when the device publishes."""
    return NODE.request(Hook.CLIENT_AUTHORIZE, client(device), type=0, topic=topic)[1]


def authenticate(device: str, password: str) -> bytes:
    """The call that EMQX makes when the device connects."""
    return NODE.request(Hook.CLIENT_AUTHENTICATE, client(device, password))[1]


def authorize_json(device: str, topic: str) -> bytes:
    """The same question in the words of EMQX's HTTP authorizer."""
    asked = client(device)
    return _json(
        clientid=asked.client_id,
        username=asked.username,
        peerhost=asked.address,
        action="publish",
        topic=topic,
    )


def authenticate_json(device: str, password: str) -> bytes:
    """The same question in the words of EMQX's HTTP authenticator."""
    asked = client(device)
    return _json(clientid=asked.client_id, username=asked.username, peerhost=asked.address, password=password)


def _json(**values: str) -> bytes:
    return json.dumps(values).encode()


def fleet_questions(devices: int, topics: int, first_topic: int = 0) -> list[bytes]:
    """One authorize call for each device and topic, topic by topic."""
    return [
        authorize(PUMPS.device(number), fleet_topic(PUMPS.device(number), first_topic + topic))
        for topic in range(topics)
        for number in range(devices)
    ]


def logins(family: Family, numbers: Iterator[int]) -> Iterator[bytes]:
    """The authenticate calls of these devices, with the right secret."""
    for number in numbers:
        device = family.device(number)
        yield authenticate(device, secret_of(family, device))


class Newcomers:
    """Numbers of devices that have not been asked about yet, for all rounds together."""

    def __init__(self, first: int, limit: int) -> None:
        self._numbers = itertools.count(first)
        self._limit = limit

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        number = next(self._numbers)
        if number >= self._limit:
            # Going round would measure devices that are known by now.
            raise RuntimeError(f"all {self._limit} devices have been asked about: more are needed")
        return number
