"""The process tree: what dies is replaced, what is stopped drains, and nothing is left behind."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.conf import settings
from django.core.management import call_command
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accounts import services as accounts_services
from acl import services as acl_services
from exhookadmin.exhook.demo.endpoint import Endpoint, EndpointFailed
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.versions import VERSIONS
from tests.endpoint import StartEndpoint, child_environment
from tests.exhook.processes import (
    command_line,
    connections_of,
    descendants,
    eventually,
    get,
    lives,
    log_lines,
    metric,
    said,
    web_processes,
    workers,
)
from tests.exhook.server import V1, V3, authenticate_request, authorize_request, method_of
from tests.exhook.unplugged import Plug, new_plug

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc")

SECONDS = 60.0
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}


@contextmanager
def channel(endpoint: Endpoint) -> Iterator[grpc.Channel]:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(endpoint.address, options) as opened:
        yield opened


def login(opened: grpc.Channel, password: str = "", **clientinfo: str) -> grpc.Future:
    request = authenticate_request(V3, **clientinfo, password=password)
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(
        method_of(V3, Hook.CLIENT_AUTHENTICATE).path
    )
    return call.future(request.SerializeToString(), timeout=SECONDS)


def publish(opened: grpc.Channel, topic: str, version: Any = V3) -> bytes:
    request = authorize_request(version, topic, **PUMP)
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(
        method_of(version, Hook.CLIENT_AUTHORIZE).path
    )
    reply: bytes = call(request.SerializeToString(), timeout=SECONDS)
    return reply


@pytest.fixture
def pump(transactional_db: None) -> None:
    """A device that may publish to ``pump/#``."""
    acl_services.create_rule(accounts_services.create_device("pump-17"), "allow", "publish", "pump/#")


def ready(endpoint: Endpoint) -> bool:
    return get(endpoint, "/readyz")[0] == 200


def reports(endpoint: Endpoint, name: str, value: float) -> bool:
    return metric(endpoint, name) == value


class Load:
    """One connection that is asked as often as it answers, until it is stopped."""

    def __init__(self, opened: grpc.Channel) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.wrong: list[bytes] = []
        self.calls = 0
        self._opened = opened
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                reply = publish(self._opened, "pump/1")
                if reply != ALLOW:
                    self.wrong.append(reply)
            except grpc.RpcError as error:
                self.failures.append(error.code())
                time.sleep(0.01)
            self.calls += 1


def test_a_killed_worker_is_replaced_and_no_other_call_fails(
    start_endpoint: StartEndpoint, pump: None
) -> None:
    with start_endpoint("--workers", "2") as endpoint, ExitStack() as stack:
        port = int(endpoint.address.rpartition(":")[2])
        victim, survivor = workers(endpoint)
        loads: list[Load] = []

        def one_more() -> None:
            loads.append(Load(stack.enter_context(channel(endpoint))))
            stack.callback(loads[-1].stop)
            eventually(lambda: loads[-1].calls > 10)

        # The kernel gives each connection to whomever it likes.
        while len(loads) < 12 or not (connections_of(victim, port) and connections_of(survivor, port)):
            one_more()
        # On a slow machine a client may have given up a first attempt, which is still to be closed.
        eventually(lambda: connections_of(victim, port) + connections_of(survivor, port) == len(loads))
        held = connections_of(victim, port)

        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(workers(endpoint) - {victim}) == 2 and ready(endpoint))
        calls = [load.calls for load in loads]
        eventually(lambda: all(load.calls > many + 10 for load, many in zip(loads, calls, strict=True)))
        for load in loads:
            load.stop()

        # Only who was connected to the victim noticed, as a lost connection, and is served again.
        assert len([load for load in loads if load.failures]) <= held
        assert {code for load in loads for code in load.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert not [load.wrong for load in loads if load.wrong]
        assert survivor in workers(endpoint)
        assert metric(endpoint, "exhook_process_restarts_total") == 1
        [death] = said(endpoint, "a process died and is started again")
        assert death["status"] == -signal.SIGKILL


def test_counters_add_up_over_workers_and_outlive_them(start_endpoint: StartEndpoint, pump: None) -> None:
    name, authorize = "exhook_calls_total", {"hook": "client.authorize"}
    with start_endpoint("--workers", "2") as endpoint:

        def ask_on_many_connections() -> None:
            for _ in range(12):
                with channel(endpoint) as opened:
                    assert publish(opened, "pump/1") == ALLOW
                    assert publish(opened, "valve/1", V1) == DENY

        ask_on_many_connections()
        eventually(lambda: metric(endpoint, name, **authorize) == 24)
        assert metric(endpoint, name, protocol="v3", outcome="allow", **authorize) == 12
        assert metric(endpoint, name, protocol="v1", reason="no_rule_matched", **authorize) == 12
        # A report may have come between the one count and the other.
        eventually(lambda: metric(endpoint, "exhook_call_duration_seconds_count", **authorize) == 24)
        assert metric(endpoint, "exhook_workers") == 2
        for up in ("exhook_worker_ready", "exhook_feed_up", "exhook_database_up"):
            eventually(partial(reports, endpoint, up, 2))
        facts: dict[str, Any] = {"name": "exhook_facts_recorded_total", "kind": "client.authorize"}
        eventually(lambda: metric(endpoint, **facts) == 12)

        for worker in workers(endpoint):
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: metric(endpoint, "exhook_process_restarts_total") == 2 and ready(endpoint))
        assert metric(endpoint, name, **authorize) == 24
        ask_on_many_connections()
        eventually(lambda: metric(endpoint, name, **authorize) == 48)
        # The facts of denials are in the database, or were when the workers died.
        eventually(lambda: metric(endpoint, **facts) == 24)


def test_killing_the_supervisor_leaves_no_process(start_endpoint: StartEndpoint) -> None:
    with start_endpoint("--workers", "2", "--web", "127.0.0.1:0") as endpoint:
        # The web interface is two processes: gunicorn's own supervisor and its worker.
        eventually(lambda: len(workers(endpoint)) == 2 and all(web_processes(endpoint)))
        family = descendants(endpoint.process.pid)
        endpoint.process.kill()
        endpoint.process.wait(SECONDS)
        eventually(lambda: not [pid for pid in family if lives(pid)])


def test_sigterm_answers_what_is_under_way_and_leaves_no_process(start_endpoint: StartEndpoint) -> None:
    logins = 4
    for number in range(logins):
        accounts_services.add_password(accounts_services.create_device(f"pump-{number}"), "right")
    # Each of these logins then costs a hash at this price: to a device whose stored hash is
    # cheaper, the upgrade of it.
    with start_endpoint("--workers", "1", EXHOOK_BCRYPT_ROUNDS="11") as endpoint:
        family = descendants(endpoint.process.pid)
        with channel(endpoint) as opened:
            underway = [
                login(opened, "right", clientid=f"pump-{number}", username=f"pump-{number}")
                for number in range(logins)
            ]
            # One connection's calls arrive in order: when this is answered, those have arrived.
            assert publish(opened, "x") == DENY
            assert not all(call.done() for call in underway)
            endpoint.process.terminate()
            assert [call.result(SECONDS) for call in underway] == [ALLOW] * logins
            assert endpoint.process.wait(SECONDS) == 0
        assert not [pid for pid in family if lives(pid)]
        assert len(said(endpoint, "worker drains")) == 1
        assert said(endpoint, "worker stopped")[0]["facts_left"] == 0
        assert log_lines(endpoint)[-1]["message"] == "endpoint stopped"


def test_a_worker_whose_reports_nobody_reads_serves_and_stops(transactional_db: None, tmp_path: Path) -> None:
    """A pipe that is full makes its writer wait: that must be neither the calls nor the end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-m", "exhookadmin.exhook.worker", "127.0.0.1", "0"],
        cwd=settings.BASE_DIR,
        env=os.environ | child_environment(tmp_path),
        stdout=writer,
    )
    try:
        announcement = b""
        while b"\n" not in announcement:
            announcement += os.read(reader, 1)
        address = f"127.0.0.1:{int(announcement.split()[1])}"
        with channel(Endpoint(process, address, tmp_path)) as opened:
            assert publish(opened, "x") == DENY
            eventually(lambda: not select.select([], [writer], [], 0)[1])
            assert publish(opened, "x") == DENY
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        os.close(reader)
        os.close(writer)


def test_a_second_instance_is_refused(start_endpoint: StartEndpoint) -> None:
    with start_endpoint() as endpoint:
        port = endpoint.address.rpartition(":")[2]
        with pytest.raises(EndpointFailed) as failure, start_endpoint("--port", port):
            pass
        assert f"CommandError: 127.0.0.1:{port} is in use" in str(failure.value)
        assert "choose another port with --port" in str(failure.value)
        assert ready(endpoint)


def test_metrics_on_a_port_in_use_are_refused(start_endpoint: StartEndpoint) -> None:
    with start_endpoint() as endpoint:
        [listens] = said(endpoint, "endpoint listens")
        with pytest.raises(EndpointFailed) as failure, start_endpoint("--metrics", listens["metrics"]):
            pass
        assert f"CommandError: The metrics cannot be served on {listens['metrics']}" in str(failure.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--port", "99999"), "“99999” is no port"),
        (("--host", "host.invalid"), "host.invalid:0 cannot be listened on"),
        (("--host", "192.0.2.1"), "192.0.2.1:0 cannot be listened on"),
        (("--web", "8000"), "--web: “8000” is not HOST:PORT"),
        (("--web", "192.0.2.1:8000"), "The web interface cannot be served on 192.0.2.1:8000"),
    ],
)
def test_addresses_that_cannot_be_served_are_told_at_once(
    start_endpoint: StartEndpoint, arguments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(EndpointFailed) as failure, start_endpoint(*arguments):
        pass
    assert told in str(failure.value)
    assert "Traceback" not in str(failure.value)


def test_a_taken_web_address_is_told_at_once(start_endpoint: StartEndpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EndpointFailed) as failure, start_endpoint("--web", web):
            pass
    assert f"The web interface cannot be served on {web}: Address already in use" in str(failure.value)


def test_metrics_can_be_switched_off(start_endpoint: StartEndpoint) -> None:
    with start_endpoint("--metrics", "") as endpoint:
        [listens] = said(endpoint, "endpoint listens")
        assert listens["metrics"] is None


def test_a_database_without_our_tables_is_refused(start_endpoint: StartEndpoint, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    with pytest.raises(EndpointFailed) as failure, start_endpoint(DATABASE_URL=empty):
        pass
    assert "The database is not up to date. Run: python manage.py migrate" in str(failure.value)


def test_sighup_without_certificates_changes_nothing(start_endpoint: StartEndpoint) -> None:
    with start_endpoint() as endpoint:
        before = workers(endpoint)
        endpoint.process.send_signal(signal.SIGHUP)
        for worker in before:
            os.kill(worker, signal.SIGHUP)
        eventually(lambda: ready(endpoint))
        assert workers(endpoint) == before


def test_closing_the_terminal_it_was_started_in_stops_it(transactional_db: None, tmp_path: Path) -> None:
    master, slave = os.openpty()
    log = tmp_path / "log"
    log.touch()
    # A process that leads a session gets the first terminal that it opens.
    command = 'exec < "$1" 2> "$2"; shift 2; exec "$@" run_exhook --port 0 --metrics "" --workers 1'
    manage = str(settings.BASE_DIR / "manage.py")
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", os.ttyname(slave), str(log), sys.executable, manage],
        env=os.environ | child_environment(tmp_path),
        start_new_session=True,
    )
    try:
        os.close(slave)
        eventually(lambda: '"endpoint listens"' in log.read_text())
        process.send_signal(signal.SIGHUP)
        family = descendants(process.pid)
        os.close(master)
        assert process.wait(SECONDS) == 0
        assert '"endpoint stopped"' in log.read_text()
        assert not [pid for pid in family if lives(pid)]
    finally:
        process.kill()


def test_ctrl_c_while_its_children_are_starting_ends_them_in_order(
    transactional_db: None, tmp_path: Path
) -> None:
    """A terminal sends it to all that are in its group, in the midst of whatever they do."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "manage.py",
                "run_exhook",
                "--port",
                "0",
                "--metrics",
                "",
                "--web",
                "127.0.0.1:0",
            ],
            cwd=settings.BASE_DIR,
            env=os.environ | child_environment(tmp_path),
            stdin=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        eventually(lambda: any("exhookadmin.exhook" in command_line(pid) for pid in descendants(process.pid)))
        family = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert '"endpoint stopped"' in log.read_text()
        assert "Traceback" not in log.read_text()
        assert not [pid for pid in family if lives(pid)]
    finally:
        process.kill()


@pytest.fixture
def plug(transactional_db: None, tmp_path: Path) -> Plug:
    return new_plug(tmp_path)


def health(endpoint: Endpoint, service: str = "") -> str:
    with channel(endpoint) as opened:
        request = health_pb2.HealthCheckRequest(service=service)
        reply = health_pb2_grpc.HealthStub(opened).Check(request, timeout=SECONDS)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_tried_again_until_it_can(
    start_endpoint: StartEndpoint, plug: Plug
) -> None:
    with start_endpoint("--workers", "2", DATABASE_URL=plug.url) as endpoint:
        eventually(lambda: ready(endpoint))
        victim, survivor = workers(endpoint)
        plug.pull()
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(said(endpoint, "worker cannot start: the database is away")) >= 2)
        status, body = get(endpoint, "/readyz")
        assert status == 503
        assert "It does not listen." in body
        # Nothing hangs, so there is nothing that a restart of everything would help.
        assert get(endpoint, "/healthz")[0] == 200
        assert survivor in workers(endpoint)
        waits = [line["in_seconds"] for line in said(endpoint, "a process died and is started again")]
        assert waits == sorted(waits)
        assert len(set(waits)) > 1
        plug.put_back()
        eventually(lambda: ready(endpoint))
        assert survivor in workers(endpoint)


@pytest.mark.slow
def test_readyz_and_health_checks_follow_what_may_be_answered(
    start_endpoint: StartEndpoint, pump: None, plug: Plug
) -> None:
    services = ["", *(version.service for version in VERSIONS)]
    environment = {"DATABASE_URL": plug.url, "EXHOOK_FAIL_STATIC_SECONDS": "4"}
    with start_endpoint(**environment) as endpoint, channel(endpoint) as opened:
        eventually(lambda: ready(endpoint))
        eventually(lambda: {health(endpoint, service) for service in services} == {"SERVING"})
        assert publish(opened, "pump/1") == ALLOW
        plug.pull()
        eventually(lambda: "The database is away" in get(endpoint, "/readyz")[1])
        eventually(lambda: "older than EXHOOK_FAIL_STATIC_SECONDS" in get(endpoint, "/readyz")[1])
        eventually(lambda: not ready(endpoint))
        eventually(lambda: {health(endpoint, service) for service in services} == {"NOT_SERVING"})
        eventually(lambda: metric(endpoint, "exhook_database_up") == 0)
        assert publish(opened, "pump/1") == DENY
        reason = {"outcome": "error", "reason": "database_unavailable"}
        eventually(lambda: metric(endpoint, "exhook_calls_total", **reason) == 1)
        plug.put_back()
        eventually(lambda: ready(endpoint))
        eventually(lambda: {health(endpoint, service) for service in services} == {"SERVING"})
        assert publish(opened, "pump/1") == ALLOW
        eventually(lambda: get(endpoint, "/readyz")[1].count("database") == 0)


def test_every_line_of_the_log_is_json(start_endpoint: StartEndpoint, plug: Plug, tmp_path: Path) -> None:
    """Those of gRPC's core and of gunicorn too, whatever goes wrong. ``log_lines`` fails otherwise."""
    call_command("make_certs", directory=tmp_path, verbosity=0)
    tls = {"EXHOOK_TLS_CERT": str(tmp_path / "server.pem"), "EXHOOK_TLS_KEY": str(tmp_path / "server.key")}
    arguments = ["--workers", "2", "--web", "127.0.0.1:0"]
    with start_endpoint(*arguments, DATABASE_URL=plug.url, **tls) as endpoint:
        eventually(lambda: len(workers(endpoint)) == 2 and all(web_processes(endpoint)))
        with channel(endpoint) as opened, pytest.raises(grpc.RpcError):
            publish(opened, "a handshake that is none")
        [web_worker] = web_processes(endpoint)[1]
        os.kill(web_worker, signal.SIGKILL)
        eventually(lambda: web_processes(endpoint)[1] - {web_worker})
        plug.pull()
        os.kill(next(iter(workers(endpoint))), signal.SIGKILL)
        eventually(lambda: said(endpoint, "worker cannot start: the database is away"))
        plug.put_back()
        endpoint.process.terminate()
        assert endpoint.process.wait(SECONDS) == 0
        assert len({line["pid"] for line in log_lines(endpoint)}) > 3
        assert [line for line in log_lines(endpoint) if line["logger"] == "gunicorn.error"]
