"""What recording a hook costs: the same calls to an endpoint that records them, and to one that does not."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

from benchmarks import databases, http2_client
from benchmarks.bench import Bench
from benchmarks.checks import ALLOW
from benchmarks.devices import AUTHORIZE, NODE, PUMPS, authorize, client, fleet_topic
from benchmarks.figures import Figure, alternate, ratio
from benchmarks.load import Sample
from benchmarks.processes import Child
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import EMPTY_SUCCESS, IGNORE

# One of each shape: the others of its kind tell as much or less.
HOOKS = (Hook.SESSION_CREATED, Hook.CLIENT_SUBSCRIBE, Hook.SESSION_SUBSCRIBED, Hook.MESSAGE_PUBLISH)
RECORDING = {
    "EXHOOK_HOOKS": ",".join(HOOKS),
    "EXHOOK_MESSAGE_TOPICS": "#",
    "EXHOOK_SAMPLE_AUTHORIZE": "1",
}
NEW, REPEATED = "client.authorize, new questions", "client.authorize, one question, repeated"
TOPIC = "site/berlin/line/4/press/alarm"
PAYLOAD = b"x" * 100
# More than a worker remembers, so that each is decided.
NEW_QUESTIONS = 60_000


def measure(bench: Bench) -> list[Figure]:
    """Facts are written to SQLite by the same worker meanwhile: what that costs is in it."""
    database = databases.sqlite(bench.directory, "hooks", {PUMPS.name: 1})
    figures = []
    for transport in bench.plan.transports:
        with bench.servers() as servers:
            recording = servers.endpoint(database, transport, None, **RECORDING)
            answering = servers.endpoint(database, transport)
            runs: dict[str, Callable[[], Sample]] = {}
            for name, path, expected, bodies in _calls():
                for how, server in (("recorded", recording), ("answered", answering)):
                    # Once before, so that the device is in memory.
                    _load(server, path, iter([next(bodies)]), expected, None)
                    seconds = bench.plan.seconds
                    runs[f"{name}, {how}"] = partial(_load, server, path, bodies, expected, seconds)
            samples = alternate(bench.plan.rounds, runs)
        for name, *_ in _calls():
            text = f"{name}, {transport}: recorded ÷ answered only"
            figures.append(ratio(text, None, samples[f"{name}, recorded"], samples[f"{name}, answered"]))
    return figures


def _calls() -> Iterator[tuple[str, str, bytes, Iterator[bytes]]]:
    """Name, path, the expected reply, and the calls of one pump."""
    for hook in HOOKS:
        path, body = _request(hook)
        yield str(hook), path, IGNORE if hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS, cycle([body])
    pump = PUMPS.device(0)
    questions = [authorize(pump, fleet_topic(pump, number)) for number in range(NEW_QUESTIONS)]
    yield NEW, AUTHORIZE, ALLOW, cycle(questions)
    yield REPEATED, AUTHORIZE, ALLOW, cycle(questions[:1])


def _request(hook: Hook) -> tuple[str, bytes]:
    pump = client(PUMPS.device(0))
    values: dict[str, Any] = {"topic": TOPIC}
    if hook == Hook.CLIENT_SUBSCRIBE:
        values["topic_filters"] = NODE.filters([(TOPIC, 1)])
    elif hook == Hook.SESSION_SUBSCRIBED:
        values["subopts"] = {"qos": 1}
    elif hook == Hook.MESSAGE_PUBLISH:
        values["message"] = NODE.message(pump, TOPIC, PAYLOAD, 1, "000660B1574AEDF6F495000001D20001")
    method, body = NODE.request(hook, pump, **values)
    return method.path, body


def _load(
    server: Child, path: str, bodies: Iterator[bytes], expected: bytes, seconds: float | None
) -> Sample:
    return http2_client.load(server.port, path, bodies, expected, seconds, server.cpu_seconds)
