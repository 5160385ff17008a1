"""Dead letters: kept within bounds, readable whatever happened to the file, and written again."""

import multiprocessing
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection
from msgspec.structs import replace

from audit import dead_letters as module
from audit.codec import encode
from audit.dead_letters import NEWER, OLDER, DeadLetters, Letter, Retried, dead_letters
from audit.fact import Fact, Kind
from audit.models import Event
from tests.outage import Outage

TOO_LARGE = 2**70


def denied(number: int = 0, **more: object) -> Fact:
    return Fact(Kind.AUTHORIZE, client_id=f"pump-{number}", **more)  # type: ignore[arg-type]


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return DeadLetters(tmp_path)


def test_a_letter_says_what_when_and_why(letters: DeadLetters, tmp_path: Path):
    before = time.time()
    fact = denied(1, topic="a\n\u2028b", rule_id=TOO_LARGE)
    assert not letters.add(encode(fact), "DataError")
    [letter] = dead_letters(tmp_path)
    assert letter.fact == fact
    assert letter.error == "DataError"
    assert before <= letter.at <= time.time()
    assert (tmp_path / NEWER).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("record", [b"no fact", b"\xff\x00\xf5XF1", "ü\n".encode(), b'["', b""])
def test_what_is_no_fact_comes_back_byte_by_byte(letters: DeadLetters, record: bytes):
    letters.add(record, "BadRecord")
    [letter] = letters
    assert letter.fact is None
    assert letter.record == record


def test_their_number_and_size_are_known(letters: DeadLetters, tmp_path: Path):
    assert (letters.number, letters.size) == (0, 0)
    for number in range(3):
        letters.add(encode(denied(number)), "DataError")
        assert letters.number == DeadLetters(tmp_path).number == number + 1
    assert letters.size == (tmp_path / NEWER).stat().st_size


def test_the_oldest_go_and_are_counted(tmp_path: Path):
    letters = DeadLetters(tmp_path, file_bytes=1_000)
    gone = 0
    for number in range(60):
        kind = Kind.CONNECTED if number % 2 else Kind.AUTHORIZE
        lost = letters.add(encode(replace(denied(number), kind=kind)), "DataError")
        gone += lost.total()
        assert letters.size <= 2_000
        assert letters.number + gone == number + 1
        assert lost.keys() <= {"client.connected", "client.authorize"}
    assert gone > 40
    left = [letter.fact.client_id for letter in letters if letter.fact]
    assert left == [f"pump-{number}" for number in range(gone, 60)]


def test_one_that_is_larger_than_a_file_may_be_is_kept(tmp_path: Path):
    letters = DeadLetters(tmp_path, file_bytes=10)
    for number in range(3):
        letters.add(encode(denied(number)), "DataError")
    assert [letter.fact.client_id for letter in letters if letter.fact] == ["pump-1", "pump-2"]


@pytest.mark.parametrize("torn", [b'{"at": 1, "err', b"{}\n", b"[]", b"\xff\xfe"])
def test_a_torn_line_spoils_no_other_and_is_shown(letters: DeadLetters, tmp_path: Path, torn: bytes):
    letters.add(encode(denied(1)), "DataError")
    with (tmp_path / NEWER).open("ab") as file:
        file.write(torn)
    letters.add(encode(denied(2)), "DataError")
    first, middle, last = letters
    assert (first.fact and first.fact.client_id, last.fact and last.fact.client_id) == ("pump-1", "pump-2")
    assert (middle.fact, middle.record, middle.error) == (None, torn.rstrip(b"\n"), "unreadable")


def _add_many(root: Path, name: str) -> None:
    letters = DeadLetters(root, file_bytes=20_000)
    gone = sum(letters.add(encode(Fact(Kind.AUTHORIZE, client_id=name)), name).total() for _ in range(200))
    (root / f"{name}.gone").write_text(str(gone))


def test_many_processes_at_once_lose_and_miscount_none(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_many, args=(tmp_path, f"p{number}")) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    gone = sum(int(path.read_text()) for path in tmp_path.glob("*.gone"))
    found = list(dead_letters(tmp_path))
    assert gone > 0
    assert len(found) + gone == 800
    assert all(letter.fact and letter.fact.client_id == letter.error for letter in found)


# --- Again ---


@pytest.mark.django_db(transaction=True)
def test_what_can_be_stored_now_goes_and_the_rest_stays(letters: DeadLetters, tmp_path: Path):
    good, poison = denied(1), denied(2, rule_id=TOO_LARGE)
    for record, error in ((encode(poison), "Old"), (encode(good), "Old"), (b"no fact", "BadRecord")):
        letters.add(record, error)
    times = [letter.at for letter in letters]
    assert letters.retry() == Retried(stored=1, left=2)
    assert [event.pk for event in Event.objects.all()] == [good.id]
    first, last = letters
    assert (first.fact, first.at) == (poison, times[0])
    assert first.error not in ("", "Old")
    assert last == Letter(times[2], "BadRecord", b"no fact")
    assert letters.number == 2
    letters.add(encode(good), "DataError")
    assert letters.retry() == Retried(stored=1, left=2), "stored already, so that it may go"
    assert Event.objects.count() == 1
    assert not [path for path in tmp_path.iterdir() if path.name not in (NEWER, OLDER)]


@pytest.mark.django_db(transaction=True)
def test_those_of_both_files_are_written(tmp_path: Path):
    letters = DeadLetters(tmp_path, file_bytes=600)
    for number in range(4):
        letters.add(encode(denied(number)), "DataError")
    assert (tmp_path / OLDER).exists()
    kept = letters.number
    assert letters.retry() == Retried(stored=kept, left=0)
    assert list(letters) == []
    assert list(tmp_path.iterdir()) == []
    letters.add(encode(denied()), "DataError")
    assert letters.number == 1


def retried_on_another_thread(letters: DeadLetters) -> Retried:
    """The outage spares the test's own."""

    def retry() -> Retried:
        try:
            return letters.retry()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(retry).result(60)


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_all_are_kept(letters: DeadLetters, outage: Outage):
    for number in range(3):
        letters.add(encode(denied(number)), "DataError")
    before = list(letters)
    outage.begin()
    assert retried_on_another_thread(letters) == Retried(stored=0, left=3, database_away=True)
    outage.end()
    assert list(letters) == before
    assert letters.retry() == Retried(stored=3, left=0)


def test_what_is_added_during_a_retry_waits_for_it_and_is_kept(
    letters: DeadLetters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    letters.add(encode(denied(1)), "DataError")
    adding = threading.Thread(target=_add_many, args=(tmp_path, "late"))

    def write(facts: list[Fact]) -> int:
        adding.start()
        time.sleep(0.1)  # for it to come as far as it can
        return len(facts)

    monkeypatch.setattr(module, "write_facts", write)
    assert letters.retry() == Retried(stored=1, left=0)
    adding.join(60)
    assert letters.number + int((tmp_path / "late.gone").read_text()) == 200
    assert {letter.error for letter in letters} == {"late"}


def test_a_disk_that_takes_half_of_a_letter_is_told_and_spoils_no_other(letters: DeadLetters):
    letters.add(encode(denied(1)), "DataError")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (letters.size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="full"):
            letters.add(encode(denied(2)), "DataError")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    letters.add(encode(denied(3)), "DataError")
    assert [letter.fact.client_id for letter in letters if letter.fact] == ["pump-1", "pump-3"]
