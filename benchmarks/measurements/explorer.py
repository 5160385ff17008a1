"""Pages of the audit log, in a long one and in a short one."""

from functools import partial

from benchmarks import databases
from benchmarks.bench import Bench
from benchmarks.figures import Figure, alternate, at_most, clock_ratio
from benchmarks.log_reader import LogReader


def measure(bench: Bench) -> list[Figure]:
    """On PostgreSQL, each log in a database of its own on one server."""
    short, long = bench.plan.short_log, bench.plan.long_log
    with (
        databases.empty_postgresql(bench.directory, ["short log", "long log"]) as (one, other),
        LogReader(one, short, bench.directory / "short-log.log") as of_short,
        LogReader(other, long, bench.directory / "long-log.log") as of_long,
    ):
        figures = []
        for what, text in (("newest", "the log’s first page"), ("device", "the first page of one device")):
            runs = {
                "short": partial(of_short.pages, what, bench.plan.seconds),
                "long": partial(of_long.pages, what, bench.plan.seconds),
            }
            samples = alternate(bench.plan.rounds, runs)
            named = f"{text}, time with {long:,} events ÷ with {short:,}"
            # Few pages a second are a long time for each.
            figures.append(clock_ratio(named, at_most(2), samples["short"], samples["long"]))
    return figures
