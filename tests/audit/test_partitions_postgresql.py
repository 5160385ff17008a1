"""Partitions on a real PostgreSQL: created, filled from the default one, dropped, with writers at work."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import override_settings

from audit import partitions_postgresql as postgresql
from audit.fact import Fact, Kind
from audit.models import Event
from audit.partitions import Partition, Span
from audit.partitions_postgresql import Busy, Locked
from audit.retention import KindGroup, group_of
from audit.writer import write_facts
from tests.audit.elsewhere import Elsewhere

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("same_partitions_afterwards"),
]

DECISIONS, PRESENCE, ACTIVITY = KindGroup
# No partition covers this, unless a test makes one.
FAR = datetime(2041, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
THAT_DAY = Span(FAR.replace(hour=0), FAR.replace(hour=0) + DAY)


def denial(moment: datetime = FAR) -> Fact:
    return Fact(Kind.AUTHORIZE, time=moment.timestamp())


def tables_of(*facts: Fact) -> list[str]:
    """In which partition each fact's event is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, tableoid::regclass::text FROM audit_event WHERE id = ANY(%s)",
            [[fact.id for fact in facts]],
        )
        found = dict(cursor.fetchall())
    return [found[fact.id] for fact in facts]


def quietly(text: str) -> None:
    """For who does not want to hear what is done."""


def test_each_kind_is_in_the_table_of_its_group() -> None:
    facts = [Fact(kind, time=FAR.timestamp()) for kind in Kind]
    write_facts(facts)
    assert tables_of(*facts) == [postgresql.default_of(group_of(kind)) for kind in Kind]


def test_after_migrate_there_are_partitions_for_now() -> None:
    now = postgresql.clock()
    for group in KindGroup:
        spans = [one.span for one in postgresql.partitions(group)]
        assert any(now in span for span in spans)
        assert any(now + 6 * DAY in span for span in spans)


def test_a_partition_takes_its_rows_from_the_default_one_and_leaves_the_others() -> None:
    inside = [denial(THAT_DAY.start), denial(FAR), denial(THAT_DAY.end - timedelta(microseconds=1))]
    outside = [denial(THAT_DAY.start - timedelta(microseconds=1)), denial(THAT_DAY.end)]
    write_facts([*inside, *outside])
    said: list[str] = []
    assert postgresql.attach(DECISIONS, THAT_DAY, said.append) == 3
    assert said == ["decisions: created the partition for 2041-03-04 to 2041-03-05, with 3 rows"]
    later = denial()
    write_facts([later])
    table = "audit_event_decisions_20410304"
    assert tables_of(*inside, later) == [table] * 4
    assert tables_of(*outside) == [postgresql.default_of(DECISIONS)] * 2
    assert Event.objects.count() == 6
    assert Partition(table, THAT_DAY) in postgresql.partitions(DECISIONS)


def test_what_was_moved_and_comes_again_is_known() -> None:
    facts = [denial(), denial()]
    write_facts(facts)
    postgresql.attach(DECISIONS, THAT_DAY, quietly)
    assert write_facts(facts) == 0
    rows = [Event(id=fact.id, time=fact.at, kind=fact.kind) for fact in facts]
    Event.objects.bulk_create(rows, ignore_conflicts=True)
    assert Event.objects.count() == 2


def test_many_rows_are_moved_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "MOST_MOVED", 10)
    minutes = [THAT_DAY.start + timedelta(minutes=number // 4) for number in range(50)]
    write_facts([denial(moment) for moment in minutes])
    assert postgresql.attach(DECISIONS, THAT_DAY, quietly) == 50
    created = [one for one in postgresql.partitions(DECISIONS) if one.span.start >= THAT_DAY.start]
    assert len(created) == 6
    assert [one.span.end for one in created[:-1]] == [one.span.start for one in created[1:]]
    assert (created[0].span.start, created[-1].span.end) == (THAT_DAY.start, THAT_DAY.end)
    assert created[1].table == "audit_event_decisions_20410304t000200000000"
    assert postgresql.count_outside(DECISIONS) == 0
    assert Event.objects.count() == 50


def test_many_rows_of_one_moment_are_moved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "MOST_MOVED", 3)
    write_facts([denial() for _ in range(20)])
    assert postgresql.attach(DECISIONS, THAT_DAY, quietly) == 20
    assert postgresql.count_outside(DECISIONS) == 0


def test_a_partition_that_is_there_is_not_created_again() -> None:
    postgresql.attach(DECISIONS, THAT_DAY, quietly)
    before = postgresql.partitions(DECISIONS)
    said: list[str] = []
    assert postgresql.attach(DECISIONS, THAT_DAY, said.append) == 0
    assert postgresql.attach(DECISIONS, Span(FAR, FAR + 3 * DAY), said.append) == 0
    assert (said, postgresql.partitions(DECISIONS)) == ([], before)


def test_a_table_that_somebody_kept_does_not_stand_in_the_way() -> None:
    postgresql.attach(DECISIONS, THAT_DAY, quietly)
    write_facts([denial()])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_event_decisions DETACH PARTITION audit_event_decisions_20410304")
        try:
            postgresql.attach(DECISIONS, THAT_DAY, quietly)
            assert [one.span for one in postgresql.partitions(DECISIONS)].count(THAT_DAY) == 1
            assert Event.objects.count() == 0
        finally:
            cursor.execute("DROP TABLE audit_event_decisions_20410304")


def test_only_the_partition_named_is_dropped() -> None:
    next_day = Span(THAT_DAY.end, THAT_DAY.end + DAY)
    for span in (THAT_DAY, next_day):
        postgresql.attach(DECISIONS, span, quietly)
    gone, stays, elsewhere = denial(), denial(FAR + DAY), Fact(Kind.CONNECTED, time=FAR.timestamp())
    write_facts([gone, stays, elsewhere])
    [one] = [one for one in postgresql.partitions(DECISIONS) if one.span == THAT_DAY]
    postgresql.drop(DECISIONS, Partition(one.table, next_day))
    assert Event.objects.count() == 3, "that table holds another span than was thought"
    postgresql.drop(DECISIONS, one)
    postgresql.drop(DECISIONS, one)
    assert set(Event.objects.values_list("id", flat=True)) == {stays.id, elsewhere.id}


def test_rows_are_deleted_in_batches_up_to_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "BATCH_ROWS", 4)
    write_facts([denial(FAR + number * DAY) for number in range(12)])
    table = postgresql.default_of(DECISIONS)
    assert postgresql.count_before(table, FAR + 8 * DAY) == 8
    assert postgresql.delete_before(table, FAR + 8 * DAY) == 8
    assert postgresql.oldest_outside(DECISIONS, None, FAR + 99 * DAY) == FAR + 8 * DAY
    assert postgresql.oldest_outside(DECISIONS, FAR + 9 * DAY, FAR + 99 * DAY) == FAR + 9 * DAY
    assert postgresql.oldest_outside(DECISIONS, None, FAR + 8 * DAY) is None


@pytest.mark.parametrize(
    "zone", ["Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu", "Europe/Dublin"]
)
def test_bounds_are_the_same_in_every_time_zone(zone: str) -> None:
    """The server's, the session's and the site's: none of them moves a bound."""
    before = postgresql.partitions(DECISIONS)
    with override_settings(TIME_ZONE=zone), connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE %s", [zone])
        try:
            assert postgresql.partitions(DECISIONS) == before
            midnight = denial(THAT_DAY.start)
            write_facts([midnight, denial(THAT_DAY.start - timedelta(microseconds=1))])
            assert postgresql.attach(DECISIONS, THAT_DAY, quietly) == 1
            assert tables_of(midnight) == ["audit_event_decisions_20410304"]
            assert postgresql.oldest_outside(DECISIONS, None, FAR) == THAT_DAY.start - timedelta(
                microseconds=1
            )
            assert abs(postgresql.clock() - datetime.now(UTC)) < DAY / 24
        finally:
            cursor.execute("SET TIME ZONE 'UTC'")
    assert THAT_DAY in [one.span for one in postgresql.partitions(DECISIONS)]


def test_partitions_made_by_hand_are_understood() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE by_hand PARTITION OF audit_event_decisions"
            " FOR VALUES FROM ('2040-01-01 00:00+05:30') TO (MAXVALUE)"
        )
    start = datetime(2039, 12, 31, 18, 30, tzinfo=UTC)
    [one] = [one for one in postgresql.partitions(DECISIONS) if one.table == "by_hand"]
    assert one.span == Span(start, datetime.max.replace(tzinfo=UTC))


def test_one_at_a_time() -> None:
    with Elsewhere(f"SELECT pg_advisory_lock({postgresql.MAINTENANCE_LOCK})"), pytest.raises(Busy):
        postgresql.attach(DECISIONS, THAT_DAY, quietly)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_who_reads_for_long_is_not_interrupted_and_holds_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(postgresql, "LOCK_ATTEMPTS", 2)
    write_facts([denial()])
    before = postgresql.partitions(DECISIONS)
    with Elsewhere("SELECT count(*) FROM audit_event"):
        with pytest.raises(Locked, match="audit_event_decisions"):
            postgresql.attach(DECISIONS, THAT_DAY, quietly)
        with pytest.raises(Locked):
            postgresql.drop(DECISIONS, before[0])
        write_facts([denial()])
    assert postgresql.partitions(DECISIONS) == before
    assert postgresql.count_outside(DECISIONS) == 2


class Writer(threading.Thread):
    """Writes batches of facts about now and then, as workers do, until it is told to stop."""

    def __init__(self, days: range) -> None:
        super().__init__(daemon=True)
        self._days = days
        self._stop_writing = threading.Event()
        self.written: list[uuid.UUID] = []
        self.failures: list[Exception] = []
        self.batches = 0

    def run(self) -> None:
        try:
            while not self._stop_writing.is_set():
                facts = [
                    Fact(kind, time=(FAR + day * DAY).timestamp(), client_id=f"c{day}")
                    for day in self._days
                    for kind in (Kind.AUTHORIZE, Kind.AUTHENTICATE, Kind.PROVIDER_LOADED)
                ]
                try:
                    write_facts(facts)
                except Exception as error:
                    self.failures.append(error)
                    continue
                self.written += [fact.id for fact in facts]
                self.batches += 1
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop_writing.set()
        self.join(60)


def test_writers_neither_fail_nor_lose_while_partitions_come_and_go() -> None:
    """Their rows go to the default partition, which loses one day after another to a new one."""
    empty = [Span(FAR - number * DAY, FAR - (number - 1) * DAY) for number in range(3, 9)]
    for span in empty:
        postgresql.attach(DECISIONS, span, quietly)
    writers = [Writer(range(1, 9)) for _ in range(3)]
    for writer in writers:
        writer.start()

    def wait_for_batches() -> None:
        for writer in writers:
            wanted = writer.batches + 1
            while writer.batches < wanted and not writer.failures and writer.is_alive():
                threading.Event().wait(0.01)

    try:
        wait_for_batches()
        for number, span in enumerate(empty):
            day = Span(THAT_DAY.start + (number + 1) * DAY, THAT_DAY.end + (number + 1) * DAY)
            postgresql.attach(DECISIONS, day, quietly)
            postgresql.attach(PRESENCE, day, quietly)
            [old] = [one for one in postgresql.partitions(DECISIONS) if one.span == span]
            postgresql.drop(DECISIONS, old)
            wait_for_batches()
    finally:
        for writer in writers:
            writer.stop()
    assert [writer.failures for writer in writers] == [[], [], []]
    written = {event for writer in writers for event in writer.written}
    assert set(Event.objects.values_list("id", flat=True)) == written
    assert all(writer.batches > len(empty) for writer in writers)


def test_the_table_as_a_whole_behaves_like_one() -> None:
    """Whatever Django and COPY do with it, rows in and outside of partitions alike."""
    postgresql.attach(DECISIONS, THAT_DAY, quietly)
    facts = [denial(), denial(FAR + 5 * DAY), Fact(Kind.DISCONNECTED, time=FAR.timestamp())]
    write_facts(facts)
    assert Event.objects.get(pk=facts[0].id).kind == Kind.AUTHORIZE
    assert Event.objects.filter(time__gte=FAR).update(repeats=3) == 3
    assert Event.objects.order_by("-time", "-id").first() == Event.objects.get(pk=facts[1].id)
    with connection.cursor() as cursor:
        quoted = ", ".join(connection.ops.quote_name(field.attname) for field in Event._meta.concrete_fields)
        cursor.execute(f"CREATE TEMP TABLE came AS SELECT {quoted} FROM audit_event")
        cursor.execute("UPDATE came SET id = gen_random_uuid()")
        cursor.execute(f"INSERT INTO audit_event ({quoted}) SELECT {quoted} FROM came ON CONFLICT DO NOTHING")
        cursor.execute("DROP TABLE came")
    assert Event.objects.count() == 6
    assert Event.objects.filter(kind=Kind.AUTHORIZE).delete()[0] == 4
    assert Event.objects.count() == 2


def test_every_partition_has_the_indexes_of_the_table() -> None:
    postgresql.attach(DECISIONS, THAT_DAY, quietly)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, count(*) FROM pg_indexes"
            " WHERE tablename LIKE 'audit_event%%' GROUP BY tablename"
        )
        counts = dict(cursor.fetchall())
        cursor.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        assert cursor.fetchone() == (0,)
    assert counts["audit_event"] == 1 + len(Event._meta.indexes)
    assert len(set(counts.values())) == 1
    assert "audit_event_decisions_20410304" in counts
