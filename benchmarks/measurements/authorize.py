"""Authorizations that memory can answer, beside bare servers and the HTTP view."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle

from benchmarks import http1_client
from benchmarks.bare import golang
from benchmarks.bench import Bench
from benchmarks.checks import ALLOW_JSON, require, require_json
from benchmarks.devices import (
    AUTHENTICATE,
    AUTHORIZE,
    PASSWORD,
    PUMPS,
    authenticate,
    authorize,
    authorize_json,
    fleet_questions,
    fleet_topic,
)
from benchmarks.figures import Figure, Rounds, Target, alternate, at_least, ratio, skipped
from benchmarks.load import Sample
from benchmarks.processes import Child
from benchmarks.servers import TRANSPORTS, Servers, Transport

TOPICS_OF_A_FLEET = 5
# So many that none is asked again while a worker remembers the answer (50,000 questions).
NEW_QUESTIONS = 60_000
REPEATED, FLEET, NEW = "one question, repeated", "a fleet’s questions", "new questions only"
LOADS = (REPEATED, FLEET, NEW)

TARGETS: dict[tuple[str, str], Target] = {
    ("grpcio", "asynchronous"): at_least(0.85),
    ("native", "asynchronous"): at_least(7),
    ("native", "go"): at_least(0.8),
    ("grpcio", "http"): at_least(4),
    ("native", "http"): at_least(30),
}
CALLED = {
    "asynchronous": "bare grpc.aio",
    "threaded": "bare threaded grpcio",
    "native": "bare native",
    "go": "bare Go",
    "http": "HTTP view",
}


def measure(bench: Bench) -> list[Figure]:
    """Each load on each server, in turn."""
    with bench.servers() as servers:
        bare: dict[str, Child] = {
            "asynchronous": servers.bare("asynchronous"),
            "threaded": servers.bare("threaded"),
            "native": servers.bare("native"),
        }
        no_go = _add_go(bench, servers, bare)
        ours = {transport: servers.endpoint(bench.fleet, transport) for transport in TRANSPORTS}
        view = servers.http_view(bench.fleet)
        _check(ours, view)
        for endpoint in ours.values():
            _warm_up(bench, endpoint)
        samples = alternate(bench.plan.rounds, _runs(bench, ours, bare, view))
    return [*_against_bare(samples, bare, no_go), *_against_http(samples), *_logins(samples)]


def _add_go(bench: Bench, servers: Servers, bare: dict[str, Child]) -> str:
    try:
        bare["go"] = servers.go(golang.build(bench.directory))
    except golang.NoGo as reason:
        return str(reason)
    return ""


def _check(ours: Mapping[Transport, Child], view: Child) -> None:
    device = PUMPS.device(0)
    for endpoint in ours.values():
        require(endpoint.port, AUTHORIZE, authorize(device, fleet_topic(device, 0)), allow=True)
        require(endpoint.port, AUTHORIZE, authorize(device, "admin/users"), allow=False)
        require(endpoint.port, AUTHENTICATE, authenticate(device, PASSWORD), allow=True)
        require(endpoint.port, AUTHENTICATE, authenticate(device, "a wrong one"), allow=False)
    require_json(view.port, "/authorize", authorize_json(device, fleet_topic(device, 0)), allow=True)
    require_json(view.port, "/authorize", authorize_json(device, "admin/users"), allow=False)


def _warm_up(bench: Bench, endpoint: Child) -> None:
    """Every device and every remembered password once."""
    bench.ask_each(endpoint, AUTHORIZE, iter(fleet_questions(bench.plan.pumps, 1)))
    bench.ask_in_turn(endpoint, AUTHENTICATE, _logins_of(bench))


def _logins_of(bench: Bench) -> Iterator[bytes]:
    devices = [PUMPS.device(number) for number in range(bench.plan.remembered_logins)]
    return (authenticate(device, PASSWORD) for device in devices)


def _runs(
    bench: Bench, ours: Mapping[Transport, Child], bare: Mapping[str, Child], view: Child
) -> dict[str, Callable[[], Sample]]:
    plan = bench.plan
    device = PUMPS.device(0)
    question = authorize(device, fleet_topic(device, 0))
    fleet = fleet_questions(plan.pumps, TOPICS_OF_A_FLEET)
    # One sequence for all rounds of a server, so that it begins where it ended.
    every = fleet_questions(plan.pumps, -(-NEW_QUESTIONS // plan.pumps), TOPICS_OF_A_FLEET)
    runs: dict[str, Callable[[], Sample]] = {}
    everybody: dict[str, Child] = {
        **{f"bare {name}": child for name, child in bare.items()},
        **{str(transport): child for transport, child in ours.items()},
    }
    for name, server in everybody.items():
        runs[f"{name}, {REPEATED}"] = partial(bench.repeat, server, AUTHORIZE, question)
    for name, server in everybody.items():
        runs[f"{name}, {FLEET}"] = partial(_ask_again, bench, server, fleet)
    for name, server in everybody.items():
        runs[f"{name}, {NEW}"] = partial(bench.ask, server, AUTHORIZE, cycle(every))
    logins = list(_logins_of(bench))
    for name, server in ours.items():
        runs[f"{name}, logins"] = partial(bench.ask, server, AUTHENTICATE, cycle(logins))
    topics = [(PUMPS.device(number), fleet_topic(PUMPS.device(number), 0)) for number in range(plan.pumps)]
    bodies = cycle([authorize_json(*topic) for topic in topics])
    runs["http"] = partial(
        http1_client.load, view.port, "/authorize", bodies, ALLOW_JSON, plan.seconds, view.cpu_seconds
    )
    return runs


def _ask_again(bench: Bench, server: Child, fleet: Sequence[bytes]) -> Sample:
    """Once uncounted: the new questions of the round before have pushed these out of memory."""
    bench.ask_each(server, AUTHORIZE, iter(fleet))
    return bench.ask(server, AUTHORIZE, cycle(fleet))


def _against_bare(samples: Rounds, bare: dict[str, Child], no_go: str) -> Iterator[Figure]:
    for transport in TRANSPORTS:
        for other in ("asynchronous", "threaded", "native", "go"):
            target = TARGETS.get((transport, other))
            if transport == "grpcio" and other in ("native", "go"):
                continue
            for load in LOADS:
                text = f"authorize, {transport} ÷ {CALLED[other]}: {load}"
                if other not in bare:
                    yield skipped(text, target, no_go)
                else:
                    theirs = samples[f"bare {other}, {load}"]
                    yield ratio(text, target, samples[f"{transport}, {load}"], theirs)
    # How much of the distance to Go is not ours.
    text = f"bare native ÷ bare Go: {NEW}"
    if "go" not in bare:
        yield skipped(text, None, no_go)
    else:
        yield ratio(text, None, samples[f"bare native, {NEW}"], samples[f"bare go, {NEW}"])


def _against_http(samples: Rounds) -> Iterator[Figure]:
    for transport in TRANSPORTS:
        for load in LOADS:
            text = f"authorize, {transport} ÷ HTTP view: {load}"
            target = TARGETS[transport, "http"]
            yield ratio(text, target, samples[f"{transport}, {load}"], samples["http"])


def _logins(samples: Rounds) -> Iterator[Figure]:
    for transport in TRANSPORTS:
        for load in (NEW, REPEATED):
            text = f"login, password remembered ÷ authorize, {transport}: {load}"
            # A repeated question is looked up, not decided: no login can be.
            target = at_least(0.8) if load == NEW else None
            yield ratio(text, target, samples[f"{transport}, logins"], samples[f"{transport}, {load}"])
