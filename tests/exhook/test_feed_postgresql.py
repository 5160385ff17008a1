"""The change feed on PostgreSQL: what is notified, and what becomes of it when the listener is cut off."""

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import environ
import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from accounts import services as accounts_services
from accounts.core.decision import Reason
from accounts.core.tokens import encode_token
from accounts.models import Credential, Device
from acl import services as acl_services
from acl.models import Rule
from exhookadmin.exhook import feed_postgresql
from exhookadmin.exhook.feed import Feed, FeedState
from exhookadmin.exhook.feed_postgresql import CHANNEL, EVERYTHING, MOST_DEVICES, change_of, merged
from exhookadmin.exhook.memory import Change
from tests.endpoint import wait_until
from tests.exhook.feed_world import (
    AT_FIRST,
    LOGIN,
    TOKEN,
    TOPICS,
    World,
    becomes,
    may,
    new_world,
    running_feed,
)
from tests.exhook.server import Endpoint, running_endpoint
from tests.exhook.tcp_proxy import Proxy, proxy_before
from tests.postgres import Server, throwaway_server

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own")

ALL_DEVICES = Change(everything=True)
POLICIES = Change(policies=True)
NEW_NAMES = Change(new_names=True)


def devices(*ids: int, new_names: bool = False) -> Change:
    return Change(frozenset(ids), new_names=new_names)


def sql(statement: str, *parameters: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


# --- Reading ---


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        pytest.param(
            '{"devices": [1, 2], "new_names": false, "policies": false}', devices(1, 2), id="devices"
        ),
        pytest.param('{"devices": null, "new_names": true, "policies": false}', NEW_NAMES, id="new names"),
        pytest.param('{"devices": null, "new_names": false, "policies": true}', POLICIES, id="policies"),
        pytest.param(
            '{"devices": "all", "new_names": false, "policies": false}', ALL_DEVICES, id="all devices"
        ),
        pytest.param('{"devices": "all", "new_names": true, "policies": true}', EVERYTHING, id="everything"),
        pytest.param("", EVERYTHING, id="empty"),
        pytest.param("reload, please", EVERYTHING, id="no JSON"),
        pytest.param("7", EVERYTHING, id="a number"),
        pytest.param("[]", EVERYTHING, id="a list"),
        pytest.param("{}", EVERYTHING, id="says nothing"),
        pytest.param('{"devices": [[1]], "new_names": false, "policies": false}', EVERYTHING, id="nested"),
        pytest.param('{"devices": 7, "new_names": false, "policies": false}', EVERYTHING, id="no list"),
    ],
)
def test_a_notification_that_cannot_be_read_may_say_anything(payload: str, change: Change):
    assert change_of(payload) == change


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        pytest.param([devices(1), devices(2), devices(1)], devices(1, 2), id="devices"),
        pytest.param([devices(1), NEW_NAMES], devices(1, new_names=True), id="a device and a name"),
        pytest.param(
            [devices(1), POLICIES, POLICIES],
            Change(frozenset({1}), policies=True),
            id="a device and policies",
        ),
        pytest.param([devices(1), EVERYTHING, POLICIES], EVERYTHING, id="everything"),
        pytest.param([devices(n) for n in range(MOST_DEVICES)], devices(*range(MOST_DEVICES)), id="many"),
        pytest.param([devices(n) for n in range(MOST_DEVICES + 1)], ALL_DEVICES, id="too many"),
    ],
)
def test_what_arrives_together_is_one_change(changes: list[Change], change: Change):
    assert merged(changes) == change


# --- Saying ---


@pytest.fixture
def world(database: None) -> World:
    return new_world()


Heard = Callable[[], list[Change]]


@pytest.fixture
def heard(world: World) -> Iterator[Heard]:
    """What was notified since the last call, one by one, in the order of the commits."""
    with closing(psycopg2.connect(**connection.get_connection_params())) as listening:
        listening.autocommit = True
        listening.cursor().execute(f"LISTEN {CHANNEL}")

        def since_then() -> list[Change]:
            sql(f"NOTIFY {CHANNEL}, 'end'")
            payloads: list[str] = []
            deadline = time.monotonic() + 60
            while "end" not in payloads:
                assert time.monotonic() < deadline
                listening.poll()
                payloads += [notify.payload for notify in listening.notifies]
                listening.notifies.clear()
            return [change_of(payload) for payload in payloads[:-1]]

        yield since_then


def rename_one_of_two(world: World) -> None:
    sql("UPDATE accounts_device SET enabled = false, username = replace(username, 'pump-17', 'new')")


def upsert(world: World) -> None:
    """INSERT … ON CONFLICT DO UPDATE is both."""
    Device.objects.bulk_create(
        [Device(username=name, superuser=True) for name in ("pump-17", "new")],
        update_conflicts=True,
        unique_fields=["username"],
        update_fields=["superuser"],
    )


def delete_device(world: World) -> None:
    with transaction.atomic():
        Device.objects.filter(pk=world.device.pk).delete()


def many_devices(world: World) -> None:
    Device.objects.bulk_create(Device(username=f"pump-{number}-new") for number in range(10_000))


def many_at_once(world: World) -> None:
    many_devices(world)
    Device.objects.update(enabled=False)


def each_of_many(world: World) -> None:
    """Ten thousand statements in one transaction."""
    many_devices(world)
    sql(
        "DO $$ DECLARE device record; BEGIN FOR device IN SELECT id FROM accounts_device "
        "LOOP UPDATE accounts_device SET enabled = false WHERE id = device.id; END LOOP; END $$"
    )


def long_ids(world: World) -> None:
    """Few enough to be named, and yet longer than a notification may be."""
    Device.objects.bulk_create(
        Device(pk=9_000_000_000_000_000_000 + number, username=f"pump-{number}-far") for number in range(450)
    )
    Device.objects.filter(pk__gt=9_000_000_000_000_000_000 - 1).update(enabled=False)


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("write", "said"),
    [
        pytest.param(lambda w: Device.objects.create(username="new"), lambda w: [NEW_NAMES], id="new device"),
        pytest.param(many_devices, lambda w: [NEW_NAMES], id="ten thousand new devices"),
        pytest.param(
            lambda w: Device.objects.filter(pk=w.device.pk).update(enabled=False),
            lambda w: [devices(w.device.pk)],
            id="one device of two",
        ),
        pytest.param(
            lambda w: Device.objects.update(enabled=False),
            lambda w: [devices(w.device.pk, w.other_device.pk)],
            id="two devices at once",
        ),
        pytest.param(
            lambda w: Device.objects.filter(enabled=False).update(enabled=True), lambda w: [], id="no row"
        ),
        pytest.param(
            rename_one_of_two,
            lambda w: [devices(w.device.pk, w.other_device.pk, new_names=True)],
            id="one of two renamed",
        ),
        pytest.param(upsert, lambda w: [devices(w.device.pk), NEW_NAMES], id="insert or update"),
        pytest.param(
            delete_device,
            lambda w: [devices(w.device.pk)],
            id="a deleted device and all that was its, said once",
        ),
        pytest.param(
            lambda w: Credential.objects.update(device=w.other_device),
            lambda w: [devices(w.device.pk, w.other_device.pk)],
            id="a credential moved",
        ),
        pytest.param(
            lambda w: Rule.objects.filter(pk=w.own_rule.pk).update(device=None, policy=w.spare),
            lambda w: [Change(frozenset({w.device.pk}), policies=True)],
            id="a rule moved from a device to a policy",
        ),
        pytest.param(
            lambda w: Rule.objects.update(enabled=False),
            lambda w: [Change(frozenset({w.device.pk}), policies=True)],
            id="rules of both kinds",
        ),
        pytest.param(
            lambda w: acl_services.save_policy(w.spare, devices=[w.device], groups=[w.group]),
            lambda w: [devices(w.device.pk), POLICIES],
            id="a policy attached",
        ),
        pytest.param(
            lambda w: w.group.delete(),
            lambda w: [devices(w.device.pk), POLICIES],
            id="a group deleted",
        ),
        pytest.param(
            many_at_once,
            lambda w: [NEW_NAMES, ALL_DEVICES],
            id="ten thousand devices in one statement",
        ),
        pytest.param(long_ids, lambda w: [NEW_NAMES, ALL_DEVICES], id="ids too long to be named"),
        pytest.param(lambda w: sql("TRUNCATE acl_rule"), lambda w: [EVERYTHING], id="TRUNCATE"),
        pytest.param(
            lambda w: sql("TRUNCATE accounts_devicegroup CASCADE"),
            lambda w: [EVERYTHING],
            id="TRUNCATE CASCADE",
        ),
    ],
)
def test_what_is_said(
    world: World, heard: Heard, write: Callable[[World], object], said: Callable[[World], list[Change]]
):
    write(world)
    assert sorted(heard(), key=str) == sorted(said(world), key=str)


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("search_path = ''", id="as pg_dump's scripts are run"),
        pytest.param("session_replication_role = replica", id="as replication writes"),
    ],
)
def test_sessions_of_any_kind_notify(world: World, heard: Heard, setting: str):
    with closing(psycopg2.connect(**connection.get_connection_params())) as other:
        with other.cursor() as cursor:
            cursor.execute(f"SET {setting}")
            cursor.execute("UPDATE public.accounts_device SET enabled = false WHERE username = 'pump-17'")
            cursor.execute("UPDATE public.acl_policy SET enabled = false")
        other.commit()
    assert heard() == [devices(world.device.pk), POLICIES]


@on_postgresql
@pytest.mark.django_db
def test_writers_do_not_wait_for_each_other(world: World):
    """Two transactions at once, each with a change that is notified."""
    sql("SET lock_timeout = '5s'")
    try:
        with closing(psycopg2.connect(**connection.get_connection_params())) as other:
            other.cursor().execute("UPDATE accounts_device SET enabled = false WHERE username = 'pump-18'")
            with transaction.atomic():
                Device.objects.filter(pk=world.device.pk).update(enabled=False)
            other.rollback()
    finally:
        sql("RESET lock_timeout")
    assert not Device.objects.get(pk=world.device.pk).enabled


# --- Hearing ---


@on_postgresql
@pytest.mark.django_db
def test_new_devices_push_nobody_out_of_memory(world: World):
    with running_feed() as (directory, feed):
        assert may(directory) == AT_FIRST
        many_devices(world)
        wait_until(lambda: feed.applied == 1)
        assert directory.held == 1


@on_postgresql
@pytest.mark.django_db
def test_ten_thousand_statements_are_everything(world: World):
    with running_feed() as (directory, feed):
        assert may(directory) == AT_FIRST
        each_of_many(world)
        wait_until(becomes(directory, set()))
        wait_until(lambda: feed.lag_seconds < 1)
        # Far fewer than notifications: the server sends them by eight kilobytes.
        assert feed.applied < 1_000


@on_postgresql
@pytest.mark.django_db
def test_anybody_s_notification_is_harmless(world: World):
    with running_feed() as (directory, feed):
        assert may(directory) == AT_FIRST
        sql(f"NOTIFY {CHANNEL}, 'what?'")
        wait_until(lambda: feed.applied == 1)
        assert may(directory) == AT_FIRST
        assert feed.state == FeedState.LISTENING


def listeners() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE application_name = 'run_exhook feed' AND datname = current_database()"
        )
        return [pid for (pid,) in cursor.fetchall()]


@on_postgresql
@pytest.mark.django_db
def test_a_killed_listener_leaves_nothing_stale(world: World):
    with running_feed() as (directory, feed):
        for superuser, permitted in ((True, {LOGIN, *TOPICS}), (False, AT_FIRST)) * 3:
            # Of what was there before, the server may take leave a moment later.
            wait_until(lambda: len(listeners()) == 1)
            known = listeners()
            with transaction.atomic():
                sql("SELECT pg_terminate_backend(%s, 5000)", *known)
                # Its connection has ended: nobody is told of these.
                Device.objects.filter(pk=world.device.pk).update(superuser=superuser)
                Credential.objects.update(enabled=True)
            wait_until(becomes(directory, permitted))
            wait_until(lambda: feed.state == FeedState.LISTENING)
        assert feed.last_error == "OperationalError"


@on_postgresql
@pytest.mark.django_db
def test_closing_leaves_no_connection_behind(world: World):
    with running_feed():
        wait_until(lambda: len(listeners()) == 1)
    wait_until(lambda: listeners() == [])


@pytest.fixture
def through() -> Iterator[Callable[[Proxy], None]]:
    """Whoever connects from then on, connects through the proxy."""
    connection.ensure_connection()
    settings = connections.settings["default"]
    before = {name: settings[name] for name in ("HOST", "PORT")}

    def use(proxy: Proxy) -> None:
        settings.update(HOST="127.0.0.1", PORT=proxy.port)

    yield use
    settings.update(before)


def server_address() -> tuple[str, int]:
    return connection.settings_dict["HOST"], int(connection.settings_dict["PORT"])


@on_postgresql
@pytest.mark.django_db
def test_a_connection_that_is_dead_without_a_word_is_noticed(
    world: World, through: Callable[[Proxy], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feed_postgresql, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(feed_postgresql, "ANSWER_SECONDS", 0.5)
    with proxy_before(server_address()) as proxy:
        through(proxy)
        with running_feed() as (directory, feed):
            assert may(directory) == AT_FIRST
            proxy.freeze()
            Device.objects.filter(pk=world.device.pk).update(superuser=True)
            wait_until(lambda: feed.state == FeedState.LOST)
            assert directory.database_away
            proxy.thaw()
            wait_until(becomes(directory, {LOGIN, *TOPICS}))


def other_pid(data: bytes) -> bytes:
    """As poolers do: BackendKeyData (“K”, length 12, pid, key) names a process of their own."""
    message = b"K" + struct.pack("!i", 12)
    at = data.find(message)
    return data if at < 0 else data[: at + 5] + struct.pack("!i", 1) + data[at + 9 :]


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rewrite", "warns"), [pytest.param(other_pid, True, id="pooler"), pytest.param(bytes, False, id="none")]
)
def test_a_connection_pooler_is_warned_of(
    world: World,
    through: Callable[[Proxy], None],
    caplog: pytest.LogCaptureFixture,
    rewrite: Callable[[bytes], bytes],
    warns: bool,
):
    with proxy_before(server_address(), rewrite) as proxy:
        through(proxy)
        with running_feed() as (directory, _):
            Credential.objects.update(enabled=False)
            wait_until(becomes(directory, AT_FIRST - {LOGIN}))
        assert ("connection pooler" in caplog.text) is warns


# --- The server stops, and starts again ---


@pytest.fixture
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Server]:
    """A server of the test's own, in place of the test database."""
    settings = connections.settings["default"]
    before = dict(settings)
    with throwaway_server() as server, django_db_blocker.unblock():
        connection.close()
        address = environ.Env.db_url_config(server.url)
        settings.update({name: address[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")})
        try:
            call_command("migrate", verbosity=0)
            yield server
        finally:
            connection.close()
            settings.update(before)


@on_postgresql
def test_a_server_that_stops_is_served_without_and_healed_from(server: Server):
    accounts_services.create_device("pump-18", credential_required=False)
    device = accounts_services.create_device("pump-17")
    Credential.objects.create(device=device, kind="token", encoded=encode_token(TOKEN))
    acl_services.create_rule(device, "allow", "publish", "up/#")
    policy = acl_services.create_policy("all", everyone=True)
    acl_services.create_rule(policy, "allow", "publish", "all/#")
    client: Any = {"clientid": "pump-17", "username": "pump-17"}
    unseen: Any = {"clientid": "pump-18", "username": "pump-18"}

    def serves(endpoint: Endpoint, superuser: bool) -> bool:
        granted = [endpoint.grants(topic, **client) for topic in ("up/a", "all/a", "other/a")]
        return endpoint.admits(**client, password=TOKEN) and granted == [True, True, superuser]

    with running_endpoint("grpcio") as endpoint:
        feed = Feed(endpoint.provider.directory)
        feed.start()
        try:
            wait_until(lambda: feed.state == FeedState.LISTENING)
            assert serves(endpoint, superuser=False)
            for superuser in (True, False):
                server.stop()
                connection.close()
                wait_until(lambda: feed.state == FeedState.LOST)
                endpoint.facts.clear()
                for _ in range(20):
                    assert serves(endpoint, superuser=not superuser)
                assert not endpoint.grants("all/a", **unseen)
                assert not endpoint.admits(**unseen)
                reasons = {fact.reason for fact in endpoint.facts if fact.username == "pump-18"}
                assert reasons == {Reason.DATABASE_UNAVAILABLE}

                server.start()
                Device.objects.filter(pk=device.pk).update(superuser=superuser)
                wait_until(lambda: serves(endpoint, superuser))  # noqa: B023
                wait_until(lambda: feed.state == FeedState.LISTENING)
                wait_until(lambda: endpoint.admits(**unseen))
                # Out of memory again, for the second round.
                Device.objects.filter(username="pump-18").update(description="x", superuser=superuser)
                wait_until(lambda: endpoint.provider.directory.held == 1)
        finally:
            feed.close()
