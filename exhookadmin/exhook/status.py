"""Is the endpoint fit for calls? One truth for /healthz, /readyz, gRPC health checks and the dashboard."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The supervisor's loop turns ten times a second, and a worker reports every second: who has
# been silent for so long hangs.
SILENT_SECONDS = 15.0


@dataclass(frozen=True)
class Condition:
    """How a worker judges itself. Problems make it unfit for calls, warnings ask for somebody's eye."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.problems


def judged(
    *,
    policies_loaded: bool,
    policies_too_old: bool,
    database_up: bool,
    broken_policies: int = 0,
    loop_lag: float = 0.0,
    certificates: str = "",
) -> Condition:
    """A worker's condition.

    Without the database it stays fit for as long as it may answer from memory
    (EXHOOK_FAIL_STATIC_SECONDS); with the database, old policies are read again when
    they are next needed. ``certificates`` is a warning about their end.
    """
    problems, warnings = [], []
    if not policies_loaded:
        problems.append("The policies have not been read.")
    elif not database_up and policies_too_old:
        problems.append(
            "The database is away, and the policies in memory are older than EXHOOK_FAIL_STATIC_SECONDS."
        )
    elif not database_up:
        warnings.append("The database is away; what is in memory goes on being served.")
    if loop_lag > SILENT_SECONDS:
        problems.append("The event loop is stuck.")
    if broken_policies:
        warnings.append(
            "1 policy does not compile; its last good version stays in force."
            if broken_policies == 1
            else f"{broken_policies} policies do not compile; their last good versions stay in force."
        )
    if certificates:
        warnings.append(certificates)
    return Condition(tuple(problems), tuple(warnings))


@dataclass(frozen=True)
class WorkerView:
    """What the supervisor knows of a worker."""

    name: str
    listening: bool
    silent_seconds: float = 0.0
    condition: Condition | None = None


@dataclass(frozen=True)
class Verdict:
    """An answer to a probe, with the reasons."""

    good: bool
    problems: Sequence[str]
    warnings: Sequence[str] = ()


def readiness(workers: Iterable[WorkerView], stopping: bool, others: Iterable[str] = ()) -> Verdict:
    """Ready when every worker listens and is fit for calls: until then a balancer asks elsewhere.

    ``others`` are warnings of what no call depends on.
    """
    problems, warnings = (["It is being stopped."] if stopping else []), list(others)
    for worker in workers:
        if not worker.listening:
            problems.append(f"{worker.name}: It does not listen.")
        elif worker.condition is None:
            problems.append(f"{worker.name}: It has not reported yet.")
        elif worker.silent_seconds > SILENT_SECONDS:
            problems.append(f"{worker.name}: Nothing was heard from it for {worker.silent_seconds:.0f} s.")
        else:
            problems += [f"{worker.name}: {text}" for text in worker.condition.problems]
            warnings += [f"{worker.name}: {text}" for text in worker.condition.warnings]
    return Verdict(not problems, problems, warnings)


def liveness(workers: Iterable[WorkerView], supervisor_silent_seconds: float) -> Verdict:
    """Alive unless something hangs. What has died is being restarted, and what waits for the
    database does not get it sooner by being killed: neither is a reason to end the tree."""
    problems = []
    if supervisor_silent_seconds > SILENT_SECONDS:
        problems.append(f"supervisor: Its loop has stood for {supervisor_silent_seconds:.0f} s.")
    for worker in workers:
        if worker.listening and worker.silent_seconds > SILENT_SECONDS:
            problems.append(f"{worker.name}: Nothing was heard from it for {worker.silent_seconds:.0f} s.")
    return Verdict(not problems, problems)
