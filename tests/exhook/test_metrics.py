"""What is counted, how it adds up over workers, and the port that serves it."""

import http.client
import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from accounts import services as accounts_services
from accounts.core.decision import Reason, deny
from acl import services as acl_services
from audit.recorder import Recorder
from exhookadmin.exhook.feed import Feed
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.metrics import (
    DURATION_BUCKETS,
    SUPERVISOR_METRICS,
    WORKER_METRICS,
    MetricKind,
    Samples,
    build,
)
from exhookadmin.exhook.metrics_http import CONNECTIONS, AddressProblem, MetricsServer, parse_address
from exhookadmin.exhook.metrics_report import Reporter, Sources
from exhookadmin.exhook.metrics_tally import CallTally, Durations
from exhookadmin.exhook.metrics_totals import Totals
from exhookadmin.exhook.status import Verdict
from tests.exhook.server import (
    V1,
    V3,
    Endpoint,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
    running_endpoint,
)

EVERY_METRIC = {**WORKER_METRICS, **SUPERVISOR_METRICS}
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}
FINE = Verdict(True, [])

Series = dict[tuple[str, ...], float]


# Counting


def test_increments_from_many_threads_are_all_counted() -> None:
    """The tally takes no lock: it relies on CPython not to change threads within an increment."""
    tally = CallTally()
    request = request_class(method_of(V3, Hook.CLIENT_AUTHENTICATE))()
    durations = tally.full[tally.methods[0]]
    rounds, interval = 20_000, sys.getswitchinterval()

    def count() -> None:
        for _ in range(rounds):
            tally.decided(request, deny(Reason.UNKNOWN_DEVICE))
            durations.add(0.003)

    threads = [threading.Thread(target=count) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert tally.denied[type(request)][Reason.UNKNOWN_DEVICE] == 4 * rounds
    assert durations.count == 4 * rounds


@given(st.lists(st.floats(0, 20) | st.sampled_from(DURATION_BUCKETS), max_size=50))
def test_a_bucket_holds_what_is_at_most_its_bound(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)
    for index, bound in enumerate(DURATION_BUCKETS):
        assert sum(durations.buckets[: index + 1]) == sum(each <= bound for each in seconds)
    assert durations.count == len(seconds)
    assert durations.seconds == pytest.approx(sum(seconds))


@pytest.fixture
def pump(database: None) -> str:
    """A device with a password, which may publish to ``pump/#``."""
    device = accounts_services.create_device("pump-17")
    accounts_services.add_password(device, "right")
    acl_services.create_rule(device, "allow", "publish", "pump/#")
    return "right"


@pytest.fixture
def pumping(transport: str, pump: str) -> Iterator[Endpoint]:
    with running_endpoint(transport) as endpoint:
        yield endpoint


def samples_of(endpoint: Endpoint) -> Samples:
    """What a worker made of the same parts would report."""
    recorder = Recorder.from_settings()
    try:
        return Reporter(Sources(endpoint.front, recorder, Feed(endpoint.provider.directory))).samples()
    finally:
        recorder.close()


def calls_in(samples: Samples) -> Series:
    return {tuple(labels): float(value) for labels, value in samples["exhook_calls_total"]}  # type: ignore[arg-type]


def test_every_call_is_counted_once_by_hook_version_outcome_and_reason(pumping: Endpoint, pump: str) -> None:
    assert not pumping.admits(**PUMP, password="wrong")
    assert pumping.admits(**PUMP, password=pump)
    assert pumping.admits(V1, **PUMP, password=pump)
    assert not pumping.admits(clientid="nobody", username="nobody", password="x")
    for _ in range(3):
        assert pumping.grants("pump/1", **PUMP)
    assert not pumping.grants("valve/1", **PUMP)
    assert not pumping.grants("valve/1", subscribe=True, version=V1, **PUMP)
    pumping.call(V3, Hook.CLIENT_CONNECTED, client_request(V3, Hook.CLIENT_CONNECTED, PUMP))
    pumping.call(V3, Hook.MESSAGE_PUBLISH, request_class(method_of(V3, Hook.MESSAGE_PUBLISH))())
    with pytest.raises(grpc.RpcError):
        pumping.send(method_of(V3, Hook.CLIENT_AUTHORIZE).path, b"\xff")

    samples = samples_of(pumping)
    assert calls_in(samples) == {
        ("client.authenticate", "v3", "deny", "credential_wrong"): 1,
        ("client.authenticate", "v3", "allow", "credential_verified"): 1,
        ("client.authenticate", "v1", "allow", "credential_verified"): 1,
        ("client.authenticate", "v3", "deny", "unknown_device"): 1,
        ("client.authorize", "v3", "allow", "rule_allows"): 1,
        ("client.authorize", "v3", "allow", "repeated"): 2,
        ("client.authorize", "v3", "deny", "no_rule_matched"): 1,
        ("client.authorize", "v1", "deny", "no_rule_matched"): 1,
        ("client.connected", "v3", "ok", ""): 1,
        ("message.publish", "v3", "ignore", ""): 1,
    }
    assert answers_timed(samples) == answers_counted(samples)
    assert one_label(samples, "exhook_refused_calls_total")["malformed"] == 1
    facts = one_label(samples, "exhook_facts_recorded_total")
    assert {kind: count for kind, count in facts.items() if count} == Counter(
        str(fact.kind) for fact in pumping.facts
    )
    assert one_label(samples, "exhook_login_memory_hits_total") == {"verified": 1, "failed": 0}
    needs = one_label(samples, "exhook_needs_total")
    assert needs["hash"] == 2
    assert needs["device"] == one_label(samples, "exhook_device_lookups_total")["miss"]


def one_label(samples: Samples, name: str) -> dict[str, Any]:
    return {labels[0]: value for labels, value in samples[name]}


def answers_timed(samples: Samples) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (hook, _path), value in samples["exhook_call_duration_seconds"]:
        assert isinstance(value, list)
        counts[hook] += int(sum(value[:-1]))
    return counts


def answers_counted(samples: Samples) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (hook, *_), value in calls_in(samples).items():
        counts[hook] += int(value)
    return counts


def test_what_cannot_be_decided_is_an_error_whatever_the_broker_is_told(
    pumping: Endpoint, outage: Any
) -> None:
    outage.begin()
    assert not pumping.admits(**PUMP, password="right")
    pumping.call(V3, Hook.CLIENT_CONNECTED, client_request(V3, Hook.CLIENT_CONNECTED, PUMP))
    samples = samples_of(pumping)
    assert calls_in(samples) == {
        ("client.authenticate", "v3", "error", "database_unavailable"): 1,
        ("client.connected", "v3", "error", "database_unavailable"): 1,
    }
    assert answers_timed(samples) == answers_counted(samples)
    assert samples["exhook_database_up"] == [([], 0)]


def test_an_unknown_device_is_ignored_where_others_are_asked_too(
    settings: Any, transport: str, database: None
) -> None:
    settings.EXHOOK_CHAIN_UNKNOWN = True
    with running_endpoint(transport) as endpoint:
        request = authenticate_request(V3, clientid="nobody", username="nobody")
        endpoint.call(V3, Hook.CLIENT_AUTHENTICATE, request)
        assert calls_in(samples_of(endpoint)) == {
            ("client.authenticate", "v3", "ignore", "unknown_device"): 1
        }


def test_methods_that_nobody_knows_are_counted(database: None) -> None:
    with running_endpoint("grpcio") as endpoint:
        with pytest.raises(grpc.RpcError):
            endpoint.send("/emqx.exhook.v3.HookProvider/OnSomethingNew", b"")
        assert one_label(samples_of(endpoint), "exhook_refused_calls_total")["unknown_method"] == 1


def test_no_metric_says_what_a_client_sent(pumping: Endpoint) -> None:
    secrets = ["s3cret-word", "client-name", "user-name", "topic-name", "192.0.2.99", "node-name"]
    word, client_id, username, topic, address, node = secrets
    info: dict[str, Any] = {"clientid": client_id, "username": username, "peerhost": address, "node": node}
    pumping.admits(**info, password=word)
    pumping.call(V3, Hook.CLIENT_AUTHORIZE, authorize_request(V3, topic, **info))
    report = json.dumps(samples_of(pumping))
    assert "unknown_device" in report
    assert not [secret for secret in secrets if secret in report]


def test_a_report_holds_known_metrics_with_their_labels_only(pumping: Endpoint, pump: str) -> None:
    assert pumping.admits(**PUMP, password=pump)
    samples = samples_of(pumping)
    for name, series in samples.items():
        metric = WORKER_METRICS[name]
        for labels, value in series:
            assert len(labels) == len(metric.labels), name
            assert isinstance(value, list) is (metric.kind is MetricKind.HISTOGRAM), name
    only_with_tls = {name for name in WORKER_METRICS if "_tls_" in name}
    only_after_a_change = {"exhook_feed_last_change_timestamp_seconds"}
    assert samples.keys() == WORKER_METRICS.keys() - only_with_tls - only_after_a_change
    assert json.loads(json.dumps(samples)).keys() == samples.keys()


# Adding up


def families_of(totals: Totals) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name → labels → value, by way of the text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(totals)
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def report(written: float, waiting: float, buckets: list[int]) -> Samples:
    filled = buckets + [0] * (len(DURATION_BUCKETS) + 1 - len(buckets))
    return {
        "exhook_facts_written_total": [([], written)],
        "exhook_facts_waiting": [([], waiting)],
        "exhook_call_duration_seconds": [(["client.authorize", "quick"], [*filled, 0.5])],
    }


def test_counters_outlive_their_worker_and_gauges_do_not() -> None:
    totals = Totals()
    totals.heard("1", report(10, 3, [4, 1]))
    totals.heard("2", report(5, 4, [0, 0, 2]))
    totals.heard("2", report(6, 1, [0, 0, 3]))
    totals.ended("1")
    totals.heard("1", report(2, 0, [1]))
    found = families_of(totals)
    assert found["exhook_facts_written_total"] == {(): 18}
    assert found["exhook_facts_waiting"] == {(("worker", "1"),): 0, (("worker", "2"),): 1}
    labels = (("hook", "client.authorize"), ("path", "quick"))
    buckets = found["exhook_call_duration_seconds_bucket"]
    at_most = {dict(key)["le"]: value for key, value in buckets.items()}
    assert [at_most[str(bound)] for bound in DURATION_BUCKETS[:4]] == [5, 6, 9, 9]
    assert at_most["+Inf"] == found["exhook_call_duration_seconds_count"][labels] == 9
    assert found["exhook_call_duration_seconds_sum"][labels] == 1.5
    totals.ended("1")
    totals.ended("2")
    assert "exhook_facts_waiting" not in families_of(totals)
    assert families_of(totals)["exhook_facts_written_total"] == {(): 18}


@given(st.lists(st.tuples(st.sampled_from("123"), st.integers(0, 9), st.booleans()), max_size=40))
def test_a_counter_never_goes_back_whoever_dies(events: list[tuple[str, int, bool]]) -> None:
    totals, counted, expected, before = Totals(), Counter[str](), 0, 0.0
    for worker, more, dies in events:
        counted[worker] += more
        expected += more
        totals.heard(worker, {"exhook_facts_written_total": [([], float(counted[worker]))]})
        if dies:
            totals.ended(worker)
            counted[worker] = 0
        now = families_of(totals)["exhook_facts_written_total"][()]
        assert now == expected
        assert now >= before
        before = now


@pytest.mark.parametrize("name", EVERY_METRIC)
def test_names_follow_prometheus_conventions(name: str) -> None:
    metric = EVERY_METRIC[name]
    assert re.fullmatch(r"exhook_[a-z_]+", name)
    assert name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
    if metric.kind is MetricKind.HISTOGRAM:
        assert name.endswith("_seconds")
    assert metric.help.endswith(".")
    assert "worker" not in metric.labels or name in SUPERVISOR_METRICS


def test_the_build_is_told() -> None:
    assert len(build()) == len(SUPERVISOR_METRICS["exhook_build_info"].labels)
    assert all(build())


# The port


@pytest.fixture
def serving() -> Iterator[tuple[MetricsServer, dict[str, Verdict]]]:
    verdicts = {"health": FINE, "ready": FINE}
    totals = Totals()
    totals.set("exhook_workers", (), 2)
    registry = CollectorRegistry()
    registry.register(totals)
    server = MetricsServer("127.0.0.1:0", registry, lambda: verdicts["health"], lambda: verdicts["ready"])
    yield server, verdicts
    server.close()


def fetch(server: MetricsServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, response.headers["Content-Type"], body


def test_metrics_come_in_the_format_that_is_asked_for(serving: Any) -> None:
    server, _ = serving
    status, content_type, body = fetch(server, "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "exhook_workers 2.0" in body
    _, content_type, body = fetch(
        server, "/metrics?x=1", Accept="application/openmetrics-text; version=1.0.0"
    )
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_probes_are_answered_with_the_reasons(serving: Any) -> None:
    server, verdicts = serving
    assert fetch(server, "/healthz")[0] == 200
    verdicts["ready"] = Verdict(False, ["worker 1: It does not listen."], ["Look at this."])
    status, content_type, body = fetch(server, "/readyz")
    assert (status, content_type) == (503, "application/json")
    assert json.loads(body) == {
        "ok": False,
        "problems": ["worker 1: It does not listen."],
        "warnings": ["Look at this."],
    }
    assert fetch(server, "/healthz")[0] == 200
    assert fetch(server, "/healthz", "HEAD") == (200, "application/json", "")


def test_other_paths_and_methods_are_refused(serving: Any) -> None:
    server, _ = serving
    assert fetch(server, "/")[0] == 404
    assert fetch(server, "/admin/")[0] == 404
    assert fetch(server, "/metrics", "POST")[0] == 501


def test_who_connects_and_says_nothing_is_in_nobodys_way(serving: Any) -> None:
    server, _ = serving
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CONNECTIONS - 1)]
    try:
        assert fetch(server, "/healthz")[0] == 200
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("text", ["9001", ":9001", "localhost", "localhost:http", "host:70000", "host:-1"])
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(AddressProblem, match="Write HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9001", ("127.0.0.1", 9001)),
        ("[::1]:0", ("::1", 0)),
        ("example.org:80", ("example.org", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


def test_a_port_in_use_is_said_to_be_and_what_to_do(serving: Any) -> None:
    server, _ = serving
    with pytest.raises(AddressProblem, match=r"127\.0\.0\.1:\d+ \(Address already in use\).*--metrics"):
        MetricsServer(f"127.0.0.1:{server.port}", CollectorRegistry(), lambda: FINE, lambda: FINE)


# The dashboard


def test_the_dashboard_asks_for_metrics_that_exist_by_labels_that_exist() -> None:
    text = (django_settings.BASE_DIR / "docs" / "grafana" / "exhook.json").read_text()
    expressions = [
        target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])
    ]
    suffixed = {
        f"{name}_{part}": metric
        for name, metric in EVERY_METRIC.items()
        if metric.kind is MetricKind.HISTOGRAM
        for part in ("bucket", "sum", "count")
    }
    known = {**EVERY_METRIC, **suffixed}
    asked = {name for expression in expressions for name in re.findall(r"exhook_\w+", expression)}
    assert asked
    assert asked <= known.keys()
    everywhere = {"job", "instance", "worker", "le"}
    labels = everywhere | {label for name in asked for label in known[name].labels}
    for expression in expressions:
        matchers = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
        grouped = [
            label.strip()
            for group in re.findall(r"\bby\s*\(([^)]*)\)", expression)
            for label in group.split(",")
        ]
        assert {*matchers, *grouped} <= labels, expression


def test_the_dashboard_shows_every_metric_that_can_call_for_action() -> None:
    text = (django_settings.BASE_DIR / "docs" / "grafana" / "exhook.json").read_text()
    left_out = {name for name in EVERY_METRIC if name not in text}
    assert left_out <= {
        "exhook_feed_last_change_timestamp_seconds",
        "exhook_policies_read_timestamp_seconds",
        "exhook_needs_total",
        "exhook_feed_changes_total",
        "exhook_throttled_keys",
        "exhook_tls_reloads_total",
    }


def test_every_metric_is_documented_as_it_is() -> None:
    text = (django_settings.BASE_DIR / "docs" / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(exhook_\w+)` \| (\w+) \|.* \| .+ \|$", text, re.MULTILINE))
    assert rows == {name: metric.kind.value for name, metric in EVERY_METRIC.items()}
    for metric in EVERY_METRIC.values():
        assert f"| {metric.help} |" in text
