"""Logins of devices that the worker has never met: read from the database, a token, no slow hash."""

from collections.abc import Callable, Mapping
from itertools import cycle, islice

from benchmarks import http1_client
from benchmarks.bench import Bench
from benchmarks.checks import ALLOW_JSON, require, require_json
from benchmarks.databases import Database
from benchmarks.devices import (
    AUTHENTICATE,
    METERS,
    Newcomers,
    authenticate,
    authenticate_json,
    logins,
    token_of,
)
from benchmarks.figures import Figure, alternate, at_least, ratio
from benchmarks.load import Sample
from benchmarks.processes import Child
from benchmarks.servers import TRANSPORTS, Transport


def measure(bench: Bench) -> list[Figure]:
    """On both databases."""
    return [*_on(bench, bench.fleet, "SQLite"), *_on(bench, bench.fleet_on_postgresql, "PostgreSQL")]


def _on(bench: Bench, database: Database, name: str) -> list[Figure]:
    with bench.servers() as servers:
        view = servers.http_view(database)
        ours = {transport: servers.endpoint(database, transport) for transport in TRANSPORTS}
        _check(ours, view)
        runs: dict[str, Callable[[], Sample]] = {"http": _Posted(bench, view)}
        for transport, endpoint in ours.items():
            runs[transport] = _FirstLogins(bench, endpoint)
        samples = alternate(bench.plan.rounds, runs)
    return [
        ratio(
            f"login, token, first time, {transport} ÷ HTTP view, {name}",
            at_least(1.5),
            samples[transport],
            samples["http"],
        )
        for transport in TRANSPORTS
    ]


def _check(ours: Mapping[Transport, Child], view: Child) -> None:
    # The meters that are counted begin after this one.
    device = METERS.device(0)
    for endpoint in ours.values():
        require(endpoint.port, AUTHENTICATE, authenticate(device, token_of(device)), allow=True)
        require(endpoint.port, AUTHENTICATE, authenticate(device, token_of("another")), allow=False)
    require_json(view.port, "/authenticate", authenticate_json(device, token_of(device)), allow=True)
    require_json(view.port, "/authenticate", authenticate_json(device, token_of("another")), allow=False)


class _FirstLogins:
    """Each run goes on with devices that this server has not met: so many of them, since what a
    server is busy with when a time is up would be too much not to count."""

    def __init__(self, bench: Bench, endpoint: Child) -> None:
        self._bench = bench
        self._endpoint = endpoint
        self._bodies = logins(METERS, Newcomers(1, bench.plan.newcomers))

    def __call__(self) -> Sample:
        bodies = islice(self._bodies, self._bench.plan.first_logins)
        return self._bench.ask_each(self._endpoint, AUTHENTICATE, bodies)


class _Posted:
    """The same logins to the view, which remembers nothing."""

    def __init__(self, bench: Bench, view: Child) -> None:
        self._bench = bench
        self._view = view
        devices = [METERS.device(number) for number in range(1, bench.plan.newcomers)]
        self._bodies = cycle([authenticate_json(device, token_of(device)) for device in devices])

    def __call__(self) -> Sample:
        bodies = islice(self._bodies, self._bench.plan.first_logins)
        return http1_client.load(
            self._view.port,
            "/authenticate",
            bodies,
            ALLOW_JSON,
            cpu_seconds=self._view.cpu_seconds,
        )
