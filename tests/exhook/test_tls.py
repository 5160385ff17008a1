"""TLS of the endpoint: what is refused at the start, who is let in, certificates renewed while it serves."""

import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.core.management import CommandError, call_command
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from exhookadmin.exhook import preflight, tls
from exhookadmin.exhook.demo.certificates import Issued, issue, new_ca
from exhookadmin.exhook.demo.endpoint import Endpoint as Process
from exhookadmin.exhook.demo.endpoint import EndpointFailed
from exhookadmin.exhook.grpcio_transport import GrpcioTransport
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.tls import ServerTls, TlsFiles, TlsProblem, read_certificates
from tests.endpoint import StartEndpoint
from tests.exhook import server
from tests.exhook.processes import eventually, get, log_lines, metric, said
from tests.exhook.server import V3, Endpoint, authenticate_request, method_of

SECONDS = 20.0
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def ca() -> Issued:
    return new_ca(days=60)


@pytest.fixture
def files(ca: Issued, tmp_path: Path) -> TlsFiles:
    """A certificate for this machine, as an operator would lay it out."""
    issue(ca, "endpoint.test", ["localhost", "127.0.0.1"], days=30).write(tmp_path, "server")
    ca.write(tmp_path, "ca")
    return TlsFiles(tmp_path / "server.pem", tmp_path / "server.key")


# What is refused at the start


def missing(files: TlsFiles, ca: Issued) -> None:
    files.cert.unlink()


def directory(files: TlsFiles, ca: Issued) -> None:
    files.key.unlink()
    files.key.mkdir()


def no_certificate(files: TlsFiles, ca: Issued) -> None:
    files.cert.write_text("hello")


def no_key(files: TlsFiles, ca: Issued) -> None:
    files.key.write_bytes(files.cert.read_bytes())


def passphrase(files: TlsFiles, ca: Issued) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    protected = BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protected))


def other_key(files: TlsFiles, ca: Issued) -> None:
    files.key.write_bytes(issue(ca, "other").key_pem)


def issuer_first(files: TlsFiles, ca: Issued) -> None:
    files.cert.write_bytes(ca.certificate_pem + files.cert.read_bytes())


def odd_curve(files: TlsFiles, ca: Issued) -> None:
    key = ec.generate_private_key(ec.SECP224R1())
    usual = x509.load_pem_x509_certificate(files.cert.read_bytes())
    builder = x509.CertificateBuilder(
        usual.issuer,
        usual.subject,
        key.public_key(),
        usual.serial_number,
        usual.not_valid_before_utc,
        usual.not_valid_after_utc,
    )
    odd = builder.sign(ca.key, hashes.SHA256())
    files.cert.write_bytes(odd.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def expired(files: TlsFiles, ca: Issued) -> None:
    issue(ca, "endpoint.test", days=1, start=NOW - timedelta(days=3)).write(files.cert.parent, "server")


def not_yet_valid(files: TlsFiles, ca: Issued) -> None:
    issue(ca, "endpoint.test", days=9, start=NOW + timedelta(days=1)).write(files.cert.parent, "server")


@pytest.mark.parametrize(
    ("spoil", "setting", "file", "says"),
    [
        (missing, tls.CERT, "server.pem", "cannot be read (No such file or directory). Check the path"),
        (directory, tls.KEY, "server.key", "cannot be read (Is a directory). Check the path"),
        (no_certificate, tls.CERT, "server.pem", "holds no certificate that can be read. It must be a PEM"),
        (no_key, tls.KEY, "server.key", "holds no private key that can be read. It must be a PEM"),
        (passphrase, tls.KEY, "server.key", "is protected by a passphrase. Store the key without one"),
        (other_key, tls.KEY, "server.key", "does not belong to the certificate in EXHOOK_TLS_CERT"),
        (issuer_first, tls.CERT, "server.pem", "begins with another certificate than the server’s own. Put"),
        (odd_curve, tls.CERT, "server.pem", "of a kind that cannot be used. Make a new one: EC on the curve"),
        (expired, tls.CERT, "server.pem", f"expired on {NOW - timedelta(days=2):%Y-%m-%d}"),
        (not_yet_valid, tls.CERT, "server.pem", f"not valid before {NOW + timedelta(days=1):%Y-%m-%d}"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_file_that_cannot_be_used_is_named_with_its_setting_and_the_fix(
    files: TlsFiles,
    ca: Issued,
    spoil: Callable[[TlsFiles, Issued], None],
    setting: str,
    file: str,
    says: str,
) -> None:
    read_certificates(files)
    spoil(files, ca)
    with pytest.raises(TlsProblem) as problem:
        read_certificates(files)
    text = str(problem.value)
    assert text.startswith(f"{setting}: ")
    assert str(files.cert.parent / file) in text
    assert says in text


def test_a_client_ca_is_checked_and_the_newest_of_a_bundle_counts(files: TlsFiles, tmp_path: Path) -> None:
    old, new, later = new_ca(days=1), new_ca(days=20), NOW + timedelta(days=2)
    bundle = tmp_path / "clients.pem"
    files = replace(files, client_ca=bundle)
    bundle.write_bytes(old.certificate_pem)
    with pytest.raises(TlsProblem, match=r"EXHOOK_TLS_CLIENT_CA: .*expired"):
        read_certificates(files, later)
    bundle.write_bytes(old.certificate_pem + new.certificate_pem)
    certificates = read_certificates(files, later)
    assert certificates.client_ca == bundle.read_bytes()
    assert certificates.expiring == f"EXHOOK_TLS_CLIENT_CA ({bundle})"


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({tls.CERT: "c.pem"}, "EXHOOK_TLS_KEY is not set."),
        ({tls.KEY: "k.pem"}, "EXHOOK_TLS_CERT is not set."),
        ({tls.CLIENT_CA: "ca.pem"}, "EXHOOK_TLS_CERT is not set."),
        (
            {tls.CERT: "c.pem", tls.KEY: "k.pem", tls.CLIENT_NAMES: ["emqx"]},
            "EXHOOK_TLS_CLIENT_NAMES is set and EXHOOK_TLS_CLIENT_CA is not.",
        ),
    ],
    ids=["no key", "no certificate", "only a client CA", "names without a CA"],
)
def test_settings_that_cannot_be_meant(settings: Any, chosen: dict[str, Any], says: str) -> None:
    assert not tls.settings_present()
    assert tls.files_from_settings() is None
    for name, value in chosen.items():
        setattr(settings, name, value)
    assert tls.settings_present()
    with pytest.raises(preflight.CannotStart, match=says):
        preflight.check_settings()


def test_the_native_transport_has_no_tls(settings: Any) -> None:
    settings.EXHOOK_TRANSPORT = "native"
    settings.EXHOOK_TLS_CERT = "server.pem"
    with pytest.raises(preflight.CannotStart, match=r"plain text only.*Choose EXHOOK_TRANSPORT=grpcio"):
        preflight.check_settings()


@pytest.mark.parametrize(
    ("left", "warning"),
    [
        (timedelta(days=14, seconds=1), ""),
        (timedelta(days=14), "X expires on 2030-01-15 12:00 UTC, in 14 days. Renew the file and send SIGHUP"),
        (timedelta(hours=3), "X expires on 2030-01-01 15:00 UTC, in less than a day. Renew"),
        (timedelta(0), "X expired on 2030-01-01 12:00 UTC: brokers that check it no longer connect."),
    ],
    ids=["more than 14 days", "14 days", "hours", "over"],
)
def test_the_end_is_announced_14_days_before(left: timedelta, warning: str) -> None:
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    said = tls.expiry_warning(now + left, "X", now)
    assert said.startswith(warning)
    assert bool(said) is bool(warning)


# Who is let in


@pytest.fixture
def serve(database: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[ServerTls], Any]:
    """A running endpoint with these certificates."""

    @contextmanager
    def start(server_tls: ServerTls) -> Iterator[Endpoint]:
        monkeypatch.setitem(server.TRANSPORTS, "tls", lambda front: GrpcioTransport(front, server_tls))
        with server.running_endpoint("tls") as endpoint:
            yield endpoint

    return start


@contextmanager
def channel(port: int, ca: Issued, client: Issued | None = None) -> Iterator[grpc.Channel]:
    """A connection of its own, with this client certificate."""
    credentials = grpc.ssl_channel_credentials(
        ca.certificate_pem, client.key_pem if client else None, client.certificate_pem if client else None
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as opened:
        yield opened


def ask(opened: grpc.Channel) -> bytes:
    """A login of a device that does not exist: answered with a denial, if at all."""
    request = authenticate_request(V3, clientid="x", username="x")
    path = method_of(V3, Hook.CLIENT_AUTHENTICATE).path
    reply: bytes = opened.unary_unary(path)(request.SerializeToString(), timeout=SECONDS)
    return reply


def refusal(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code()


def test_without_a_client_ca_everybody_may_ask_over_tls_and_nobody_without(
    serve: Any, files: TlsFiles, ca: Issued
) -> None:
    with serve(ServerTls(files)) as endpoint:
        with channel(endpoint.port, ca) as opened:
            assert ask(opened)
        with channel(endpoint.port, new_ca(days=1)) as opened:
            assert refusal(lambda: ask(opened)) is grpc.StatusCode.UNAVAILABLE
        assert refusal(lambda: ask(endpoint.channel)) is grpc.StatusCode.UNAVAILABLE


def test_with_a_client_ca_only_its_certificates_may_ask(
    serve: Any, files: TlsFiles, ca: Issued, tmp_path: Path
) -> None:
    with serve(ServerTls(replace(files, client_ca=tmp_path / "ca.pem"))) as endpoint:
        with channel(endpoint.port, ca, issue(ca, "anybody")) as opened:
            assert ask(opened)
        for stranger in (None, issue(new_ca(days=1), "anybody")):
            with channel(endpoint.port, ca, stranger) as opened:
                assert refusal(lambda: ask(opened)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "alternative_names", "let_in"),
    [
        ("emqx-1", [], True),
        ("node", ["emqx-2.example.org"], True),
        ("node", ["192.0.2.7"], True),
        ("emqx-10", [], False),
        ("EMQX-1", [], False),
        ("other", ["emqx-3.example.org"], False),
    ],
    ids=["by CN", "by DNS name", "by address", "a longer name", "another case", "another name"],
)
def test_of_these_only_the_named_may_ask(
    serve: Any,
    files: TlsFiles,
    ca: Issued,
    tmp_path: Path,
    name: str,
    alternative_names: list[str],
    let_in: bool,
) -> None:
    names = frozenset({"emqx-1", "emqx-2.example.org", "192.0.2.7"})
    client = issue(ca, name, alternative_names)
    with (
        serve(ServerTls(replace(files, client_ca=tmp_path / "ca.pem", client_names=names))) as endpoint,
        channel(endpoint.port, ca, client) as opened,
    ):
        health = health_pb2_grpc.HealthStub(opened)
        check = health_pb2.HealthCheckRequest()
        reflection = reflection_pb2_grpc.ServerReflectionStub(opened)
        wish = reflection_pb2.ServerReflectionRequest(list_services="")
        calls: list[Callable[[], Any]] = [
            lambda: ask(opened),
            lambda: health.Check(check, timeout=SECONDS),
            lambda: next(health.Watch(check, timeout=SECONDS)),
            lambda: next(reflection.ServerReflectionInfo(iter([wish]), timeout=SECONDS)),
        ]
        for call in calls:
            if let_in:
                assert call()
            else:
                assert refusal(call) is grpc.StatusCode.PERMISSION_DENIED
        assert endpoint.front.tally.refused["client_name"] == (0 if let_in else len(calls))


# New certificates while serving


def certificate_of(port: int) -> x509.Certificate:
    """What a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as connection,
        context.wrap_socket(connection) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown)


def states_of(opened: grpc.Channel) -> list[grpc.ChannelConnectivity]:
    """Grows with every change: a connection that is kept stays READY."""
    states: list[grpc.ChannelConnectivity] = []
    ready = threading.Event()

    def note(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if state is grpc.ChannelConnectivity.READY:
            ready.set()

    opened.subscribe(note, try_to_connect=True)
    assert ready.wait(SECONDS)
    states.clear()
    return states


def test_a_reload_is_for_new_connections_and_a_bad_one_changes_nothing(
    serve: Any, files: TlsFiles, ca: Issued
) -> None:
    server_tls = ServerTls(files)
    first = server_tls.current.expires_at
    with serve(server_tls) as endpoint, channel(endpoint.port, ca) as opened:
        states = states_of(opened)
        before = certificate_of(endpoint.port).serial_number

        other_key(files, ca)
        assert server_tls.reload() is False
        assert certificate_of(endpoint.port).serial_number == before
        assert server_tls.current.expires_at == first

        renewed = issue(ca, "endpoint.test", ["localhost"], days=40)
        renewed.write(files.cert.parent, "server")
        assert server_tls.reload() is True
        assert certificate_of(endpoint.port).serial_number == renewed.certificate.serial_number
        assert server_tls.current.expires_at == renewed.certificate.not_valid_after_utc
        assert (server_tls.reloads, server_tls.failed_reloads) == (1, 1)
        assert ask(opened)
        assert states == []


def test_sighup_renews_in_every_worker_while_connections_live(
    start_endpoint: StartEndpoint, files: TlsFiles, ca: Issued
) -> None:
    tls_settings = {tls.CERT: str(files.cert), tls.KEY: str(files.key)}
    with start_endpoint("--workers", "2", **tls_settings) as endpoint:
        port = int(endpoint.address.rpartition(":")[2])
        with channel(port, ca) as opened:
            states = states_of(opened)
            renewed = issue(ca, "endpoint.test", ["localhost"], days=3)
            renewed.write(files.cert.parent, "server")
            endpoint.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(said(endpoint, "certificates reloaded")) == 2)
            # The kernel spreads connections over the workers by their ports.
            shown = {certificate_of(port).serial_number for _ in range(16)}
            assert shown == {renewed.certificate.serial_number}
            assert ask(opened)
            assert states == []
        expiry = "exhook_tls_certificate_expiry_timestamp_seconds"
        ends = renewed.certificate.not_valid_after_utc
        eventually(lambda: metric(endpoint, expiry) == 2 * ends.timestamp())
        eventually(lambda: metric(endpoint, "exhook_tls_reloads_total", result="ok") == 2)

        # It ends within 14 days, which log and health say, and which is no reason to stop.
        warning = f"EXHOOK_TLS_CERT ({files.cert}) expires on {ends:%Y-%m-%d %H:%M} UTC"
        eventually(lambda: get(endpoint, "/readyz")[1].count(warning) == 2)
        assert get(endpoint, "/readyz")[0] == 200
        eventually(lambda: said_beginning(endpoint, warning))
        logged = [line for line in said_beginning(endpoint, warning) if line["level"] == "WARNING"]
        assert len(logged) == 1

        files.cert.unlink()
        endpoint.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(said(endpoint, "certificates not reloaded, the old ones stay in use")) == 2)
        assert certificate_of(port).serial_number == renewed.certificate.serial_number
        eventually(lambda: metric(endpoint, "exhook_tls_reloads_total", result="failed") == 2)


def said_beginning(endpoint: Process, text: str) -> list[dict[str, Any]]:
    return [line for line in log_lines(endpoint) if line["message"].startswith(text)]


def test_run_exhook_says_what_is_wrong_with_the_certificates(
    start_endpoint: StartEndpoint, files: TlsFiles, ca: Issued
) -> None:
    other_key(files, ca)
    tls_settings = {tls.CERT: str(files.cert), tls.KEY: str(files.key)}
    with pytest.raises(EndpointFailed) as failure, start_endpoint(**tls_settings):
        pass
    assert "ended with status 1" in str(failure.value)
    assert f"CommandError: EXHOOK_TLS_KEY: {files.key} does not belong" in str(failure.value)
    assert "Traceback" not in str(failure.value)


# make certs


def test_make_certs_makes_what_the_endpoint_takes(serve: Any, tmp_path: Path, capsys: Any) -> None:
    made = tmp_path / "certs"
    call_command("make_certs", directory=made, host=["exhook.example.org"])
    assert f"EXHOOK_TLS_CERT={made / 'server.pem'}\n" in capsys.readouterr().out
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in made.iterdir()} == {
        "ca.pem": "644",
        "ca.key": "600",
        "server.pem": "644",
        "server.key": "600",
        "client.pem": "644",
        "client.key": "600",
    }
    files = TlsFiles(made / "server.pem", made / "server.key", made / "ca.pem", frozenset({"emqx"}))
    demo_ca, client = (issued(made, name) for name in ("ca", "client"))
    with serve(ServerTls(files)) as endpoint, channel(endpoint.port, demo_ca, client) as opened:
        assert ask(opened)
        target = f"localhost:{endpoint.port}"
        pair = {"cert": made / "client.pem", "key": made / "client.key"}
        call_command("exhook_probe", target=target, tls=True, ca=made / "ca.pem", **pair)
        with pytest.raises(CommandError):
            call_command("exhook_probe", target=target, tls=True, ca=made / "ca.pem")
    first = (made / "server.pem").read_bytes()

    # Run again it renews under the same CA, which EMQX knows by now.
    call_command("make_certs", directory=made)
    assert "kept from an earlier run" in capsys.readouterr().out
    assert (made / "ca.pem").read_bytes() == demo_ca.certificate_pem
    assert read_certificates(files).chain != first


def issued(directory: Path, name: str) -> Issued:
    certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
    key = load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Issued(certificate, key)
