"""Whole recordings of real brokers, replayed to a real endpoint process: every answer, event and session."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.services import add_password, create_device
from acl.services import create_policy, create_rule
from audit.fact import Kind
from audit.models import Event, Session
from audit.writer import write_facts
from exhookadmin.exhook.emqx import METHODS, Node, Target, Unreachable, open_channel
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.recordings import RecordedCall, read_recording
from exhookadmin.exhook.replay import Answer, expected_answer, percentile, replay
from exhookadmin.exhook.versions import VERSIONS
from tests.endpoint import StartEndpoint, wait_until
from tests.exhook.server import running_endpoint

DATA = Path(__file__).resolve().parent.parent / "data" / "recordings"
RECORDINGS = {
    "v1": (DATA / "emqx-4.4.19-v1.jsonl.gz", 770),
    "v2": (DATA / "emqx-5.3.2-v2.jsonl.gz", 805),
    "v3": (DATA / "emqx-5.10.1-v3.jsonl.gz", 785),
}
POLICY = "as recorded"
DENYING_RULE = f"deny all deny/# (policy {POLICY})"

Calls = list[tuple[RecordedCall, Hook, Any]]


def read(version: str) -> Calls:
    """Every call with its hook and its request message."""
    calls = []
    for call in read_recording(RECORDINGS[version][0]):
        method = METHODS[call.path]
        calls.append((call, method.hook, method.parse(call.request)))
    return calls


def identity(client: Any) -> str:
    return client.username or client.clientid


def set_up_what_the_provider_answered(calls: Calls) -> set[str]:
    """Devices and policies that mean: refuse baduser, deny deny/…, allow the rest. Answers the devices."""
    passwords: dict[str, set[str]] = {}
    for _, hook, request in calls:
        if hook == Hook.CLIENT_AUTHENTICATE:
            passwords.setdefault(identity(request.clientinfo), set()).add(request.clientinfo.password)
    for name, used in passwords.items():
        device = create_device(
            name,
            client_id_binding=Binding.ANY,
            credential_required="" not in used,
            enabled=name != "baduser",
        )
        for password in used - {""}:
            add_password(device, password)
    policy = create_policy(POLICY, everyone=True)
    create_rule(policy, "deny", "all", "deny/#")
    create_rule(policy, "allow", "all", "#")
    create_rule(policy, "allow", "all", "$SYS/#")
    return set(passwords)


def expected_events(calls: Calls, devices: set[str]) -> Counter[tuple[Any, ...]]:
    """What the log must say, read from the recording alone.

    kind, device, client id, username, allowed, reason, action, topic, rule, detail
    """
    events: Counter[tuple[Any, ...]] = Counter()
    for call, hook, request in calls:
        version = call.path.split(".")[2]
        if hook == Hook.PROVIDER_LOADED:
            detail = f"{request.broker.sysdescr} {request.broker.version}, protocol {version}"
            events[Kind.PROVIDER_LOADED, "", "", "", None, "", "", "", "", detail] += 1
        elif hook == Hook.PROVIDER_UNLOADED:
            events[Kind.PROVIDER_UNLOADED, "", "", "", None, "", "", "", "", f"protocol {version}"] += 1
        elif hook == Hook.CLIENT_CONNACK:
            client, code = request.conninfo, request.result_code
            if code != "success":
                device = identity(client) if identity(client) in devices else ""
                who = (device, client.clientid, client.username)
                events[Kind.CONNACK, *who, False, "", "", "", "", code] += 1
        elif hook in (
            Hook.CLIENT_AUTHENTICATE,
            Hook.CLIENT_AUTHORIZE,
            Hook.CLIENT_CONNECTED,
            Hook.CLIENT_DISCONNECTED,
        ):
            client = request.clientinfo
            who = (identity(client), client.clientid, client.username)
            if hook == Hook.CLIENT_CONNECTED:
                events[Kind.CONNECTED, *who, None, "", "", "", "", ""] += 1
            elif hook == Hook.CLIENT_DISCONNECTED:
                events[Kind.DISCONNECTED, *who, None, "", "", "", "", request.reason] += 1
            elif hook == Hook.CLIENT_AUTHENTICATE and client.username == "baduser":
                events[Kind.AUTHENTICATE, *who, False, "device_disabled", "", "", "", ""] += 1
            elif hook == Hook.CLIENT_AUTHORIZE and request.topic.startswith("deny/"):
                asked = ("subscribe" if request.type else "publish", request.topic)
                events[Kind.AUTHORIZE, *who, False, "rule_denies", *asked, DENYING_RULE, ""] += 1
    return events


def stored_events() -> Counter[tuple[Any, ...]]:
    return Counter(
        Event.objects.values_list(
            "kind",
            "device",
            "client_id",
            "username",
            "allowed",
            "reason",
            "action",
            "topic",
            "rule",
            "detail",
        )
    )


def expected_presence(calls: Calls) -> dict[str, str | None]:
    """Each client that ever connected: None while it is online, else why it went offline.

    A disconnect counts unless it tells of a connection that was replaced: by its reason, or because
    the device's port is that of an older one.
    """
    port_of: dict[str, int] = {}
    presence: dict[str, str | None] = {}
    for _, hook, request in calls:
        if hook == Hook.CLIENT_CONNECTED:
            client = request.clientinfo
            presence[client.clientid] = None
            port_of[client.clientid] = getattr(client, "peerport", 0)
        elif hook == Hook.CLIENT_DISCONNECTED and request.reason not in ("takenover", "discarded"):
            client = request.clientinfo
            same = port_of.get(client.clientid) == getattr(client, "peerport", 0)
            if same and presence[client.clientid] is None:
                presence[client.clientid] = request.reason
    return presence


def stored_presence() -> dict[str, str | None]:
    newest = Session.objects.order_by("connected_at", "pk")
    return {s.client_id: None if s.disconnected_at is None else s.end_reason for s in newest}


def busiest_moment(calls: Calls) -> int:
    """How many calls lead to the moment at which most clients are online."""
    online: set[str] = set()
    best = (0, 0)
    for number, (_, hook, request) in enumerate(calls, 1):
        if hook == Hook.CLIENT_CONNECTED:
            online.add(request.clientinfo.clientid)
        elif hook == Hook.CLIENT_DISCONNECTED and request.reason not in ("takenover", "discarded"):
            online.discard(request.clientinfo.clientid)
        best = max(best, (len(online), number))
    return best[1]


def send(address: str, calls: Iterable[RecordedCall]) -> list[Answer]:
    """With more patience than a broker has: the machine may have much else to do."""
    target = Target(address)
    patient = (replace(call, metadata={**call.metadata, "grpc-timeout": "60S"}) for call in calls)
    with open_channel(target) as channel:
        return list(replay(channel, target, patient))


@pytest.mark.parametrize("transport", ["grpcio", "native"])
@pytest.mark.parametrize("version", RECORDINGS)
def test_a_recording_is_answered_and_logged_as_it_happened(
    version: str, transport: str, start_endpoint: StartEndpoint
) -> None:
    calls = read(version)
    assert len(calls) == RECORDINGS[version][1]
    devices = set_up_what_the_provider_answered(calls)
    half = busiest_moment(calls)
    environment = {"EXHOOK_TRANSPORT": transport, "EXHOOK_FOLD_SECONDS": "0"}
    with start_endpoint("--workers", "2", **environment) as endpoint:
        answers = send(endpoint.address, (call for call, _, _ in calls[:half]))
        online = expected_presence(calls[:half])
        assert sum(reason is None for reason in online.values()) > 20
        wait_until(lambda: stored_presence() == online)
        answers += send(endpoint.address, (call for call, _, _ in calls[half:]))

    assert [answer.call.seq for answer in answers] == [call.seq for call, _, _ in calls]
    assert [answer.failure for answer in answers if not answer.ok] == []
    decided = [(answer, expected_answer(answer.call)) for answer in answers]
    assert Counter(expected for _, expected in decided)["denied"] >= 6
    assert [answer.call for answer, expected in decided if expected not in (None, answer.said)] == []

    assert stored_events() == expected_events(calls, devices)
    # The port tells connections apart, so every one of them is a session of its own.
    assert stored_presence() == expected_presence(calls)
    if version == "v3":
        assert Counter(Session.objects.values_list("client_id", "port", "end_reason")) == Counter(
            (request.clientinfo.clientid, request.clientinfo.peerport, request.reason)
            for _, hook, request in calls
            if hook == Hook.CLIENT_DISCONNECTED
        )


def metadata(sent: Any) -> str:
    moment = datetime.fromtimestamp(sent.timestamp / 1000, UTC).isoformat(timespec="milliseconds")
    return f"qos {sent.qos}, {len(sent.payload)} bytes, id {sent.id}, sent {moment}"


def expected_further_events(calls: Calls, devices: set[str]) -> Counter[tuple[Any, ...]]:
    """What the log must say besides when every hook is recorded, read from the recording alone."""
    events: Counter[tuple[Any, ...]] = Counter()

    def event(kind: str, client: Any, topic: str = "", detail: str = "") -> None:
        device = identity(client) if identity(client) in devices else ""
        events[kind, device, client.clientid, client.username, None, "", "", topic, "", detail] += 1

    for _, hook, request in calls:
        if hook == Hook.CLIENT_CONNECT:
            event(hook, request.conninfo, detail=f"keepalive {request.conninfo.keepalive} s")
        elif hook == Hook.CLIENT_SUBSCRIBE:
            for asked in request.topic_filters:
                qos = asked.qos if hasattr(asked, "qos") else asked.subopts.qos
                event(hook, request.clientinfo, asked.name, f"qos {qos}{extras(asked)}")
        elif hook == Hook.CLIENT_UNSUBSCRIBE:
            for given_up in request.topic_filters:
                event(hook, request.clientinfo, given_up.name)
        elif hook == Hook.SESSION_SUBSCRIBED:
            group = getattr(request.subopts, "share", "")
            wrapper = {"": "", "$queue": "$queue/"}.get(group, f"$share/{group}/")
            options = f"qos {request.subopts.qos}{extras(request)}"
            event(hook, request.clientinfo, wrapper + request.topic, options)
        elif hook == Hook.SESSION_UNSUBSCRIBED:
            event(hook, request.clientinfo, request.topic)
        elif hook == Hook.SESSION_TERMINATED:
            event(hook, request.clientinfo, detail=request.reason)
        elif hook.startswith("session."):
            event(hook, request.clientinfo)
        elif hook in (Hook.MESSAGE_DELIVERED, Hook.MESSAGE_ACKED):
            sent = request.message
            event(hook, request.clientinfo, sent.topic, f"{metadata(sent)}, from {getattr(sent, 'from')}")
        elif hook in (Hook.MESSAGE_PUBLISH, Hook.MESSAGE_DROPPED):
            sent = request.message
            client, username = getattr(sent, "from"), sent.headers.get("username", "")
            device = username if username in devices else ""
            why = f"{request.reason}: " if hook == Hook.MESSAGE_DROPPED else ""
            detail = why + metadata(sent)
            events[hook, device, client, username, None, "", "", sent.topic, "", detail] += 1
        if hook in (Hook.CLIENT_SUBSCRIBE, Hook.CLIENT_UNSUBSCRIBE) and not request.topic_filters:
            event(hook, request.clientinfo)
    return events


def extras(holds_options: Any) -> str:
    """Subscription options that the recorded MQTT 5 client asked for."""
    if not hasattr(holds_options, "subopts"):
        return ""
    options = holds_options.subopts
    flags = {"no local": options.nl, "retain as published": options.rap}
    told = [name for name, on in flags.items() if on] + [f"retain handling {options.rh}"] * bool(options.rh)
    return "".join(f", {name}" for name in told)


@pytest.mark.parametrize("version", RECORDINGS)
def test_with_every_hook_recorded_every_call_is_told_of(
    version: str, transport: str, settings: Any, database: None
) -> None:
    settings.EXHOOK_HOOKS = [hook.value for hook in Hook if not hook.startswith("provider.")]
    settings.EXHOOK_MESSAGE_TOPICS = ["#", "$SYS/#"]
    settings.EXHOOK_FOLD_SECONDS = 0
    calls = read(version)
    devices = set_up_what_the_provider_answered(calls)
    with running_endpoint(transport) as endpoint:
        answers = send(f"127.0.0.1:{endpoint.port}", (call for call, _, _ in calls))
    assert [answer.failure for answer in answers if not answer.ok] == []
    left_alone = [answer.said for answer in answers if answer.call.name == "OnMessagePublish"]
    assert left_alone == ["abstained"] * len(left_alone)

    write_facts(endpoint.facts)
    expected = expected_events(calls, devices) + expected_further_events(calls, devices)
    assert stored_events() == expected
    assert {kind for kind, *_ in expected} == {hook.value for hook in Hook}
    payloads = {request.message.payload for _, hook, request in calls if hook == Hook.MESSAGE_PUBLISH}
    said = "".join(fact.detail for fact in endpoint.facts)
    assert [payload for payload in payloads if len(payload) > 4 and payload.decode("latin1") in said] == []


@pytest.mark.parametrize(
    ("hook", "values", "detail"),
    [
        (Hook.CLIENT_DISCONNECTED, {"reason": "tcp_closed"}, "tcp_closed"),
        (Hook.CLIENT_CONNACK, {"result_code": "banned"}, "banned"),
    ],
    ids=["disconnected", "connack"],
)
def test_a_worker_that_never_saw_the_device_names_it_all_the_same(
    hook: Hook, values: dict[str, str], detail: str, start_endpoint: StartEndpoint
) -> None:
    """Its connect may have been another worker's, or long ago."""
    create_device("pump-17")
    method, request = Node(VERSIONS[2]).request(hook, Client("c-17", "pump-17"), **values)
    call = RecordedCall(1, 0.0, method.path, {"grpc-timeout": "5S"}, request, "")
    with start_endpoint() as endpoint:
        assert [answer.failure for answer in send(endpoint.address, [call])] == [""]
    assert Event.objects.values_list("device", "client_id", "detail").get(kind=str(hook)) == (
        "pump-17",
        "c-17",
        detail,
    )


def run_replay(*arguments: Any) -> tuple[int, str]:
    """Exit code and output of the command."""
    output = StringIO()
    try:
        call_command("replay", *map(str, arguments), stdout=output)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, output.getvalue()


def test_the_command_reports_per_method_and_compares(start_endpoint: StartEndpoint) -> None:
    recording, total = RECORDINGS["v3"]
    set_up_what_the_provider_answered(read("v3"))
    with start_endpoint() as endpoint:
        code, output = run_replay(recording, "--target", endpoint.address, "--compare")
    assert code == 0, output
    assert f"{total} calls, {total} OK, 0 failed, 0 decided differently" in output
    assert re.search(r"^OnClientAuthenticate +66 +66 +0 +\d+\.\d\d +\d+\.\d\d$", output, re.MULTILINE)
    assert re.search(r"^OnSessionTakenover +4 +4 +0 ", output, re.MULTILINE)


def test_a_different_answer_is_named_without_secrets(start_endpoint: StartEndpoint) -> None:
    """To an empty database everybody is a stranger, which the recorded provider let in."""
    with start_endpoint() as endpoint:
        code, output = run_replay(RECORDINGS["v2"][0], "--target", endpoint.address, "--compare")
    assert code == 1
    assert "client “c-v4up”, username “alice”: recorded allowed, now denied" in output
    assert "baduser" not in output
    assert "secret" not in output


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "text.jsonl").write_text("hello")
    for name, problem in (
        ("absent.jsonl", "absent.jsonl cannot be read: No such file or directory"),
        ("empty.jsonl", "empty.jsonl holds no calls"),
        ("text.jsonl", "text.jsonl, line 1: not a recorded call"),
    ):
        code, output = run_replay(tmp_path / name)
        assert code == 2
        assert problem in output


@pytest.mark.parametrize("speed", ["0", "-1", "fast"])
def test_a_speed_is_a_number_above_0(speed: str) -> None:
    code, output = run_replay(RECORDINGS["v1"][0], "--speed", speed)
    assert code != 0
    assert "is no speed" in output


def test_nothing_listens() -> None:
    code, output = run_replay(RECORDINGS["v1"][0], "--target", "127.0.0.1:1")
    assert code == 2
    assert "Nothing listens at 127.0.0.1:1" in output
    assert "manage.py run_exhook" in output


def recorded(path: str, *moments: float) -> list[RecordedCall]:
    return [RecordedCall(number, at, path, {}, b"", "") for number, at in enumerate(moments, 1)]


def test_a_call_that_fails_is_told_apart_and_the_rest_is_sent(start_endpoint: StartEndpoint) -> None:
    known = "/emqx.exhook.v3.HookProvider/OnClientConnect"
    unknown = "/emqx.exhook.v9.HookProvider/OnClientConnect"
    with start_endpoint() as endpoint:
        answers = send(endpoint.address, [*recorded(unknown, 0), *recorded(known, 1)])
    assert [answer.ok for answer in answers] == [False, True]
    assert answers[0].failure.startswith("UNIMPLEMENTED")


def test_the_recorded_pace_is_kept_at_the_speed_asked_for(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each at its moment since the beginning, however long the answers before it took."""
    calls = recorded("/emqx.exhook.v3.HookProvider/OnClientConnect", 10.0, 10.4, 11.2, 11.6)
    now = [1_000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("exhookadmin.exhook.replay.time", clock)
    sent = []
    with running_endpoint("grpcio") as endpoint:
        target = Target(f"127.0.0.1:{endpoint.port}")
        with open_channel(target) as channel:
            for number, answer in enumerate(replay(channel, target, calls, speed=4)):
                assert answer.ok
                sent.append(now[0] - 1_000.0)
                # The second answer takes a while, the third longer than there is to the fourth call.
                now[0] += (0.0, 0.05, 0.5, 0.0)[number]
    assert sent == pytest.approx([0.0, 0.1, 0.3, 0.8])


def test_an_endpoint_that_went_away_is_told_of_the_first_call_only() -> None:
    target = Target("127.0.0.1:1")
    with open_channel(target) as channel, pytest.raises(Unreachable, match="Nothing listens"):
        list(replay(channel, target, recorded("/emqx.exhook.v3.HookProvider/OnClientConnect", 0, 1)))


@pytest.mark.parametrize(("percent", "expected"), [(50, 5.0), (95, 10.0), (90, 9.0), (1, 1.0), (100, 10.0)])
def test_percentiles_are_values_that_occurred(percent: int, expected: float) -> None:
    assert percentile([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], percent) == expected
