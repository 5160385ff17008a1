"""What a large fleet costs: calls beside a database of a million devices, and memory for those held."""

from functools import partial
from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.checks import require
from benchmarks.devices import AUTHORIZE, SENSORS, authorize, fleet_topic
from benchmarks.figures import Figure, alternate, at_least, at_most, ratio
from benchmarks.processes import Child

ASKING = 1_000
QUESTIONS = 60_000
MEGABYTE = 1_000_000


def measure(bench: Bench) -> list[Figure]:
    """The memory first, of a worker that has just started; then the same questions to both."""
    plan = bench.plan
    asking = min(ASKING, plan.cached_devices)
    small, large = bench.multitude(asking), bench.multitude(plan.multitude)
    questions = [
        authorize(
            SENSORS.device(number % asking), fleet_topic(SENSORS.device(number % asking), number // asking)
        )
        for number in range(QUESTIONS)
    ]
    figures = []
    with bench.servers() as servers:
        for transport in bench.plan.transports:
            beside_many = servers.endpoint(large, transport)
            if transport == "grpcio":
                # The way in makes no difference to what is held.
                figures.append(_memory(bench, beside_many))
            beside_few = servers.endpoint(small, transport)
            for endpoint in (beside_few, beside_many):
                bench.ask_each(endpoint, AUTHORIZE, iter(questions[:asking]))
            runs = {
                "many": partial(bench.ask, beside_many, AUTHORIZE, cycle(questions)),
                "few": partial(bench.ask, beside_few, AUTHORIZE, cycle(questions)),
            }
            samples = alternate(plan.rounds, runs)
            text = f"authorize, {plan.multitude:,} devices in the database ÷ {asking:,}, {transport}"
            figures.append(ratio(text, at_least(0.9), samples["many"], samples["few"]))
            servers.stop(beside_few)
            servers.stop(beside_many)
    return figures


def _memory(bench: Bench, endpoint: Child) -> Figure:
    count = bench.plan.cached_devices
    first = SENSORS.device(0)
    require(endpoint.port, AUTHORIZE, authorize(first, fleet_topic(first, 0)), allow=True)
    idle = endpoint.memory_bytes()
    bodies = (
        authorize(SENSORS.device(number), fleet_topic(SENSORS.device(number), 0)) for number in range(count)
    )
    sample = bench.ask_each(endpoint, AUTHORIZE, bodies)
    grown = endpoint.memory_bytes() - idle
    return Figure(
        f"memory of {count:,} devices above idle",
        at_most(250),
        grown / MEGABYTE,
        unit="MB",
        detail={
            "idle_megabytes": round(idle / MEGABYTE, 1),
            "bytes_a_device": round(grown / count),
            "devices_loaded_per_second": round(sample.rate, 1),
        },
    )
