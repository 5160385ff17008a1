"""Fit for calls or not: the truth tables behind /readyz, /healthz and gRPC health checks."""

from functools import partial

import pytest

from exhookadmin.exhook.status import SILENT_SECONDS, Condition, WorkerView, judged, liveness, readiness

FINE = Condition()
WARNED = Condition(warnings=("The database is away; what is in memory goes on being served.",))
UNFIT = Condition(problems=("The event loop is stuck.",))


@pytest.mark.parametrize(
    ("loaded", "too_old", "database_up", "ready", "warned"),
    [
        pytest.param(True, False, True, True, False, id="all is well"),
        pytest.param(True, True, True, True, False, id="old policies, which the database can renew"),
        pytest.param(True, False, False, True, True, id="fail-static: from memory, and said so"),
        pytest.param(True, True, False, False, False, id="past fail-static: nothing may be answered from"),
        pytest.param(False, False, True, False, False, id="no policies yet"),
        pytest.param(False, False, False, False, False, id="no policies and no database"),
    ],
)
def test_a_worker_is_fit_while_it_may_decide(
    loaded: bool, too_old: bool, database_up: bool, ready: bool, warned: bool
) -> None:
    condition = judged(policies_loaded=loaded, policies_too_old=too_old, database_up=database_up)
    assert condition.ready is ready
    assert bool(condition.warnings) is warned


def test_a_stuck_event_loop_makes_a_worker_unfit() -> None:
    well = partial(judged, policies_loaded=True, policies_too_old=False, database_up=True)
    assert well(loop_lag=SILENT_SECONDS).ready
    assert well(loop_lag=SILENT_SECONDS + 1).problems == ("The event loop is stuck.",)


def test_broken_policies_and_ending_certificates_are_warnings_only() -> None:
    condition = judged(
        policies_loaded=True,
        policies_too_old=False,
        database_up=True,
        broken_policies=2,
        certificates="EXHOOK_TLS_CERT (server.pem) expires on 2030-01-01 00:00 UTC, in 3 days.",
    )
    assert condition.ready
    assert condition.warnings == (
        "2 policies do not compile; their last good versions stay in force.",
        "EXHOOK_TLS_CERT (server.pem) expires on 2030-01-01 00:00 UTC, in 3 days.",
    )


@pytest.mark.parametrize(
    ("second", "stopping", "problem"),
    [
        pytest.param(WorkerView("worker 2", True, 1.0, FINE), False, "", id="both listen"),
        pytest.param(WorkerView("worker 2", True, 1.0, WARNED), False, "", id="a warning"),
        pytest.param(
            WorkerView("worker 2", False, 1.0, FINE), False, "worker 2: It does not listen.", id="one is down"
        ),
        pytest.param(
            WorkerView("worker 2", True, 0.1),
            False,
            "worker 2: It has not reported yet.",
            id="one has just come",
        ),
        pytest.param(
            WorkerView("worker 2", True, 60.0, FINE),
            False,
            "worker 2: Nothing was heard from it for 60 s.",
            id="one hangs",
        ),
        pytest.param(
            WorkerView("worker 2", True, 1.0, UNFIT),
            False,
            "worker 2: The event loop is stuck.",
            id="one is unfit",
        ),
        pytest.param(
            WorkerView("worker 2", True, 1.0, FINE), True, "It is being stopped.", id="being stopped"
        ),
    ],
)
def test_ready_when_every_worker_is(second: WorkerView, stopping: bool, problem: str) -> None:
    verdict = readiness([WorkerView("worker 1", True, 1.0, FINE), second], stopping)
    assert verdict.good is (problem == "")
    assert list(verdict.problems) == ([problem] if problem else [])


def test_warnings_name_their_worker_and_do_not_make_it_unready() -> None:
    verdict = readiness([WorkerView("worker 1", True, 1.0, WARNED)], stopping=False)
    assert verdict.good
    assert list(verdict.warnings) == [f"worker 1: {WARNED.warnings[0]}"]


def test_what_no_call_depends_on_is_warned_of_only() -> None:
    verdict = readiness([WorkerView("worker 1", True, 1.0, FINE)], False, ["The log is old."])
    assert verdict.good
    assert list(verdict.warnings) == ["The log is old."]


@pytest.mark.parametrize(
    ("worker", "supervisor_silent", "alive"),
    [
        pytest.param(WorkerView("worker 1", True, 1.0, FINE), 0.1, True, id="all is well"),
        pytest.param(WorkerView("worker 1", True, 1.0, UNFIT), 0.1, True, id="unfit, but alive"),
        pytest.param(WorkerView("worker 1", False, 900.0), 0.1, True, id="dead, and being restarted"),
        pytest.param(WorkerView("worker 1", True, 60.0, FINE), 0.1, False, id="a worker hangs"),
        pytest.param(WorkerView("worker 1", True, 1.0, FINE), 60.0, False, id="the supervisor hangs"),
    ],
)
def test_alive_unless_something_hangs(worker: WorkerView, supervisor_silent: float, alive: bool) -> None:
    """Killing what waits for the database would not bring the database back."""
    assert liveness([worker], supervisor_silent).good is alive
