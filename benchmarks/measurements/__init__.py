"""What ``python -m benchmarks NAME`` knows: each measurement by its name, in the order they run."""

from collections.abc import Callable, Mapping

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.measurements import (
    authorize,
    changes,
    explorer,
    fleet_size,
    hooks,
    imports,
    logins,
    recording,
    rules,
    storm,
    workers,
)

MEASUREMENTS: Mapping[str, Callable[[Bench], list[Figure]]] = {
    "authorize": authorize.measure,
    "logins": logins.measure,
    "storm": storm.measure,
    "rules": rules.measure,
    "fleet-size": fleet_size.measure,
    "workers": workers.measure,
    "changes": changes.measure,
    "recording": recording.measure,
    "explorer": explorer.measure,
    "hooks": hooks.measure,
    "imports": imports.measure,
}
