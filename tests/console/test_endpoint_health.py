"""What figures of the endpoint mean in plain words, and what a page does when nobody answers."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic

import pytest
from prometheus_client.registry import CollectorRegistry

from exhookadmin.console.endpoint_health import cautions, figures_of
from exhookadmin.console.endpoint_reading import Reading, read_endpoint
from exhookadmin.console.figures import read_figures
from exhookadmin.exhook.metrics_http import MetricsServer
from exhookadmin.exhook.metrics_totals import Totals
from exhookadmin.exhook.status import Verdict

WELL = """
exhook_workers 2
exhook_worker_ready{worker="0"} 1
exhook_worker_ready{worker="1"} 1
exhook_calls_total{hook="client.authenticate",protocol="v3",outcome="allow",reason="credential_verified"} 90
exhook_calls_total{hook="client.authorize",protocol="v3",outcome="allow",reason="rule_allows"} 5
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="quick",le="0.0001"} 50
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="quick",le="0.01"} 50
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="quick",le="+Inf"} 50
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="full",le="0.0001"} 0
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="full",le="0.01"} 40
exhook_call_duration_seconds_bucket{hook="client.authenticate",path="full",le="+Inf"} 40
exhook_device_lookups_total{result="hit"} 75
exhook_device_lookups_total{result="miss"} 25
exhook_devices_held{worker="0"} 1200
exhook_devices_held{worker="1"} 34
exhook_facts_waiting{worker="0"} 3
exhook_spool_bytes{worker="0"} 1500000
exhook_feed_up{worker="0"} 1
exhook_feed_up{worker="1"} 1
exhook_feed_lag_seconds{worker="0"} 0.5
exhook_database_up{worker="0"} 1
exhook_policies{worker="0"} 7
"""


def reading(more: str = "", unfit: tuple[str, ...] = (), cautions: tuple[str, ...] = ()) -> Reading:
    return Reading("127.0.0.1:9001", "", unfit, cautions, read_figures(WELL + more))


def titles(found: Reading) -> list[str]:
    return [caution.title for caution in cautions(found, 1024)]


def test_an_endpoint_that_is_well_asks_for_nothing():
    assert titles(reading()) == []


@pytest.mark.parametrize(
    ("more", "words", "grave"),
    [
        pytest.param('exhook_facts_dropped_total{kind="client.connected"} 5', "5 facts were dropped", True,
                     id="dropped"),
        pytest.param('exhook_facts_waiting{worker="1"} 20000', "The spool grows: 20,003", False,
                     id="many wait"),
        pytest.param('exhook_spool_bytes{worker="1"} 600000000', "The spool grows", True, id="half full"),
        pytest.param('exhook_feed_lag_seconds{worker="1"} 60', "Changes made here", True, id="feed lags"),
        pytest.param('exhook_feed_up{worker="2"} 0', "Changes made here", True, id="feed lost"),
        pytest.param('exhook_dead_letters{worker="0"} 2', "2 facts were refused", False, id="set aside"),
        pytest.param('exhook_bulkhead_shed_total{bulkhead="hashing"} 9', "9 pieces of work", False,
                     id="overload"),
        pytest.param('exhook_process_restarts_total{process="worker"} 1', "died and were replaced", False,
                     id="restarts"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_words(more: str, words: str, grave: bool):
    [caution] = cautions(reading(more), 1024)
    assert words in caution.title
    assert caution.advice
    assert caution.grave is grave


@pytest.mark.parametrize(
    ("admitted", "asked", "warned"),
    [(10, 0, True), (5000, 0, True), (9, 0, False), (0, 0, False), (5000, 1, False)],
)
def test_topics_that_emqx_never_asks_about_are_told_with_the_fix(admitted: int, asked: int, warned: bool):
    text = f"""
exhook_calls_total{{hook="client.authenticate",protocol="v2",outcome="allow",reason="x"}} {admitted}
exhook_calls_total{{hook="client.authenticate",protocol="v2",outcome="deny",reason="y"}} 100
exhook_calls_total{{hook="client.authorize",protocol="v2",outcome="deny",reason="z"}} {asked}
exhook_feed_up{{worker="0"}} 1
"""
    found = cautions(Reading("x", figures=read_figures(text)), 1024)
    assert any("file source answers first" in caution.title for caution in found) is warned
    assert all("No match" in caution.advice for caution in found)


def test_what_workers_say_alike_is_said_once():
    certificate = "The certificate ends in 3 days."
    found = reading(
        unfit=("worker 2: It does not listen.",),
        cautions=tuple(f"worker {number}: {certificate}" for number in range(2)),
    )
    assert titles(found) == ["It does not listen.", f"{certificate} (2 workers)"]


def test_the_state_is_told_in_figures():
    told = {figure.title: (figure.text, figure.note) for figure in figures_of(reading())}
    assert told["Workers ready"][0] == "2 of 2"
    assert told["Logins"] == ("90", "99 of 100 answered within 10 ms")
    assert told["Publish and subscribe"] == ("none yet", "")
    assert told["Devices in memory"] == ("1,234", "75.0% of questions answered from it")
    assert told["Database"][0] == "answers"


def test_a_real_supervisor_s_port_is_read():
    totals, registry = Totals(), CollectorRegistry()
    registry.register(totals)
    totals.set("exhook_workers", (), 3)
    verdict = Verdict(False, ["worker 1: It does not listen."], ["mind"])
    server = MetricsServer("127.0.0.1:0", registry, lambda: verdict, lambda: verdict)
    try:
        found = read_endpoint(f"127.0.0.1:{server.port}", seconds=20)
    finally:
        server.close()
    assert found.problem == ""
    assert found.unfit == ("worker 1: It does not listen.",)
    assert found.cautions == ("mind",)
    assert found.figures.total("exhook_workers") == 3


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """Somebody who takes the connection and says this, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if answer is not None:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

            Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_nobody_there_is_told_at_once():
    with listening(None) as address:
        pass
    found = read_endpoint(address)
    assert "No endpoint is running" in found.problem
    assert "another machine" in found.problem
    assert [caution.advice for caution in cautions(found, 1024)] == [found.problem]
    assert figures_of(found) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [("", "switched off"), ("nonsense", "no address"), ("0.0.0.0:1", "No endpoint is running")],
)
def test_what_cannot_be_asked_is_told(address: str, words: str):
    assert words in read_endpoint(address).problem


def test_who_says_nothing_holds_up_no_page():
    with listening(None) as address:
        began = monotonic()
        found = read_endpoint(address, seconds=0.2)
    assert "did not answer within 0.2 s" in found.problem
    assert monotonic() - began < 30


@pytest.mark.parametrize(
    "answer", [b"220 mail\r\n", b"HTTP/1.0 200 OK\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\nx"]
)
def test_another_program_is_not_mistaken_for_the_endpoint(answer: bytes):
    with listening(answer) as address:
        assert "not this program" in read_endpoint(address, seconds=20).problem
