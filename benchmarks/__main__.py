"""``python -m benchmarks [NAME…] [--quick]``: measures, prints a table, and keeps the figures as JSON."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import figures, machine
from benchmarks.bench import FULL, QUICK, new_bench
from benchmarks.figures import Figure
from benchmarks.load import WrongAnswer
from benchmarks.measurements import MEASUREMENTS
from benchmarks.processes import ROOT, ProcessFailed, errors_in
from benchmarks.report import write_into_documentation

RESULTS = ROOT / "var" / "benchmarks" / "latest.json"


def main(arguments: list[str]) -> int:
    """Answers the exit status. A missed target is a result; what could not be measured is a failure."""
    options = _options(arguments)
    wanted = options.names or list(MEASUREMENTS)
    found: dict[str, list[Figure]] = {}
    broken: list[str] = []
    began = time.monotonic()
    machine.require_linux()
    described = machine.description()
    with (
        tempfile.TemporaryDirectory(prefix="exhookadmin-benchmarks-") as directory,
        new_bench(QUICK if options.quick else FULL, Path(directory)) as bench,
    ):
        print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
        for name in wanted:
            started = time.monotonic()
            try:
                found[name] = MEASUREMENTS[name](bench)
            except (WrongAnswer, ProcessFailed) as problem:
                broken.append(name)
                print(f"\n{name} could not be measured: {problem}", *errors_in(bench.directory), sep="\n")
                continue
            print(f"\n{name} ({time.monotonic() - started:.0f} s)\n{figures.table(found[name])}", flush=True)
    print(f"\n{time.monotonic() - began:.0f} s in all. ✓ met, ✗ missed, · to compare with, s skipped.")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(figures.results(found, described) + "\n")
    print(f"Every round’s figures: {options.json}")
    if options.write_documentation:
        write_into_documentation(found, described)
    return 1 if broken else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to measure, of: {', '.join(MEASUREMENTS)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less of everything, to see that it runs; its figures are rough"
    )
    parser.add_argument(
        "--json", type=Path, default=RESULTS, metavar="FILE", help="where the figures are kept"
    )
    parser.add_argument(
        "--write-documentation",
        action="store_true",
        help="replace the table in docs/performance.md by this run’s",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement “{unknown[0]}”; choose from {', '.join(MEASUREMENTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
