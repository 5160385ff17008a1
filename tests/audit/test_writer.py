"""The writer: facts become rows once, whatever they hold and however often they come."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from audit.fact import NAME_CHARACTERS, TEXT_CHARACTERS, Fact, Kind
from audit.folding import Memory
from audit.models import Event, Session
from audit.positions import Moved
from audit.spool import Position
from audit.spool_reader import Move
from audit.writer import write_facts
from tests.audit.test_presence import down, lives, up

START = 1_800_000_000.0
PUMP: dict[str, Any] = {
    "client_id": "pump-17",
    "node": "emqx@n1",
    "cluster": "emqxcl",
    "address": "192.0.2.7",
}


def sessions() -> list[tuple[Any, ...]]:
    """Every session but for its number, oldest first."""
    return list(
        Session.objects.order_by("connected_at", "port").values_list(
            "client_id", "node", "address", "port", "connected_at", "disconnected_at", "end_reason"
        )
    )


@pytest.mark.django_db
def test_every_field_of_a_fact_is_in_its_row():
    fact = Fact(
        Kind.AUTHORIZE,
        time=START + 0.25,
        allowed=False,
        reason="rule_denies",
        device_id=7,
        device="pump",
        client_id="pump-17",
        username="pumpe",
        address="192.0.2.7",
        port=40_000,
        listener_port=1883,
        protocol="mqtt",
        cn="pump.example",
        node="emqx@n1",
        cluster="emqxcl",
        action="publish",
        topic="a/b",
        rule_id=9,
        rule="deny all # (policy fleet)",
        credential_id=11,
        detail="words",
    )
    assert write_facts([fact]) == 1
    event = Event.objects.get()
    assert event.time == datetime(2027, 1, 15, 8, 0, 0, 250_000, tzinfo=UTC)
    of_nodes = {"node_version", "node_protocol", "node_started", "node_heard"}  # see test_nodes.py
    same = {name: getattr(fact, name) for name in set(fact.__struct_fields__) - of_nodes - {"time"}}
    assert {name: getattr(event, name) for name in same} == same


@pytest.mark.django_db
def test_nothing_is_nothing():
    assert write_facts([]) == 0
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_facts_that_come_again_change_nothing():
    facts = [up(0, 1), up(5, 2), down(5.25, 1, "takenover"), down(9, 2), Fact(Kind.AUTHENTICATE, time=START)]
    assert write_facts(facts) == 5
    written = sessions()
    assert write_facts(facts) == 0
    assert write_facts(facts[2:]) == 0
    assert write_facts([*facts, up(20, 3)]) == 1
    assert Event.objects.count() == 6
    assert sessions()[: len(written)] == written


@pytest.mark.django_db
def test_a_fact_twice_in_one_batch_is_one():
    fact = up(0, 1)
    write_facts([fact, fact])
    assert Event.objects.count() == 1
    assert Session.objects.count() == 1


@pytest.mark.django_db
def test_all_or_nothing():
    """A batch that failed is written again as a whole: half of it must not be there already."""
    with pytest.raises(UnicodeEncodeError):
        write_facts([up(0, 1), Fact(Kind.CONNECTED, client_id="\ud800")])
    assert not Event.objects.exists()
    assert not Session.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a\x00b", id="NUL"),
        pytest.param("x" * 70_000, id="as long as MQTT allows"),
        pytest.param("😀" * 5_000, id="beyond the basic plane"),
        pytest.param("\uffff\ufffe", id="non-characters"),
        pytest.param("%s %(a)s {0} '; --", id="formats and quotes"),
        pytest.param("\r\n\t\x1b[31m\x7f", id="control characters"),
    ],
)
def test_whatever_a_stranger_calls_itself_is_stored_and_bounded(text: str):
    names = ("device", "client_id", "username", "cn", "node", "cluster", "protocol")
    said: dict[str, Any] = dict.fromkeys((*names, "topic", "rule", "detail"), text)
    facts = [Fact(kind, time=START, port=1, address="192.0.2.7", **said) for kind in Kind]
    assert write_facts(facts) == len(Kind)
    for event in Event.objects.all():
        for name in names:
            stored = getattr(event, name)
            assert "\x00" not in stored
            assert len(stored) <= NAME_CHARACTERS
            assert stored[:20] == text[:20].replace("\x00", "\ufffd")
        assert len(event.topic) <= TEXT_CHARACTERS
        assert len(event.detail) <= TEXT_CHARACTERS
    assert Session.objects.count() == 1
    assert not Session.objects.online().exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:0207", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("", None),
        ("undefined", None),
        ("192.0.2.256", None),
        ("192.0.2.7:1883", None),
        ("010.0.0.1", None),
        ("/run/emqx.sock", None),
        ("x" * 70_000, None),
        ("a\x00b", None),
    ],
)
def test_addresses(address: str, stored: str | None):
    """However the broker spells it, the end of a connection is known to belong to its begin."""
    write_facts([up(0, 0, address=address)])
    assert Event.objects.get().address == stored
    assert Session.objects.get().address == stored
    write_facts([down(60, 0, address=address)])
    assert not Session.objects.online().exists()


@pytest.mark.django_db
def test_an_ipv4_address_is_the_same_one_in_ipv6_clothes():
    write_facts([up(0, 0, address="::ffff:192.0.2.7")])
    write_facts([down(9, 0, address="192.0.2.7")])
    assert [session.end_reason for session in Session.objects.all()] == ["normal"]


@pytest.mark.django_db
def test_names_too_long_to_store_are_still_one_client_from_begin_to_end():
    """Cut to the same text they are one client: two online at once would be refused by the database."""
    one, two = "x" * 600, "x" * 601
    write_facts([up(0, 1, client_id=one, node=one), up(1, 2, client_id=two, node=one)])
    write_facts([down(9, 2, client_id=two, node=one)])
    assert Session.objects.count() == 2
    assert not Session.objects.online().exists()


# --- Sessions ---


@pytest.mark.django_db
def test_a_session_over_two_batches():
    write_facts([up(0, 1, device_id=7, device="pump", username="u", protocol="mqtt")])
    session = Session.objects.online().get()
    assert (session.device_id, session.device, session.username, session.protocol) == (7, "pump", "u", "mqtt")
    assert session.connected_at == datetime.fromtimestamp(START, UTC)
    write_facts([down(9, 1, "keepalive_timeout")])
    ended = Session.objects.get()
    assert ended.pk == session.pk
    assert ended.disconnected_at == datetime.fromtimestamp(START + 9, UTC)
    assert ended.end_reason == "keepalive_timeout"


@pytest.mark.django_db
def test_a_takeover_over_two_batches():
    write_facts([up(0, 1)])
    write_facts([up(5, 2)])
    assert [session.port for session in Session.objects.online()] == [2]
    write_facts([down(5.25, 1, "takenover")])
    assert [(s.port, s.end_reason) for s in Session.objects.order_by("connected_at")] == [
        (1, "takenover"),
        (2, ""),
    ]
    assert [session.port for session in Session.objects.online()] == [2]


@pytest.mark.django_db
def test_clients_and_clusters_are_apart():
    write_facts([up(0, 1), up(0, 2, client_id="pump-18"), up(0, 3, cluster="other")])
    write_facts([down(5, 3, cluster="other")])
    assert set(Session.objects.online().values_list("cluster", "client_id")) == {
        ("emqxcl", "pump-17"),
        ("emqxcl", "pump-18"),
    }


@pytest.mark.django_db
def test_other_kinds_move_no_session():
    write_facts([Fact(kind, **PUMP) for kind in Kind if kind not in (Kind.CONNECTED, Kind.DISCONNECTED)])
    assert not Session.objects.exists()


@pytest.mark.django_db
def test_a_client_without_an_id_has_no_session():
    assert write_facts([up(0, 1, client_id=""), down(1, 1, client_id="")]) == 2
    assert not Session.objects.exists()


def emptied() -> None:
    Event.objects.all().delete()
    Session.objects.all().delete()


@pytest.mark.django_db
@example_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(life=lives(), data=st.data())
def test_batches_of_any_size_and_told_twice_end_in_the_same_sessions(
    life: tuple[list[Fact], bool], data: st.DataObject
):
    facts, online = life
    emptied()
    write_facts(facts)
    at_once = sessions()
    emptied()
    rest = facts
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        write_facts(rest[:size])
        if data.draw(st.booleans()):
            write_facts(rest[:size])
        rest = rest[size:]
    assert sessions() == at_once
    assert Session.objects.online().exists() is online


# --- Floods ---


def refused(at: float, topic: str = "valve/1", **more: Any) -> Fact:
    said = {"reason": "rule_denies", **PUMP, **more}
    return Fact(Kind.AUTHORIZE, time=START + at, allowed=False, topic=topic, **said)


def counts() -> list[tuple[str, float, int, float | None]]:
    """Topic, first, repeats, last: of every row, oldest first."""
    return [
        (
            event.topic,
            event.time.timestamp() - START,
            event.repeats,
            event.last_time.timestamp() - START if event.last_time else None,
        )
        for event in Event.objects.order_by("time", "topic")
    ]


@pytest.mark.django_db
def test_a_flood_over_many_batches_is_one_row_that_counts():
    memory = Memory()
    assert write_facts([refused(0), refused(1, port=2), refused(2)], None, memory) == 3
    assert counts() == [("valve/1", 0, 2, 2)]
    assert write_facts([refused(3)], None, memory) == 1
    assert write_facts([refused(4.25), refused(3.5), refused(5, "valve/2")], None, memory) == 3
    assert write_facts([refused(4)], None, memory) == 1
    assert counts() == [("valve/1", 0, 6, 4.25), ("valve/2", 5, 0, None)]
    assert write_facts([refused(600), refused(601)], None, memory) == 2
    assert counts()[2:] == [("valve/1", 600, 1, 601)]


@pytest.mark.django_db
def test_a_row_that_was_not_repeated_until_now():
    memory = Memory()
    write_facts([refused(0)], None, memory)
    write_facts([refused(1)], None, memory)
    assert counts() == [("valve/1", 0, 1, 1)]


@pytest.mark.django_db
def test_many_rows_are_counted_on_in_one_batch():
    memory = Memory()
    topics = [f"valve/{number:03}" for number in range(150)]
    write_facts([refused(number, topic) for number, topic in enumerate(topics)], None, memory)
    write_facts([refused(200, topic) for topic in topics] + [refused(201, topics[0])], None, memory)
    assert counts()[0] == (topics[0], 0, 2, 201)
    assert counts()[1:] == [(topic, number, 1, 200) for number, topic in enumerate(topics)][1:]


@pytest.mark.django_db
def test_when_the_row_was_deleted_its_repeats_are_a_new_one():
    memory = Memory()
    write_facts([refused(0), refused(0, "valve/2")], None, memory)
    Event.objects.filter(topic="valve/1").delete()
    write_facts([refused(1), refused(2), refused(2, "valve/2")], None, memory)
    write_facts([refused(3)], None, memory)
    assert counts() == [("valve/2", 0, 1, 2), ("valve/1", 1, 2, 3)]


@pytest.mark.django_db
def test_a_batch_that_is_not_stored_is_not_remembered():
    memory = Memory()
    with pytest.raises(UnicodeEncodeError):
        write_facts([refused(0), refused(1, "\ud800")], None, memory)
    write_facts([refused(2)], None, memory)
    assert counts() == [("valve/1", 2, 0, None)]


@pytest.mark.django_db
def test_what_a_lost_answer_hid_is_not_counted_twice():
    memory = Memory()
    write_facts([refused(0)], Move("spool", None, Position(0, 100)), memory)
    repeats = [refused(1), refused(2)]
    write_facts(repeats, Move("spool", Position(0, 100), Position(0, 300)), memory)
    with pytest.raises(Moved):
        write_facts(repeats, Move("spool", Position(0, 100), Position(0, 300)), memory)
    assert counts() == [("valve/1", 0, 2, 2)]


@pytest.mark.django_db
def test_told_again_without_a_position_a_batch_changes_nothing():
    facts = [refused(0), refused(1), refused(2), refused(2, "valve/2")]
    assert write_facts(facts) == 4
    assert write_facts(facts) == 0
    assert write_facts([*facts, *facts]) == 0
    assert counts() == [("valve/1", 0, 2, 2), ("valve/2", 2, 0, None)]


@pytest.mark.django_db
def test_without_folding_each_is_a_row(settings: Any):
    settings.EXHOOK_FOLD_SECONDS = 0
    memory = Memory()
    write_facts([refused(0), refused(1)], None, memory)
    write_facts([refused(2)], None, memory)
    assert [count[1:] for count in counts()] == [(0, 0, None), (1, 0, None), (2, 0, None)]


# --- Several writers ---


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_write_at_once_put_a_client_online_once():
    """A client that moves to another node is told of by two workers, each with its own writer."""
    errors: list[BaseException] = []

    def write(fact: Fact) -> None:
        try:
            write_facts([fact])
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    late = up(5, 2, node="emqx@n2")
    thread = threading.Thread(target=write, args=(late,))
    with transaction.atomic():
        write_facts([up(0, 1)])
        thread.start()
        time.sleep(0.3)  # for the other one to come as far as it can
        assert not Event.objects.filter(pk=late.id).exists()
    thread.join(30)
    assert errors == []
    assert [(s.port, s.end_reason) for s in Session.objects.order_by("connected_at")] == [
        (1, "superseded"),
        (2, ""),
    ]


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_write_the_same_facts_write_them_once():
    """A spool that is taken over may be written by two for a moment."""
    facts = [replace(fact) for fact in (up(0, 1), down(1, 1), up(2, 2))]
    counts: list[int] = []

    def write() -> None:
        counts.append(write_facts(facts))
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(counts) == [0, 0, 0, 3]
    assert Event.objects.count() == 3
    assert [(s.port, s.end_reason) for s in Session.objects.order_by("connected_at")] == [
        (1, "normal"),
        (2, ""),
    ]
