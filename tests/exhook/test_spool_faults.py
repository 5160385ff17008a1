"""The audit log when things die: every fact whose hook was answered is in the database, exactly once.

What was answered is compared with what is stored. A call that failed may have left a fact or none.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psycopg2
import pytest
from django.conf import settings
from django.db import connection

from accounts import services as accounts_services
from acl import services as acl_services
from audit.dead_letters import dead_letters
from audit.models import Event, SpoolPosition
from exhookadmin.exhook.demo.endpoint import Endpoint
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import DENY
from tests.endpoint import StartEndpoint
from tests.exhook.processes import descendants, eventually, metric, workers
from tests.exhook.server import V3, authenticate_request, authorize_request, client_request, method_of
from tests.exhook.unplugged import Plug, new_plug
from tests.postgres import Server, throwaway_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc")

SECONDS = 60.0
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}

Key = tuple[str, str, str]
"""Kind, client id, topic: what tells the facts of these tests apart."""


@pytest.fixture
def pump(transactional_db: None) -> None:
    """A device that may publish to ``pump/#`` and nothing else."""
    acl_services.create_rule(accounts_services.create_device("pump-17"), "allow", "publish", "pump/#")


@pytest.fixture
def plug(transactional_db: None, tmp_path: Path) -> Plug:
    return new_plug(tmp_path)


@contextmanager
def channel(endpoint: Endpoint) -> Iterator[grpc.Channel]:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    with grpc.insecure_channel(endpoint.address, options) as opened:
        yield opened


def call(opened: grpc.Channel, hook: Hook, request: Any) -> bytes:
    asked: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(method_of(V3, hook).path)
    reply: bytes = asked(request.SerializeToString(), timeout=SECONDS)
    return reply


def deny(opened: grpc.Channel, topic: str, **clientinfo: Any) -> Key:
    """Has a publish refused; answers what its fact is known by."""
    client = {**PUMP, **clientinfo}
    assert call(opened, Hook.CLIENT_AUTHORIZE, authorize_request(V3, topic, **client)) == DENY
    return "client.authorize", client["clientid"], topic


@dataclass
class Told:
    """What was told, in calls; a call that failed may have left its fact or not."""

    tried: list[Key] = field(default_factory=list)
    answered: list[Key] = field(default_factory=list)

    def tell(self, key: Key, tell: Callable[[], object]) -> None:
        self.tried.append(key)
        tell()
        self.answered.append(key)


def come_and_go(opened: grpc.Channel, client_id: str, repeated: str, told: Told) -> None:
    """A client connects, is refused a topic, and goes; another one is refused the same as ever."""
    info = {"clientid": client_id, "username": client_id, "peerhost": "192.0.2.7"}
    come = client_request(V3, Hook.CLIENT_CONNECTED, info)
    gone = client_request(V3, Hook.CLIENT_DISCONNECTED, info, reason="normal")
    topic = f"valve/{client_id}"
    told.tell(("client.connected", client_id, ""), lambda: call(opened, Hook.CLIENT_CONNECTED, come))
    told.tell(("client.authorize", client_id, topic), lambda: deny(opened, topic, **info))
    told.tell(("client.authorize", "flood", repeated), lambda: deny(opened, repeated, clientid="flood"))
    told.tell(("client.disconnected", client_id, ""), lambda: call(opened, Hook.CLIENT_DISCONNECTED, gone))


class Load:
    """Clients that come and go, one after the other on each of some connections, until it is stopped."""

    def __init__(self, endpoint: Endpoint, name: str, threads: int = 3) -> None:
        self.told = Told()
        self.failures = 0
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._runs = [self._pool.submit(self._run, f"{name}-{number}") for number in range(threads)]

    def stop(self) -> Told:
        self._stop.set()
        self._pool.shutdown()
        for run in self._runs:
            run.result()
        return self.told

    def _run(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            # A new connection now and then, for another worker.
            with channel(self._endpoint) as opened:
                for _ in range(50):
                    number += 1
                    try:
                        come_and_go(opened, f"{name}-{number}", f"flood/{name}", self.told)
                    except grpc.RpcError:
                        self.failures += 1
                        time.sleep(0.01)
                    if self._stop.is_set():
                        break


def until_more_are_answered(load: Load, number: int) -> None:
    before = len(load.told.answered)
    eventually(lambda: len(load.told.answered) > before + number)


def stored() -> Counter[Key]:
    """How often each was told, by the rows."""
    rows = Event.objects.filter(kind__startswith="client.").values_list(
        "kind", "client_id", "topic", "repeats"
    )
    return counted(rows)


def counted(rows: Iterable[tuple[str, str, str, int]]) -> Counter[Key]:
    counts: Counter[Key] = Counter()
    for kind, client_id, topic, repeats in rows:
        counts[kind, client_id, topic] += 1 + repeats
    return counts


def assert_each_once(told: Told | list[Key], found: Callable[[], Counter[Key]] = stored) -> None:
    """Waits for all that was answered, and finds nothing more often than it was told."""
    told = told if isinstance(told, Told) else Told(told, told)
    answered, tried = Counter(told.answered), Counter(told.tried)
    assert answered
    eventually(lambda: answered <= found())
    too_often = {key: times for key, times in found().items() if key in tried and times > tried[key]}
    assert too_often == {}


def kill_tree(endpoint: Endpoint) -> None:
    """As the kernel does when memory ends or the machine is taken away: nobody can react."""
    os.kill(endpoint.process.pid, signal.SIGSTOP)
    for pid in descendants(endpoint.process.pid):
        os.kill(pid, signal.SIGKILL)
    endpoint.process.kill()
    endpoint.process.wait()


def spool_names(root: Path) -> set[str]:
    return {path.name for path in spools_in(root)}


def spools_in(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.torture)])
def test_workers_killed_at_random_points_lose_nothing(
    start_endpoint: StartEndpoint, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(17)
    spool = tmp_path / "spool"
    with start_endpoint("--workers", "3", EXHOOK_SPOOL_DIR=str(spool)) as endpoint:
        load = Load(endpoint, "client")
        try:
            for _ in range(kills):
                eventually(lambda: len(workers(endpoint)) >= 2)
                until_more_are_answered(load, chance.randrange(300))
                os.kill(chance.choice(sorted(workers(endpoint))), signal.SIGKILL)
            while not load.failures:  # The kernel may have kept all connections away from those that died.
                eventually(lambda: len(workers(endpoint)) >= 2)
                until_more_are_answered(load, 50)
                os.kill(chance.choice(sorted(workers(endpoint))), signal.SIGKILL)
                until_more_are_answered(load, 50)
            eventually(lambda: len(workers(endpoint)) == 3)
            # One that is stopped before it can hear of it leaves its spool to the next start.
            eventually(lambda: metric(endpoint, "exhook_worker_ready") == 3)
        finally:
            told = load.stop()
        assert len(told.answered) > 100
        assert_each_once(told)
        assert Event.objects.filter(repeats__gt=0).exists(), "the flood was not folded"
        # What was left behind is gone, and nothing is kept of it.
        eventually(lambda: len(spools_in(spool)) == 3)
        eventually(lambda: spool_names(spool) >= set(SpoolPosition.objects.values_list("pk", flat=True)))
        assert metric(endpoint, "exhook_facts_dropped_total") == 0
        assert metric(endpoint, "exhook_facts_set_aside_total") == 0
    assert spools_in(spool) == []
    assert not SpoolPosition.objects.exists()


def test_a_whole_tree_killed_during_an_outage_loses_nothing(
    start_endpoint: StartEndpoint, pump: None, plug: Plug, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    environment = {"DATABASE_URL": plug.url, "EXHOOK_SPOOL_DIR": str(spool)}
    with start_endpoint("--workers", "2", **environment) as endpoint, channel(endpoint) as opened:
        answered = [deny(opened, "valve/0")]
        plug.pull()
        answered += [deny(opened, f"valve/{number}") for number in range(1, 300)]
        eventually(lambda: metric(endpoint, "exhook_facts_waiting") >= 299)
        assert metric(endpoint, "exhook_spool_bytes") > 299 * 100
        kill_tree(endpoint)
    plug.put_back()
    assert len(stored()) <= 1
    assert len(spools_in(spool)) == 2
    with start_endpoint(**environment) as endpoint:
        assert_each_once(answered)
        eventually(lambda: metric(endpoint, "exhook_facts_adopted_total") >= 299)
    assert spools_in(spool) == []


def test_no_file_of_the_spool_holds_a_password_or_is_open_to_others(
    start_endpoint: StartEndpoint, pump: None, plug: Plug, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    environment = {"DATABASE_URL": plug.url, "EXHOOK_SPOOL_DIR": str(spool)}
    with start_endpoint(**environment) as endpoint, channel(endpoint) as opened:
        deny(opened, "valve/1")
        plug.pull()
        request = authenticate_request(V3, **PUMP, password="s3cret-word")
        assert call(opened, Hook.CLIENT_AUTHENTICATE, request) == DENY
        eventually(lambda: b"client.authenticate" in b"".join(path.read_bytes() for path in files(spool)))
        assert not [path for path in files(spool) if b"s3cret-word" in path.read_bytes()]
        assert not [path for path in spool.rglob("*") if path.stat().st_mode & 0o077]
        plug.put_back()


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_whole_tree_killed_under_load_loses_nothing(start_endpoint: StartEndpoint, tmp_path: Path) -> None:
    environment = {"EXHOOK_SPOOL_DIR": str(tmp_path / "spool")}
    told = Told()
    for start in range(2):
        with start_endpoint("--workers", "2", **environment) as endpoint:
            load = Load(endpoint, f"start-{start}")
            until_more_are_answered(load, 300)
            kill_tree(endpoint)
            load.stop()
            told.tried += load.told.tried
            told.answered += load.told.answered
    with start_endpoint(**environment):
        assert_each_once(told)


def test_two_trees_with_spools_of_their_own_write_into_one_database(start_endpoint: StartEndpoint) -> None:
    with start_endpoint() as one, start_endpoint() as other:
        loads = [Load(one, "one"), Load(other, "other")]
        eventually(lambda: all(len(load.told.answered) > 300 for load in loads))
        tolds = [load.stop() for load in loads]
    for told in tolds:
        assert_each_once(told)


# Full


def fill_until_facts_are_dropped(endpoint: Endpoint, opened: grpc.Channel) -> list[Key]:
    """Denials with long topics. All must be answered, though there is no room before the database is back."""
    answered: list[Key] = []
    for round_ in range(60):
        for number in range(20):
            answered.append(deny(opened, f"valve/{round_}/{number}/{'x' * 3000}"))
        if round_ % 10 == 9 and metric(endpoint, "exhook_facts_dropped_total") > 20:
            break
    return answered


def reported_since(endpoint: Endpoint) -> None:
    """Returns when what its one worker reports is as of now, or later. Each report takes processor time."""

    def spent() -> float:
        return metric(endpoint, "exhook_worker_cpu_seconds_total")

    # The next report may be on its way already.
    for before in (spent, spent):
        known = before()
        eventually(partial(_differs, spent, known))


def _differs(value: Callable[[], float], known: float) -> bool:
    return value() != known


def until_one_is_kept(opened: grpc.Channel) -> None:
    kept = Event.objects.filter(topic__startswith="valve/again/")
    eventually(lambda: deny(opened, f"valve/again/{time.monotonic()}") and kept.exists())


def assert_drops_are_counted_and_the_rest_is_kept(
    endpoint: Endpoint, opened: grpc.Channel, plug: Plug
) -> None:
    deny(opened, "valve/first")
    eventually(lambda: Event.objects.filter(topic="valve/first").exists())
    plug.pull()
    answered = fill_until_facts_are_dropped(endpoint, opened)
    reported_since(endpoint)
    dropped = metric(endpoint, "exhook_facts_dropped_total", kind="client.authorize")
    assert 0 < dropped < len(answered)
    assert dropped == metric(endpoint, "exhook_facts_dropped_total")
    plug.put_back()
    eventually(lambda: metric(endpoint, "exhook_facts_waiting") == 0)
    assert Event.objects.filter(topic__startswith="valve/", topic__endswith="xxx").count() == (
        len(answered) - dropped
    )
    # There is room again, and not only for little.
    afterwards = [f"valve/afterwards/{number}/{'x' * 3000}y" for number in range(100)]
    eventually(lambda: metric(endpoint, "exhook_spool_bytes") < 100_000)
    until_one_is_kept(opened)
    reported_since(endpoint)
    dropped = metric(endpoint, "exhook_facts_dropped_total")
    for topic in afterwards:
        deny(opened, topic)
    eventually(lambda: Event.objects.filter(topic__in=afterwards).count() == len(afterwards))
    reported_since(endpoint)
    assert dropped == metric(endpoint, "exhook_facts_dropped_total")


def test_a_full_spool_drops_and_counts_and_decisions_go_on(
    start_endpoint: StartEndpoint, pump: None, plug: Plug
) -> None:
    environment = {"DATABASE_URL": plug.url, "EXHOOK_SPOOL_MEGABYTES": "1"}
    with start_endpoint(**environment) as endpoint, channel(endpoint) as opened:
        assert_drops_are_counted_and_the_rest_is_kept(endpoint, opened, plug)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root can mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_drops_and_counts_and_decisions_go_on(
    start_endpoint: StartEndpoint, pump: None, plug: Plug, small_disk: Path
) -> None:
    environment = {"DATABASE_URL": plug.url, "EXHOOK_SPOOL_DIR": str(small_disk)}
    with start_endpoint(**environment) as endpoint, channel(endpoint) as opened:
        assert_drops_are_counted_and_the_rest_is_kept(endpoint, opened, plug)


def test_an_endpoint_starts_on_a_full_disk_and_records_as_soon_as_there_is_room(
    start_endpoint: StartEndpoint, pump: None, small_disk: Path
) -> None:
    rubbish = small_disk / "rubbish"
    with pytest.raises(OSError, match="No space"):
        rubbish.write_bytes(bytes(2 * 1024 * 1024))
    with start_endpoint(EXHOOK_SPOOL_DIR=str(small_disk / "spool")) as endpoint, channel(endpoint) as opened:
        deny(opened, "valve/lost")
        rubbish.unlink()
        eventually(lambda: deny(opened, f"valve/{time.monotonic()}") and stored())
        eventually(lambda: metric(endpoint, "exhook_facts_dropped_total") > 0)
    assert not Event.objects.filter(topic="valve/lost").exists()


# PostgreSQL


def test_a_fact_that_postgresql_refuses_is_set_aside_and_the_rest_is_written(
    start_endpoint: StartEndpoint, pump: None, tmp_path: Path
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite takes any number")
    spool = tmp_path / "spool"
    with start_endpoint(EXHOOK_SPOOL_DIR=str(spool)) as endpoint, channel(endpoint) as opened:
        answered = [deny(opened, f"valve/{number}") for number in range(20)]
        deny(opened, "poison", sockport=2**32 - 1)
        answered += [deny(opened, f"valve/{number}") for number in range(20, 40)]
        assert_each_once(answered)
        eventually(lambda: metric(endpoint, "exhook_facts_set_aside_total") == 1)
        eventually(lambda: metric(endpoint, "exhook_facts_waiting") == 0)
    [letter] = dead_letters(spool)
    assert letter.fact is not None
    assert letter.fact.topic == "poison"
    assert letter.error == "DataError"
    assert not Event.objects.filter(topic="poison").exists()


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    """A PostgreSQL of the test's own, migrated, which keeps what it committed when it is killed."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could stop")
    with throwaway_server() as server:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "migrate", "-v", "0"]
        environment = {**os.environ, "DATABASE_URL": server.url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        subprocess.run(command, env=environment, check=True)
        # What the server is started with is stronger than its file, and this is stronger than that.
        ask(server, "ALTER DATABASE postgres SET synchronous_commit = on")
        assert ask(server, "SHOW synchronous_commit") == [("on",)]
        yield server


def ask(server: Server, query: str) -> list[tuple[Any, ...]]:
    opened = psycopg2.connect(server.url)
    opened.autocommit = True
    try:
        with opened.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []
    finally:
        opened.close()


def answers(server: Server) -> bool:
    try:
        return bool(ask(server, "SELECT 1"))
    except psycopg2.OperationalError:
        return False


def stored_on(server: Server) -> Counter[Key]:
    rows = ask(server, "SELECT kind, client_id, topic, repeats FROM audit_event WHERE kind LIKE 'client.%'")
    return counted((kind, client_id, topic, repeats) for kind, client_id, topic, repeats in rows)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.torture)])
def test_postgresql_stopped_and_killed_under_load_loses_nothing(
    start_endpoint: StartEndpoint, server: Server, seconds: float
) -> None:
    """While it is away unknown clients are refused, and that is recorded as well."""
    with start_endpoint("--workers", "2", DATABASE_URL=server.url) as endpoint:
        load = Load(endpoint, "client")
        try:
            until_more_are_answered(load, 200)
            server.stop()
            time.sleep(seconds)
            server.start()
            until_more_are_answered(load, 200)
            assert server.process is not None
            busy = ask(server, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%audit_event%'")
            for pid in {pid for (pid,) in busy} & descendants(server.process.pid):
                with suppress(ProcessLookupError):  # The one that was asked may have ended.
                    os.kill(pid, signal.SIGKILL)
            until_more_are_answered(load, 200)
        finally:
            told = load.stop()
        eventually(lambda: answers(server))  # It may still recover from the kill.
        eventually(lambda: metric(endpoint, "exhook_facts_waiting") == 0)
        assert_each_once(told, lambda: stored_on(server))
        assert metric(endpoint, "exhook_facts_dropped_total") == 0
        assert metric(endpoint, "exhook_facts_set_aside_total") == 0
