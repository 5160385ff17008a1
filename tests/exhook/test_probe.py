"""The probe, against a real endpoint process, and against servers that answer wrongly or not at all."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.core.management import CommandError, call_command
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from accounts.services import add_password, create_device
from acl.services import create_rule
from audit.models import Event, Session
from exhookadmin.exhook.demo.certificates import issue, new_ca
from exhookadmin.exhook.emqx import METHODS
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY, EMPTY_SUCCESS
from exhookadmin.exhook.versions import VERSIONS
from tests.endpoint import StartEndpoint

PASSWORD = "open sesame 17"


def run_probe(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    output = StringIO()
    try:
        call_command("exhook_probe", *arguments, stdout=output)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, output.getvalue()


def mark_of(check: str, output: str) -> str:
    """✓, ✗ or - in front of a check."""
    found = re.search(rf"^  (.) {re.escape(check)}  ", output, re.MULTILINE)
    assert found, output
    return found[1]


@pytest.fixture
def pump(transactional_db: None) -> None:
    """A device that may publish its state and read its settings."""
    device = create_device("pump-17")
    add_password(device, PASSWORD)
    create_rule(device, "allow", "publish", "state/${clientid}")
    create_rule(device, "allow", "subscribe", "settings/#")


@pytest.mark.parametrize("protocol", [version.name for version in VERSIONS])
def test_a_device_with_its_password(
    protocol: str, pump: None, start_endpoint: StartEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    with start_endpoint() as endpoint:
        code, output = run_probe(
            *("--target", endpoint.address, "--protocol", protocol),
            *("--username", "pump-17", "--password-file", str(tmp_path / "password")),
            *("--publish", "state/pump-17", "--subscribe", "settings/+"),
        )
        log = endpoint.log.read_text()
    assert code == 0, output
    assert re.findall(r"^  ([✓✗-]) ", output, re.MULTILINE) == ["✓"] * 18
    assert ("client.check_acl" if protocol == "v1" else "client.authorize") in output
    assert PASSWORD not in output + log
    assert Session.objects.get(client_id="pump-17").end_reason == "normal"
    refused = Event.objects.filter(allowed=False, cluster="exhook-probe")
    assert sorted(refused.values_list("reason", flat=True)) == ["credential_wrong"] + ["unknown_device"] * 3


def test_without_a_device_a_stranger_is_refused_and_nothing_is_created(start_endpoint: StartEndpoint) -> None:
    from accounts.models import Device

    with start_endpoint() as endpoint:
        code, output = run_probe("--target", endpoint.address)
    assert code == 0, output
    assert mark_of("authenticate, a stranger", output) == "✓"
    assert mark_of("authorize publish, a stranger", output) == "✓"
    assert mark_of("authenticate, wrong password", output) == "-"
    assert re.search(r"authenticate, right password .*skipped: no credentials were given", output)
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "failing"),
    [
        pytest.param(
            ["--password", "not it"], "authenticate, right password", id="the password given is wrong"
        ),
        pytest.param(["--publish", "settings/x"], "authorize publish", id="a topic it may not publish to"),
        pytest.param(["--subscribe", "#"], "authorize subscribe", id="a filter it may not subscribe to"),
    ],
)
def test_a_check_that_fails_is_marked_and_told_by_the_exit_code(
    arguments: list[str], failing: str, pump: None, start_endpoint: StartEndpoint
) -> None:
    with start_endpoint() as endpoint:
        code, output = run_probe("--target", endpoint.address, "--username", "pump-17", *arguments)
    assert code == 1
    assert mark_of(failing, output) == "✗"
    assert output.count("✗") == 1
    assert "not it" not in output


def test_the_password_may_come_from_the_environment(
    pump: None, start_endpoint: StartEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXHOOK_PROBE_PASSWORD", PASSWORD)
    with start_endpoint() as endpoint:
        code, output = run_probe("--target", endpoint.address, "--client-id", "pump-17")
    assert code == 0, output
    assert mark_of("authenticate, right password", output) == "✓"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--password", "x"], "Whose password is it"),
        (["--publish", "a/b"], "Who asks"),
        (["--ca", "ca.pem"], "--ca is for TLS: add --tls"),
        (["--tls", "--cert", "c.pem"], "--cert and --key belong together"),
        (["--tls", "--ca", "no-such.pem"], "no-such.pem: No such file"),
        (["--username", "u", "--password-file", "no-such"], "no-such: No such file"),
        (["--username", "u", "--password", "x", "--password-file", "f"], "not both"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], problem: str) -> None:
    code, output = run_probe(*arguments)
    assert code == 2
    assert problem in output


def test_nothing_listens() -> None:
    code, output = run_probe("--target", "127.0.0.1:1")
    assert code == 2
    assert "Nothing listens at 127.0.0.1:1. Is the endpoint running (manage.py run_exhook)" in output


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that is none for gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                # The client may hang up at any moment.
                with connection, suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_another_program_listens() -> None:
    with tcp_server(lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n")) as address:
        code, output = run_probe("--target", address)
    assert code == 2
    assert "does another program listen there?" in output


def test_a_plain_endpoint_is_no_tls_endpoint(start_endpoint: StartEndpoint) -> None:
    with start_endpoint() as endpoint:
        code, output = run_probe("--target", endpoint.address, "--tls")
    assert code == 2
    assert "Does the endpoint use TLS at all?" in output


class Anything(grpc.GenericRpcHandler):
    """Answers every RPC by its hook, and what is not in the answers with UNIMPLEMENTED."""

    def __init__(self, answers: dict[Hook, bytes]) -> None:
        self._answers = answers

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = METHODS.get(details.method)
        if method is None or method.hook not in self._answers:
            return None
        reply = self._answers[method.hook]
        return grpc.unary_unary_rpc_method_handler(lambda request, context: reply)


def loaded(*hooks: str) -> bytes:
    pb2 = VERSIONS[2].pb2
    reply: bytes = pb2.LoadedResponse(hooks=[pb2.HookSpec(name=name) for name in hooks]).SerializeToString()
    return reply


GOOD: dict[Hook, bytes] = dict.fromkeys(Hook, EMPTY_SUCCESS) | {
    Hook.PROVIDER_LOADED: loaded("client.authenticate", "client.authorize"),
    Hook.CLIENT_AUTHENTICATE: DENY,
    Hook.CLIENT_AUTHORIZE: DENY,
}


@contextmanager
def grpc_server(
    answers: dict[Hook, bytes], credentials: grpc.ServerCredentials | None = None
) -> Iterator[str]:
    """A synchronous gRPC server with fixed answers."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Anything(answers)])
    servicer = health.HealthServicer()
    for version in VERSIONS:
        servicer.set(version.service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if credentials:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.mark.parametrize(
    ("changes", "failing", "got"),
    [
        pytest.param(
            {Hook.CLIENT_AUTHENTICATE: ALLOW}, "authenticate, a stranger", "allowed", id="admits all"
        ),
        pytest.param(
            {Hook.CLIENT_AUTHENTICATE: b"\x08\x01"}, "authenticate, a stranger", "abstained", id="abstains"
        ),
        pytest.param(
            {Hook.CLIENT_AUTHENTICATE: b"\x08\x02"}, "authenticate, a stranger", "no decision", id="no value"
        ),
        pytest.param({Hook.CLIENT_AUTHORIZE: ALLOW}, "authorize publish, a stranger", "allowed", id="lax"),
        pytest.param({Hook.PROVIDER_LOADED: b""}, "load", "none", id="declares no hook"),
        pytest.param(
            {Hook.PROVIDER_LOADED: loaded("client.check_acl")}, "load", "unknown to EMQX", id="spelt as in v1"
        ),
    ],
)
def test_a_wrong_answer_is_found(changes: dict[Hook, bytes], failing: str, got: str) -> None:
    with grpc_server(GOOD | changes) as address:
        code, output = run_probe("--target", address)
    assert code == 1
    assert mark_of(failing, output) == "✗"
    assert got in output


def test_a_missing_rpc_is_found() -> None:
    answers: dict[Hook, bytes] = {
        hook: reply for hook, reply in GOOD.items() if hook != Hook.SESSION_TERMINATED
    }
    with grpc_server(answers) as address:
        code, output = run_probe("--target", address)
    assert code == 1
    assert mark_of("session terminated", output) == "✗"
    assert "UNIMPLEMENTED" in output
    assert mark_of("unload", output) == "✓"


def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    ca = new_ca(days=1)
    server = issue(ca, "endpoint.test", ["endpoint.test"])
    ca.write(tmp_path, "ca")
    issue(ca, "emqx.test").write(tmp_path, "emqx")
    credentials = grpc.ssl_server_credentials(
        [(server.key_pem, server.certificate_pem)], ca.certificate_pem, require_client_auth=True
    )
    tls = ["--tls", "--ca", str(tmp_path / "ca.pem"), "--server-name", "endpoint.test"]
    pair = ["--cert", str(tmp_path / "emqx.pem"), "--key", str(tmp_path / "emqx.key")]
    with grpc_server(GOOD, credentials) as address:
        code, output = run_probe("--target", address, *tls, *pair)
        assert code == 0, output
        code, output = run_probe("--target", address, *tls)
        assert code == 2, output
        code, output = run_probe("--target", address, "--tls", *pair)
        assert code == 2
        assert "Is --ca the authority that signed its certificate" in output
