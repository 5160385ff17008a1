"""The hash chain: whatever is done to the log behind the writer’s back is found and named."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from audit.chain import Method, add_links, content_of, method_of
from audit.chain_heads import heads, read_head
from audit.chain_verify import Finding, Problem, Verifier, days, verify_day
from audit.fact import Fact, Kind
from audit.folding import Memory, Row
from audit.models import Chain, ChainLink, Event
from audit.rows import COLUMNS, values_of
from audit.writer import write_facts
from tests.audit.events import event

pytestmark = pytest.mark.django_db

KEY = "a key of the tests, long enough to be one"
TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
"""Later days are after the chains were begun, and earlier ones before."""
TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture(params=["", KEY], ids=["without a key", "with a key"], autouse=True)
def chain_on(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.EXHOOK_AUDIT_CHAIN = True
    settings.EXHOOK_AUDIT_CHAIN_KEY = request.param


def fact(second: float, day: datetime = TOMORROW, **fields: Any) -> Fact:
    known: dict[str, Any] = {"device": "pump", "client_id": "c", "address": "2001:db8::1", "allowed": False}
    known["topic"] = f"t/{second}"  # so that none is folded into another
    kind = fields.pop("kind", Kind.AUTHORIZE)
    return Fact(kind, time=day.timestamp() + second, reason="rule_denies", **(known | fields))


def written() -> list[Event]:
    """Two batches of one day, in order."""
    facts = [fact(second) for second in range(6)]
    write_facts(facts[:4])
    write_facts(facts[4:])
    return list(Event.objects.order_by("time"))


def verifier(settings: Any) -> Verifier:
    key = settings.EXHOOK_AUDIT_CHAIN_KEY
    methods = [method_of(""), method_of(key)]
    return Verifier({method.name: method for method in methods}, keyed=bool(key))


def findings(verifier: Verifier) -> list[Finding]:
    found = []
    for day in days(Chain.objects.all(), date.min, date.max):
        found += [verdict.finding for verdict in verify_day(verifier, Chain.objects.all(), day, whole=True)]
    return [finding for finding in found if finding]


def sql(statement: str, *values: Any) -> None:
    """By whoever has the database’s password. Ids and times are bound as the database stores them."""
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(
            statement, [value.hex if sqlite and hasattr(value, "hex") else value for value in values]
        )
        assert cursor.rowcount > 0


# --- What is good ---


def test_what_was_written_is_good(settings):
    written()
    assert findings(verifier(settings)) == []
    (chain,) = Chain.objects.all()
    assert (chain.writer, chain.day, chain.count) == ("direct", TOMORROW.date(), 6)
    assert list(ChainLink.objects.order_by("number").values_list("number", flat=True)) == [0, 1, 2, 3, 4, 5]


def test_every_day_has_its_chain_and_late_facts_lengthen_an_old_day_s(settings):
    write_facts([fact(0), fact(13 * 3600), fact(1)])
    write_facts([fact(2, TODAY - timedelta(days=9)), fact(3)])
    lengths = Chain.objects.order_by("day").values_list("day", "count")
    today = TODAY.date()
    assert [((day - today).days, count) for day, count in lengths] == [(-9, 1), (1, 3), (2, 1)]
    assert findings(verifier(settings)) == []


def test_a_fact_that_comes_twice_makes_one_link(settings):
    twice = fact(0)
    write_facts([twice])
    write_facts([twice, fact(1)])
    assert ChainLink.objects.count() == 2
    assert findings(verifier(settings)) == []


def test_nothing_is_linked_while_it_is_off(settings):
    settings.EXHOOK_AUDIT_CHAIN = False
    written()
    assert not ChainLink.objects.exists()
    assert not Chain.objects.exists()


def test_events_of_before_it_was_switched_on_need_no_link(settings):
    settings.EXHOOK_AUDIT_CHAIN = False
    write_facts([fact(0, TODAY - timedelta(days=2)), fact(0, datetime.now(UTC) - timedelta(minutes=1))])
    settings.EXHOOK_AUDIT_CHAIN = True
    write_facts([fact(1, TODAY - timedelta(days=2)), fact(0)])
    assert findings(verifier(settings)) == []


def test_a_new_key_begins_new_chains_and_the_old_one_still_verifies_the_old(settings):
    write_facts([fact(0)])
    old = method_of(settings.EXHOOK_AUDIT_CHAIN_KEY)
    settings.EXHOOK_AUDIT_CHAIN_KEY = "another key, of as many characters as it takes"
    write_facts([fact(1)])
    new = verifier(settings)
    assert Chain.objects.count() == 2
    both = replace(new, methods={**new.methods, old.name: old}, unkeyed_until=TOMORROW.date())
    assert findings(both) == []
    wanted = Problem.NO_KEY if old.key else Problem.UNKEYED
    assert [finding.problem for finding in findings(new)] == [wanted]


def test_repeats_are_counted_within_a_batch_only(settings):
    settings.EXHOOK_FOLD_SECONDS = 600
    memory = Memory()
    for _ in range(2):
        write_facts([fact(second, topic="t") for second in range(3)], memory=memory)
    assert list(Event.objects.values_list("repeats", flat=True)) == [2, 2]
    assert findings(verifier(settings)) == []


def test_links_are_read_in_batches(settings, monkeypatch):
    monkeypatch.setattr("audit.chain_verify.LINKS_AT_ONCE", 2)
    events = written()
    assert findings(verifier(settings)) == []
    sql("DELETE FROM audit_event WHERE id = %s", events[5].pk)
    (found,) = findings(verifier(settings))
    assert (found.problem, found.number) == (Problem.REMOVED, 5)


def test_the_digest_of_an_event_is_the_same_when_it_is_read_back(settings):
    method = method_of(settings.EXHOOK_AUDIT_CHAIN_KEY)
    facts = [
        fact(
            0.123456, allowed=True, device="größe\n\t\\", topic="a/\u2028b", rule_id=7, rule="r", device_id=3
        ),
        fact(1, allowed=None, address="::ffff:192.0.2.1", port=1883, credential_id=9, device_id=3),
        Fact(Kind.PROVIDER_LOADED, time=0.0, node="n", detail="EMQX", revision="f00"),
    ]
    write_facts(facts)
    for each in facts:
        row = Event.objects.values_list(*COLUMNS).get(pk=each.id)
        link = ChainLink.objects.get(event_id=each.id)
        assert content_of(row, method) == link.content


# --- What is not ---


CHANGES = {
    "time": "2026-01-01 00:00:00+00:00", "kind": "client.connack", "allowed": True, "reason": "other",
    "device_id": 1, "device": "valve", "client_id": "d", "username": "u", "address": "192.0.2.1",
    "port": 1, "listener_port": 1, "protocol": "mqtt", "cn": "x", "node": "n", "cluster": "c",
    "action": "publish", "topic": "t/other", "rule_id": 1, "rule": "r", "credential_id": 1,
    "detail": "d", "revision": "r", "repeats": 1, "last_time": "2026-01-01 00:00:00+00:00",
}  # fmt: skip


def test_every_column_is_tried():
    assert {"id", *CHANGES} == {field.attname for field in Event._meta.concrete_fields}
    assert set(COLUMNS) == {field.attname for field in Event._meta.concrete_fields}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_event(settings, column):
    events = written()
    sql(f"UPDATE audit_event SET {column} = %s WHERE id = %s", CHANGES[column], events[2].pk)
    found = findings(verifier(settings))[0]
    assert (found.problem, found.number) == (Problem.CHANGED, 2)
    assert (found.event_id, found.event_time) == (events[2].pk, events[2].time)


def test_a_removed_event(settings):
    events = written()
    sql("DELETE FROM audit_event WHERE id = %s", events[2].pk)
    (found,) = findings(verifier(settings))
    assert (found.problem, found.number) == (Problem.REMOVED, 2)
    assert (found.event_id, found.event_time) == (events[2].pk, events[2].time)
    assert str(found).endswith(
        f"link 2, event {events[2].pk} of {events[2].time.isoformat()}: the event was removed."
    )


@pytest.mark.parametrize("day", [0, 1], ids=["into a day with a chain", "into a day without one"])
def test_an_inserted_event(settings, day):
    written()
    forged = event(0, device="forged")
    forged.time = TOMORROW + timedelta(days=day, seconds=2.5)
    forged.save(force_insert=True)
    (found,) = findings(verifier(settings))
    assert (found.problem, found.event_id, found.event_time) == (Problem.INSERTED, forged.pk, forged.time)


def test_an_inserted_event_of_the_day_on_which_the_chain_was_begun(settings):
    write_facts([fact(0, datetime.now(UTC))])
    forged = event(0)
    forged.time = Chain.objects.get().started_at + timedelta(microseconds=1)
    forged.save(force_insert=True)
    assert [(found.problem, found.event_id) for found in findings(verifier(settings))] == [
        (Problem.INSERTED, forged.pk)
    ]


def test_an_event_in_place_of_another(settings):
    """As many as before."""
    events = written()
    sql("DELETE FROM audit_event WHERE id = %s", events[2].pk)
    events[2].pk = event(0).pk
    events[2].save(force_insert=True)
    found = findings(verifier(settings))
    assert [finding.problem for finding in found] == [Problem.REMOVED, Problem.INSERTED]
    assert found[1].event_id == events[2].pk


def test_a_removed_link(settings):
    events = written()
    sql("DELETE FROM audit_chainlink WHERE number = %s", 2)
    removed, unlinked = findings(verifier(settings))
    assert (removed.problem, removed.number) == (Problem.LINK_REMOVED, 2)
    assert (unlinked.problem, unlinked.event_id) == (Problem.INSERTED, events[2].pk)


def test_an_event_and_its_link_removed_together_and_the_rest_moved_up(settings):
    events = written()
    sql("DELETE FROM audit_event WHERE id = %s", events[2].pk)
    sql("DELETE FROM audit_chainlink WHERE number = %s", 2)
    for number in (3, 4, 5):
        sql("UPDATE audit_chainlink SET number = %s WHERE number = %s", number - 1, number)
    sql("UPDATE audit_chain SET count = %s", 5)
    found = findings(verifier(settings))
    assert found[0].problem is Problem.SEAL


@pytest.mark.parametrize("column", ["event_id", "event_time", "event_kind", "content", "digest"])
def test_a_changed_link(settings, column):
    written()
    other = {"event_id": event(0).pk, "event_time": "2026-01-01 00:00:00+00:00"}.get(column, "x")
    sql(f"UPDATE audit_chainlink SET {column} = %s WHERE number = %s", other, 3)
    found = findings(verifier(settings))[0]
    assert (found.problem, found.number) == (Problem.LINK_CHANGED, 3)


def test_a_cut_tail(settings):
    events = written()
    sql("DELETE FROM audit_event WHERE id IN (%s, %s)", events[4].pk, events[5].pk)
    sql("DELETE FROM audit_chainlink WHERE number >= %s", 4)
    (found,) = findings(verifier(settings))
    assert (found.problem, found.number) == (Problem.CUT, 4)


def test_a_cut_tail_with_the_chain_s_length_corrected(settings):
    events = written()
    cut(events)
    (found,) = findings(verifier(settings))
    assert found.problem is Problem.SEAL


def cut(events: list[Event]) -> None:
    """Cuts off two events as well as one can who does not have the key."""
    sql("DELETE FROM audit_event WHERE id IN (%s, %s)", events[4].pk, events[5].pk)
    sql("DELETE FROM audit_chainlink WHERE number >= %s", 4)
    last = ChainLink.objects.get(number=3)
    sql("UPDATE audit_chain SET count = 4, digest = %s", last.digest)


def test_a_chain_that_was_made_anew_without_the_key(settings):
    """Whoever can write the database can do all the writer does, but for what takes the key."""
    events = written()
    kept = list(heads(Chain.objects.all()))
    key, settings.EXHOOK_AUDIT_CHAIN_KEY = settings.EXHOOK_AUDIT_CHAIN_KEY, ""
    Chain.objects.all().delete()
    ChainLink.objects.all().delete()
    events[2].delete()
    rows = list(Event.objects.order_by("time").values_list(*COLUMNS))
    add_links(rows)
    settings.EXHOOK_AUDIT_CHAIN_KEY = key
    own = verifier(settings)
    assert [found.problem for found in findings(own)] == ([Problem.UNKEYED] if key else [])
    # Without a key only what was kept elsewhere gives it away.
    gone = own.wrong_head(kept[0])
    assert gone is not None
    assert gone.problem is (Problem.GONE if key else Problem.CUT)


# --- What has expired ---


@pytest.mark.parametrize("whole", [True, False], ids=["the whole day", "one kind of it"])
def test_what_retention_deleted_has_expired(settings, whole):
    written()
    write_facts([fact(0.5, kind=Kind.CONNECTED), fact(5.5, kind=Kind.CONNECTED)])
    Event.objects.filter(**({} if whole else {"kind": Kind.CONNECTED})).delete()
    end = TOMORROW + timedelta(days=2)

    def horizon(kind: str) -> datetime | None:
        return end if whole or kind == Kind.CONNECTED else None

    own = replace(verifier(settings), horizon=horizon)
    verdicts = list(verify_day(own, Chain.objects.all(), TOMORROW.date(), whole=True))
    assert [(verdict.links, verdict.expired, verdict.finding) for verdict in verdicts] == [
        (8, 8 if whole else 2, None)
    ]
    assert own.has_expired(TOMORROW.date()) is whole
    assert findings(verifier(settings))[0].problem is Problem.REMOVED


def test_what_is_too_young_to_have_expired_was_removed(settings):
    events = written()
    sql("DELETE FROM audit_event WHERE id IN (%s, %s)", events[1].pk, events[3].pk)
    own = replace(verifier(settings), horizon=lambda kind: events[2].time)
    (found,) = findings(own)
    assert (found.problem, found.event_id) == (Problem.REMOVED, events[3].pk)


# --- The command ---


def verify(*arguments: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    said = StringIO()
    try:
        call_command("audit_verify", *arguments, stdout=said, no_color=True)
    except SystemExit as exit:
        return int(str(exit.code)), said.getvalue()
    return 0, said.getvalue()


def test_the_command_says_that_all_is_good():
    written()
    assert verify() == (0, "1 chains with 6 links. All is as it was written.\n")
    assert verify("--verbosity", "2")[1].startswith(f"{TOMORROW.date()}, chain of direct (")


def test_the_command_names_the_first_broken_link_of_each_chain():
    events = written()
    write_facts([fact(0, TOMORROW + timedelta(days=3)), fact(1, TOMORROW + timedelta(days=3))])
    last = Event.objects.order_by("time").last()
    assert last is not None
    sql("UPDATE audit_event SET device = 'x' WHERE id IN (%s, %s, %s)", events[1].pk, events[3].pk, last.pk)
    status, said = verify()
    assert status == 1
    assert f"link 1, event {events[1].pk} of " in said
    assert f"link 1, event {last.pk} of " in said
    assert str(events[3].pk) not in said
    assert "Problems: 2." in said
    assert verify("--day", str(TOMORROW.date()))[1].count("changed after") == 1
    assert verify("--since", str(last.time.date()))[1].count("changed after") == 1
    assert verify("--until", str(TOMORROW.date() - timedelta(days=1)))[0] == 0
    assert verify("--writer", "somebody")[0] == 0
    assert verify("--writer", "direct")[0] == 1


def test_heads_that_were_kept_give_away_a_cut_tail_and_a_chain_that_is_gone(tmp_path: Path, settings):
    kept = str(tmp_path / "heads")
    events = written()
    assert verify("--save-heads", kept)[0] == 0
    write_facts([fact(9)])
    assert verify("--check-heads", kept)[0] == 0, "a chain may grow"
    assert verify("--save-heads", "-")[1].count("\n") == 2
    write_head = read_head(Path(kept).read_text())
    assert write_head.count == 6
    cut([*events[:4], *Event.objects.order_by("time")[4:6]])
    status, said = verify("--check-heads", kept)
    assert status == 1
    assert "the chain’s end was cut off here. A head that was kept says so." in said
    Chain.objects.all().delete()
    ChainLink.objects.all().delete()
    status, said = verify("--check-heads", kept)
    assert status == 1
    assert "the chain is gone. A head that was kept says so." in said


def test_without_any_chain_the_command_says_whether_there_should_be_one(settings):
    status, said = verify()
    assert status == 1
    assert "There is no chain although EXHOOK_AUDIT_CHAIN is on" in said
    settings.EXHOOK_AUDIT_CHAIN = False
    assert verify() == (0, "There is no chain to verify: EXHOOK_AUDIT_CHAIN switches it on.\n")


def test_the_command_takes_earlier_keys_from_files(tmp_path: Path, settings):
    write_facts([fact(0)])
    old = settings.EXHOOK_AUDIT_CHAIN_KEY
    settings.EXHOOK_AUDIT_CHAIN_KEY = "another key, of as many characters as it takes"
    write_facts([fact(1)])
    assert verify()[0] == 1
    (tmp_path / "old").write_text(f"{old}\n")
    if old:
        assert verify("--key-file", str(tmp_path / "old"))[0] == 0
    else:
        assert verify("--unkeyed-until", str(TOMORROW.date()))[0] == 0
        with pytest.raises(CommandError, match="it is empty; a key belongs into it"):
            verify("--key-file", str(tmp_path / "old"))


@pytest.mark.parametrize("option", ["--check-heads", "--key-file"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, option: str):
    with pytest.raises(CommandError, match="nowhere: No such file"):
        verify(option, str(tmp_path / "nowhere"))


def test_a_file_that_holds_no_heads_is_refused_with_its_line(tmp_path: Path):
    (tmp_path / "heads").write_text('["2026-11-20", "w", "sha256", 1, "d"]\nnonsense\n')
    with pytest.raises(CommandError, match="line 2: it is no head, as --save-heads writes one a line"):
        verify("--check-heads", str(tmp_path / "heads"))


def test_the_key_is_in_no_text():
    assert KEY not in repr(method_of(KEY))
    assert KEY not in method_of(KEY).name


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
told = st.fixed_dictionaries(
    {},
    optional={
        "device": texts, "client_id": texts, "topic": texts, "detail": texts, "allowed": st.booleans(),
        "rule_id": st.integers(1, 9), "credential_id": st.integers(1, 9),
    },
)  # fmt: skip


@given(told, told)
def test_events_that_differ_have_different_digests(one: dict[str, Any], other: dict[str, Any]):
    method = Method("sha256")
    same = Fact(Kind.AUTHORIZE, time=1.0)
    rows = [values_of(Row(structs.replace(same, **fields))) for fields in (one, other)]
    assert (content_of(rows[0], method) == content_of(rows[1], method)) is (rows[0] == rows[1])
