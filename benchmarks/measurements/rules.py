"""What a policy of ten thousand rules costs a call, compared with one of ten."""

from functools import partial
from itertools import cycle

from benchmarks.bench import Bench
from benchmarks.checks import require
from benchmarks.devices import AUTHORIZE, FEW, MANY, RULES, Family, authorize, rule_topic
from benchmarks.figures import Figure, alternate, at_most, ratio

# As for new questions: none is asked again while its answer is remembered.
QUESTIONS = 60_000


def measure(bench: Bench) -> list[Figure]:
    """Every question is decided: no answer is remembered. What is compared is the time of a call."""
    with bench.servers() as servers:
        figures = []
        for transport in bench.plan.transports:
            endpoint = servers.endpoint(bench.fleet, transport)
            for family in RULES:
                device = family.device(0)
                require(endpoint.port, AUTHORIZE, authorize(device, rule_topic(3)), allow=True)
                require(endpoint.port, AUTHORIZE, authorize(device, "plant/none"), allow=False)
                bench.ask_each(endpoint, AUTHORIZE, iter(_questions(bench, family, bench.plan.pumps)))
            runs = {
                family.name: partial(
                    bench.ask, endpoint, AUTHORIZE, cycle(_questions(bench, family, QUESTIONS))
                )
                for family in RULES
            }
            samples = alternate(bench.plan.rounds, runs)
            servers.stop(endpoint)
            # Calls a second, the other way round, are time a call.
            figures.append(
                ratio(
                    f"authorize, time with 10,000 rules ÷ with 10, {transport}",
                    at_most(1.5),
                    samples[FEW.name],
                    samples[MANY.name],
                )
            )
        return figures


def _questions(bench: Bench, family: Family, count: int) -> list[bytes]:
    """Spread over the devices and over all rules."""
    pumps, rules = bench.plan.pumps, RULES[family]
    return [
        authorize(family.device(number % pumps), rule_topic(number * 7919 % rules, number // pumps))
        for number in range(count)
    ]
