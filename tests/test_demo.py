"""End to end: paho-mqtt devices, a real broker with the bridge, a real endpoint process, the audit log.

paho-mqtt ── MQTT ── amqtt + bridge ── gRPC ── manage.py run_exhook ── database
"""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.models import Device, DeviceGroup
from accounts.services import add_password, create_device, create_token, delete_devices
from acl.models import Policy
from acl.services import create_rule
from audit.fact import Kind
from audit.models import Event, Session
from exhookadmin.console.endpoint_reading import read_endpoint
from exhookadmin.exhook.demo import fleet
from exhookadmin.exhook.demo.bridge import EndpointSilent
from exhookadmin.exhook.demo.broker import PortTaken, running_broker
from exhookadmin.exhook.demo.devices import ACCEPTED, NOT_AUTHORIZED, REFUSED, MqttDevice, connected
from tests.endpoint import StartEndpoint, child_environment, wait_until

pytestmark = pytest.mark.usefixtures("patient_broker")

PASSWORD = "correct horse"


@pytest.fixture
def token(transactional_db: None) -> str:
    """Two devices, meter and panel, and a disabled one. Answers panel's token."""
    meter = create_device("meter")
    add_password(meter, PASSWORD)
    create_rule(meter, "allow", "publish", "home/${clientid}/power")
    panel = create_device("panel")
    _, token = create_token(panel)
    create_rule(panel, "allow", "subscribe", "home/+/power")
    add_password(create_device("broken-meter", enabled=False), PASSWORD)
    return token


@contextmanager
def broker(start_endpoint: StartEndpoint, **environment: str) -> Iterator[int]:
    """An endpoint and a broker that asks it. Yields the broker's port."""
    silent: list[str] = []
    with (
        start_endpoint(**environment) as endpoint,
        running_broker(endpoint.address, failed=silent.append) as port,
    ):
        yield port
    assert silent == []


def meter(port: int, password: str = PASSWORD, name: str = "meter") -> MqttDevice:
    return MqttDevice(name, port, username=name, password=password)


def panel(port: int, token: str) -> MqttDevice:
    return MqttDevice("panel", port, username="panel", password=token)


def events(*fields: str, **which: Any) -> list[tuple[Any, ...]]:
    return list(Event.objects.filter(**which).order_by("time", "pk").values_list(*fields))


def test_a_device_connects_and_leaves(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        device = meter(port)
        with connected(device) as code:
            assert code == ACCEPTED
            wait_until(lambda: Session.objects.online().filter(client_id="meter", device="meter").exists())
            address = Session.objects.get().address
    assert address == "127.0.0.1"
    assert events("kind", "device", "detail", cluster="demo", client_id="meter") == [
        (Kind.CONNECTED, "meter", ""),
        (Kind.DISCONNECTED, "meter", "normal"),
    ]
    assert Session.objects.get().end_reason == "normal"


def test_a_device_that_vanishes(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        device = meter(port)
        assert device.connect() == ACCEPTED
        device.vanish()
        wait_until(lambda: Session.objects.filter(end_reason="tcp_closed").exists())
    assert Event.objects.get(kind=Kind.DISCONNECTED).detail == "tcp_closed"


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        pytest.param("meter", "wrong horse", "credential_wrong", id="wrong password"),
        pytest.param("meter", "", "credential_missing", id="no password"),
        pytest.param("broken-meter", PASSWORD, "device_disabled", id="disabled device"),
        pytest.param("nobody", PASSWORD, "unknown_device", id="unknown device"),
    ],
)
def test_a_connection_is_refused(
    name: str, password: str, reason: str, token: str, start_endpoint: StartEndpoint
) -> None:
    with broker(start_endpoint) as port:
        assert meter(port, password, name).connect() == NOT_AUTHORIZED
    known = name if name != "nobody" else ""
    assert events("kind", "device", "username", "allowed", "reason", "detail", client_id=name) == [
        (Kind.AUTHENTICATE, known, name, False, reason, ""),
        (Kind.CONNACK, known, name, False, "", "not_authorized"),
    ]
    assert not Session.objects.exists()


def test_a_message_arrives_where_both_may(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        watching, measuring = panel(port, token), meter(port)
        with connected(watching), connected(measuring):
            assert watching.subscribe("home/+/power", qos=1) == 1
            measuring.publish("home/meter/power", "230")
            assert watching.received.get(timeout=60) == ("home/meter/power", b"230")
    assert not Event.objects.filter(kind=Kind.AUTHORIZE).exists()


def test_a_message_that_is_denied_does_not_arrive(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        watching, measuring = panel(port, token), meter(port)
        with connected(watching), connected(measuring):
            assert watching.subscribe("home/+/power", qos=1) == 1
            measuring.publish("home/panel/power", "0")  # not its own topic
            measuring.publish("home/meter/power", "230")
            assert watching.received.get(timeout=60) == ("home/meter/power", b"230")
            with pytest.raises(queue.Empty):
                watching.received.get(timeout=0.3)
    assert events("device", "action", "topic", "reason", kind=Kind.AUTHORIZE) == [
        ("meter", "publish", "home/panel/power", "no_rule_matched")
    ]


def test_subscriptions_are_granted_and_denied_one_by_one(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        watching = panel(port, token)
        with connected(watching):
            codes = [watching.subscribe(wanted) for wanted in ("home/1/power", "home/#", "#", "home/+/power")]
    assert codes == [0, REFUSED, REFUSED, 0]
    assert events("device", "action", "topic", "reason", kind=Kind.AUTHORIZE) == [
        ("panel", "subscribe", "home/#", "no_rule_matched"),
        ("panel", "subscribe", "#", "no_rule_matched"),
    ]


def test_disabling_a_device_bites_while_it_is_connected(token: str, start_endpoint: StartEndpoint) -> None:
    with broker(start_endpoint) as port:
        watching = panel(port, token)
        with connected(watching):
            assert watching.subscribe("home/1/power") == 0
            Device.objects.filter(username="panel").update(enabled=False)
            wait_until(lambda: watching.subscribe("home/1/power") == REFUSED)
    assert Event.objects.filter(kind=Kind.AUTHORIZE, reason="device_disabled").exists()


def test_only_declared_hooks_are_called(token: str, start_endpoint: StartEndpoint) -> None:
    """Without authorize among the hooks, nobody is asked; without connected, nobody is told."""
    with broker(start_endpoint, EXHOOK_HOOKS="client.authenticate") as port:
        device = meter(port)
        with connected(device) as code:
            assert code == ACCEPTED
            assert device.subscribe("#") == 0
        assert meter(port, "wrong horse").connect() == NOT_AUTHORIZED
    assert Counter(Event.objects.values_list("kind", flat=True)) == {
        Kind.PROVIDER_LOADED: 1,
        Kind.PROVIDER_UNLOADED: 1,
        Kind.AUTHENTICATE: 1,
    }


def test_every_hook_is_called_where_all_are_declared(token: str, start_endpoint: StartEndpoint) -> None:
    """An unanswered one fails `broker`; each that is answered is told of."""
    everything = (
        "client.connect,client.connack,client.connected,client.disconnected,client.authenticate,"
        "client.authorize,client.subscribe,client.unsubscribe,session.created,session.subscribed,"
        "session.unsubscribed,session.terminated,message.publish"
    )
    with broker(start_endpoint, EXHOOK_HOOKS=everything, EXHOOK_MESSAGE_TOPICS="#,$SYS/#") as port:
        watching, measuring = panel(port, token), meter(port)
        with connected(watching), connected(measuring):
            assert watching.subscribe("home/meter/power") == 0
            measuring.publish("home/meter/power", "230")
            assert watching.received.get(timeout=60) == ("home/meter/power", b"230")
    assert set(Session.objects.values_list("client_id", "end_reason")) == {
        ("meter", "normal"),
        ("panel", "normal"),
    }
    told = Event.objects.filter(client_id="panel").values_list("kind", flat=True)
    assert {"client.connect", "session.created", "client.subscribe", "session.subscribed"} <= set(told)
    sent = Event.objects.get(kind="message.publish")
    assert (sent.device, sent.client_id, sent.topic) == ("meter", "meter", "home/meter/power")
    assert sent.detail.startswith("qos 1, 3 bytes, id ")


def test_a_broker_without_an_endpoint_does_not_start() -> None:
    with pytest.raises(EndpointSilent), running_broker("127.0.0.1:1"):
        pass


def test_a_taken_port_is_told(token: str, start_endpoint: StartEndpoint) -> None:
    with (
        start_endpoint() as endpoint,
        running_broker(endpoint.address) as port,
        pytest.raises(PortTaken),
        running_broker(endpoint.address, port),
    ):
        pass


@pytest.fixture
def demo(start_endpoint: StartEndpoint, tmp_path: Path) -> Iterator[Any]:
    """Starts ``manage.py demo`` as a process. Nothing of it may stay behind."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, web: bool = False) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", *([] if web else ["--no-web"]), *arguments],
            cwd=settings.BASE_DIR,
            env={**os.environ, **child_environment(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=200)


def endpoint_in(output: str) -> str:
    found = re.search(r"Endpoint: (127\.0\.0\.1:\d+)", output)
    assert found, output
    return found[1]


def nothing_answers_at(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as trial:
        return trial.connect_ex((host, int(port))) != 0


OUTCOMES = (
    r"demo-gateway +connects: accepted",
    r"demo-gateway +subscribes to demo/site/\+/temperature: granted",
    r"demo-gateway +receives -?\d+\.\d °C on demo/site/demo-sensor-1/temperature",
    r"demo-forgetful +connects: refused \(CONNACK return code 5\)",
    r"demo-retired +connects: refused",
    r"demo-meddler +publishes to demo/secret/plan: refused",
    r"demo-curious +subscribes to #: refused \(SUBACK 0x80\)",
)


def test_the_demo_stops_by_itself(demo: Any) -> None:
    process = demo("--seconds", "1")
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.rstrip().endswith("Stopped. The devices and what happened stay in the database.")
    assert "Traceback" not in output
    assert nothing_answers_at(endpoint_in(output))
    assert not Session.objects.online().exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_demo_shows_every_outcome_and_stops_cleanly_when_told(number: signal.Signals, demo: Any) -> None:
    process = demo()
    output, missing = "", set(OUTCOMES)
    for line in process.stdout:
        output += line
        missing -= {outcome for outcome in missing if re.search(outcome, line)}
        if not missing:
            break
    assert not missing, output
    process.send_signal(number)
    rest, _ = process.communicate(timeout=180)
    assert process.returncode == 0, rest
    assert "Traceback" not in output + rest
    assert "exh_" not in output + rest
    assert "devices say goodbye" in rest
    assert nothing_answers_at(endpoint_in(output))
    # Loaded twice where the broker's usual port was taken and it began again on another one.
    loads = Event.objects.filter(kind=Kind.PROVIDER_LOADED).count()
    assert Event.objects.filter(kind=Kind.PROVIDER_UNLOADED).count() == loads >= 1
    refused = set(Event.objects.filter(allowed=False).values_list("kind", "device", "reason"))
    assert refused >= {
        (Kind.AUTHENTICATE, "demo-forgetful", "credential_wrong"),
        (Kind.AUTHENTICATE, "demo-retired", "device_disabled"),
        (Kind.AUTHORIZE, "demo-meddler", "rule_denies"),
        (Kind.AUTHORIZE, "demo-curious", "rule_denies"),
    }
    assert not Session.objects.online().exists()


@pytest.mark.django_db
def test_its_devices_are_made_anew_each_time_and_removed_without_a_trace() -> None:
    create_device("somebody-else")
    first = fleet.make_fleet()
    Device.objects.filter(username=fleet.GATEWAY).update(enabled=False)
    second = fleet.make_fleet()
    assert set(first.tokens) == set(second.tokens) == set(fleet.DEVICES)
    assert Device.objects.filter(username__in=fleet.DEVICES).count() == len(fleet.DEVICES)
    assert list(Device.objects.filter(enabled=False).values_list("username", flat=True)) == [fleet.RETIRED]
    assert all(name.startswith("demo-") for name in (*fleet.DEVICES, *fleet.GROUPS, *fleet.POLICIES))
    output = StringIO()
    call_command("demo", "--clean", stdout=output)
    made = len(fleet.DEVICES) + len(fleet.GROUPS) + len(fleet.POLICIES)
    assert f"Removed {made} devices, groups and policies" in output.getvalue()
    assert list(Device.objects.values_list("username", flat=True)) == ["somebody-else"]
    assert not DeviceGroup.objects.exists()
    assert not Policy.objects.exists()


@pytest.mark.django_db
def test_a_device_of_somebody_else_is_left_alone() -> None:
    create_device(fleet.GATEWAY, description="the real one")
    with pytest.raises(fleet.NameTaken, match="device “demo-gateway” that the demo did not make"):
        fleet.make_fleet()
    assert fleet.remove_fleet() == 0
    assert Device.objects.get().description == "the real one"
    delete_devices(Device.objects.all())


def test_the_home_page_of_the_demo_sees_its_endpoint(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        metrics = f"127.0.0.1:{found.getsockname()[1]}"
    monkeypatch.setenv("EXHOOK_METRICS", metrics)
    process = demo("--web", "127.0.0.1:0", web=True)
    for line in process.stdout:
        if line.startswith("Endpoint: "):
            break
    assert read_endpoint(metrics, seconds=30).problem == ""


@pytest.mark.parametrize("web", ["8000", "localhost:", ":http"])
def test_a_web_address_needs_host_and_port(web: str) -> None:
    with pytest.raises(CommandError, match="is not HOST:PORT"):
        call_command("demo", "--web", web)


@pytest.mark.django_db
def test_a_silent_target_is_told() -> None:
    with pytest.raises(CommandError, match=r"No endpoint answers at 127\.0\.0\.1:1"):
        call_command("demo", "--target", "127.0.0.1:1", "--mqtt-port", "0", stdout=StringIO())


@pytest.mark.django_db
def test_a_taken_web_address_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CommandError, match=f"{web} is in use"):
            call_command("demo", "--web", web, stdout=StringIO())
    assert not Device.objects.exists()
