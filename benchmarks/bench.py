"""What a measurement works with: how much of everything, servers, databases, and two cores."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks import databases, h2load, http2_client, machine, processes, servers
from benchmarks.checks import ALLOW, require
from benchmarks.databases import Database
from benchmarks.load import CONNECTIONS, Sample
from benchmarks.processes import Child
from benchmarks.servers import TRANSPORTS, Servers, Transport


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    ``transports`` are those of the measurements that take long; ``seconds`` is what one run
    takes; ``pumps`` devices are connected; ``newcomers`` are there to connect for the first
    time, ``first_logins`` of them in a run. ``facts`` are written in a run, and ``hooks``
    called. After a storm nothing of it is left when ``calm_seconds`` have passed. ``imported``
    devices are stored in each of ``import_rounds``, which take long.
    """

    transports: tuple[Transport, ...]
    rounds: int
    seconds: float
    pumps: int
    newcomers: int
    first_logins: int
    remembered_logins: int
    storm_seconds: float
    storm_halves: int
    calm_seconds: float
    valves: int
    multitude: int
    cached_devices: int
    changes: int
    facts: int
    hooks: int
    waiting_facts: int
    short_log: int
    long_log: int
    imported: int
    import_rounds: int
    import_beside: int
    small_import: int
    large_import: int


FULL = Plan(
    transports=TRANSPORTS,
    rounds=5,
    seconds=1.0,
    pumps=2_000,
    newcomers=20_000,
    first_logins=1_500,
    remembered_logins=100,
    storm_seconds=15.0,
    storm_halves=2,
    calm_seconds=5.5,
    valves=20_000,
    multitude=1_000_000,
    cached_devices=100_000,
    changes=200,
    facts=50_000,
    hooks=10_000,
    waiting_facts=1_000_000,
    short_log=10_000,
    long_log=10_000_000,
    imported=100_000,
    import_rounds=3,
    import_beside=100_000,
    small_import=10_000,
    large_import=1_000_000,
)
QUICK = Plan(
    transports=("grpcio",),
    rounds=1,
    seconds=0.4,
    pumps=500,
    newcomers=3_000,
    first_logins=500,
    remembered_logins=10,
    storm_seconds=2.0,
    storm_halves=1,
    calm_seconds=1.0,
    valves=3_000,
    multitude=20_000,
    cached_devices=5_000,
    changes=10,
    facts=10_000,
    hooks=2_000,
    waiting_facts=50_000,
    short_log=10_000,
    long_log=200_000,
    imported=10_000,
    import_rounds=1,
    import_beside=20_000,
    small_import=2_000,
    large_import=20_000,
)
# For tests: that everything runs, not how fast.
TINY = Plan(
    transports=TRANSPORTS,
    rounds=1,
    seconds=0.1,
    pumps=20,
    newcomers=200,
    first_logins=50,
    remembered_logins=2,
    storm_seconds=0.5,
    storm_halves=1,
    calm_seconds=0.1,
    valves=200,
    multitude=300,
    cached_devices=200,
    changes=4,
    facts=100,
    hooks=40,
    waiting_facts=500,
    short_log=200,
    long_log=2_000,
    imported=500,
    import_rounds=1,
    import_beside=5_000,
    small_import=500,
    large_import=1_000,
)


@dataclass
class Bench:
    """One run of the benchmarks. Databases are made when first asked for and shared."""

    plan: Plan
    directory: Path
    stack: ExitStack = field(repr=False)
    cores: list[int]
    server_core: int
    load_core: int

    @property
    def both_cores(self) -> list[int]:
        return sorted({self.server_core, self.load_core})

    @property
    def worker_cores(self) -> list[int]:
        """Two cores besides the load's where there are as many; else the server's."""
        others = [core for core in self.cores if core not in (self.server_core, self.load_core)]
        return [self.server_core, *others[:1]]

    @contextmanager
    def servers(self) -> Iterator[Servers]:
        """Servers on the server's core, for as long as the block lasts."""
        with servers.running(self.directory, [self.server_core]) as started:
            yield started

    @cached_property
    def fleet(self) -> Database:
        """On SQLite: every family but the multitude."""
        plan = self.plan
        counts = {"pump": plan.pumps, "meter": plan.newcomers, "valve": plan.valves}
        return databases.sqlite(self.directory, "fleet", counts | {"few": plan.pumps, "many": plan.pumps})

    @cached_property
    def fleet_on_postgresql(self) -> Database:
        """Less of the same, and none of the large policies."""
        counts = {"pump": min(self.plan.pumps, 100), "meter": self.plan.newcomers}
        return self.stack.enter_context(databases.postgresql(self.directory, counts))

    @cached_property
    def small(self) -> Database:
        """On SQLite: hardly anything."""
        return databases.sqlite(self.directory, "small", {"pump": 1})

    def multitude(self, devices: int) -> Database:
        """A database with so many devices of one family."""
        return databases.sqlite(self.directory, f"{devices} devices", {"sensor": devices})

    def ask(
        self,
        server: Child,
        path: str,
        bodies: Iterator[bytes],
        connections: int = CONNECTIONS,
        cpu_seconds: Callable[[], float] | None = None,
    ) -> Sample:
        """Asks the server one thing after the other for as long as a run takes; all are to be allowed.

        ``cpu_seconds`` counts for a server that is more than one process tree.
        """
        return http2_client.load(
            server.port,
            path,
            bodies,
            ALLOW,
            self.plan.seconds,
            cpu_seconds or server.cpu_seconds,
            connections=connections,
        )

    def ask_each(self, server: Child, path: str, bodies: Iterator[bytes]) -> Sample:
        """Asks everything once; all is to be allowed."""
        return http2_client.load(server.port, path, bodies, ALLOW, None, server.cpu_seconds)

    def ask_in_turn(self, server: Child, path: str, bodies: Iterator[bytes]) -> None:
        """Asks everything once, and so little at a time that even slow work is done in time."""
        http2_client.load(server.port, path, bodies, ALLOW, connections=1, streams=2)

    def repeat(self, server: Child, path: str, body: bytes) -> Sample:
        """Asks the same for as long as a run takes, with h2load where it is installed."""
        require(server.port, path, body, allow=True)
        if not h2load.installed:
            return self.ask(server, path, _forever(body))
        file = self.directory / "body"
        file.write_bytes(b"\x00" + len(body).to_bytes(4, "big") + body)
        return h2load.load(server.port, path, file, self.plan.seconds, server.cpu_seconds)


def _forever(body: bytes) -> Iterator[bytes]:
    while True:
        yield body


@contextmanager
def new_bench(plan: Plan, directory: Path) -> Iterator[Bench]:
    """Everything a run needs, gone afterwards. This process moves to the load's core."""
    cores = machine.cores()
    server_core, load_core = machine.server_and_load_core()
    with ExitStack() as stack, processes.pinned_to([load_core]):
        yield Bench(plan, directory, stack, cores, server_core, load_core)
