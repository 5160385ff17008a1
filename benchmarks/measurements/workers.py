"""Whether two workers do twice the work of one: calls for each second of CPU time."""

from collections.abc import Sequence
from functools import partial
from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.checks import require
from benchmarks.devices import AUTHORIZE, PUMPS, authorize, fleet_questions, fleet_topic
from benchmarks.figures import Figure, alternate, at_least, ratio
from benchmarks.load import CONNECTIONS
from benchmarks.measurements.authorize import TOPICS_OF_A_FLEET
from benchmarks.servers import Servers, Transport

COUNTS = (1, 2)
# Connections are dealt out anew each time: after so many passes every worker knows every question.
PASSES = 6


def measure(bench: Bench) -> list[Figure]:
    """Under the supervisor. The load keeps its core to itself, or its share of the CPU time would
    be measured too; the workers have the others, of a machine with two cores the same one."""
    questions = fleet_questions(bench.plan.pumps, TOPICS_OF_A_FLEET)
    with bench.servers() as servers:
        figures = [_ours(bench, servers, transport, questions) for transport in bench.plan.transports]
        # How much of what is lost is not ours.
        return [*figures, _bare(bench, servers, questions)]


def _ours(bench: Bench, servers: Servers, transport: Transport, questions: Sequence[bytes]) -> Figure:
    device = PUMPS.device(0)
    endpoints = {
        count: servers.supervised(bench.fleet, transport, count, bench.worker_cores) for count in COUNTS
    }
    for endpoint in endpoints.values():
        require(endpoint.port, AUTHORIZE, authorize(device, fleet_topic(device, 0)), allow=True)
        for _ in range(PASSES):
            bench.ask_each(endpoint, AUTHORIZE, iter(questions))
    samples = alternate(
        bench.plan.rounds,
        {
            # Each worker gets the connections that one alone would get.
            str(count): partial(bench.ask, endpoint, AUTHORIZE, cycle(questions), count * CONNECTIONS)
            for count, endpoint in endpoints.items()
        },
    )
    for endpoint in endpoints.values():
        servers.stop(endpoint)
    text = f"calls for each CPU second, 2 workers ÷ 1, {transport}"
    return ratio(text, at_least(0.9), samples["2"], samples["1"])


def _bare(bench: Bench, servers: Servers, questions: Sequence[bytes]) -> Figure:
    alone = servers.bare("asynchronous", cores=bench.worker_cores)
    first = servers.bare("asynchronous", cores=bench.worker_cores)
    second = servers.bare("asynchronous", first.port, bench.worker_cores)

    def of_both() -> float:
        return first.cpu_seconds() + second.cpu_seconds()

    samples = alternate(
        bench.plan.rounds,
        {
            "1": partial(bench.ask, alone, AUTHORIZE, cycle(questions)),
            "2": partial(bench.ask, first, AUTHORIZE, cycle(questions), 2 * CONNECTIONS, of_both),
        },
    )
    text = "calls for each CPU second, 2 processes ÷ 1, bare grpc.aio"
    return ratio(text, None, samples["2"], samples["1"])
