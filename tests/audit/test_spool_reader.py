"""Reading a spool in batches: each fact once, in order, and what is done with is deleted."""

from pathlib import Path

import pytest

from audit import spool as spool_module
from audit.codec import encode
from audit.fact import Fact, Kind
from audit.spool import Spool, segments
from audit.spool_reader import SpoolReader


def fact(number: int) -> Fact:
    return Fact(Kind.AUTHORIZE, client_id=f"pump-{number}")


def reader_of(spool: Spool) -> SpoolReader:
    return SpoolReader(spool.directory, spool.settled, spool.delete, lambda record, error: None)


def orphan_reader(directory: Path) -> SpoolReader:
    return SpoolReader(directory, lambda _: True, Path.unlink, lambda record, error: None)


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    """With segments of about three facts."""
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 300)
    return Spool(tmp_path, 2**20)


def fill(spool: Spool, number: int) -> list[Fact]:
    facts = [fact(each) for each in range(number)]
    for each in facts:
        spool.append(encode(each))
        spool.tend()
    return facts


def drain(reader: SpoolReader, most: int) -> list[Fact]:
    facts: list[Fact] = []
    while batch := reader.take(most):
        assert len(batch) <= most
        facts += batch
        reader.release(len(batch))
    return facts


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_every_fact_is_taken_once_in_order_and_its_segment_deleted(spool: Spool, most: int) -> None:
    facts = fill(spool, 20)
    spool.tend()
    reader = reader_of(spool)
    assert len(segments(spool.directory)) > 3
    assert drain(reader, most) == facts
    assert reader.released == 20
    assert len(segments(spool.directory)) == 1, "the one that is appended to"
    assert spool.size == segments(spool.directory)[0].stat().st_size
    assert reader.unreadable == 0


def test_what_is_not_released_comes_again(spool: Spool) -> None:
    facts = fill(spool, 3)
    reader = reader_of(spool)
    first = reader.take(2)
    assert first == facts[:2]
    assert reader.take(2) == first
    reader.release(0)
    assert reader.take(1000) == first
    reader.release(1)
    assert reader.take(2)[0] == facts[1]
    assert reader.released == 1


def test_a_segment_is_kept_until_all_of_it_is_released(spool: Spool) -> None:
    fill(spool, 8)
    reader = reader_of(spool)
    [first, *_] = segments(spool.directory)
    taken = reader.take(1000)
    reader.release(len(taken) - 1)
    reader.take(1000)
    assert first.exists()


def test_a_crash_before_the_release_reads_the_same_facts_again(spool: Spool) -> None:
    facts = fill(spool, 8)
    reader_of(spool).take(1000)
    spool.close(empty=False)
    assert drain(orphan_reader(spool.directory), 1000) == facts
    assert segments(spool.directory) == []


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("stop_after", [1, 2, 7, 20])
def test_who_reads_on_begins_after_what_is_stored(spool: Spool, size: int, stop_after: int) -> None:
    """Wherever the reader before was stopped, and whatever it had deleted by then."""
    facts = fill(spool, 20)
    before, stored, read = reader_of(spool), None, 0
    while read < stop_after and (batch := before.take(size)):
        move = before.move(len(batch))
        assert move is not None
        assert move.before == stored
        stored, read = move.after, read + len(batch)
        before.release(len(batch))
    before.take(size)
    spool.close(empty=False)
    following = orphan_reader(spool.directory)
    assert following.resume(stored) == 0
    assert drain(following, 1000) == facts[read:]
    assert segments(spool.directory) == []


def test_segments_before_the_stored_position_are_deleted_unread(spool: Spool) -> None:
    """As after a crash between storing a batch and deleting its segment."""
    facts = fill(spool, 20)
    [_, _, third, *_] = segments(spool.directory)
    ahead = orphan_reader(spool.directory)
    left = [path.read_bytes() for path in segments(spool.directory)]
    paths = segments(spool.directory)
    while ahead.take(1) and paths[0].exists() | paths[1].exists():
        ahead.release(1)
    ahead.release(1)
    move = ahead.move(0)
    assert move is not None
    assert move.after.segment == int(third.stem)
    for path, content in zip(paths, left, strict=True):
        path.write_bytes(content)
    again = orphan_reader(spool.directory)
    again.resume(move.after)
    assert drain(again, 1000) == facts[ahead.released :]
    assert again.unreadable == 0


@pytest.mark.parametrize("stored", [0, 1, 3, 5])
def test_of_a_batch_whose_answer_was_lost_what_is_stored_does_not_come_again(
    spool: Spool, stored: int
) -> None:
    facts = [fact(number) for number in range(10)]
    for each in facts:
        spool.append(encode(each))
    reader = reader_of(spool)
    reader.release(len(reader.take(2)))
    assert reader.take(5) == facts[2:7]
    move = reader.move(stored)
    assert move is not None
    assert reader.resume(move.after) == stored
    assert reader.released == 2 + stored
    assert drain(reader, 1000) == facts[2 + stored :]


def test_what_was_dealt_with_but_not_stored_is_part_of_the_next_move(spool: Spool) -> None:
    """A fact that is set aside, a piece that is torn."""
    for each in (fact(1), fact(2)):
        spool.append(encode(each))
    reader = reader_of(spool)
    reader.take(10)
    reader.release(1, stored=False)
    assert reader.unstored
    move = reader.move(1)
    assert move is not None
    assert move.before is None
    reader.release(1)
    assert not reader.unstored
    spool.append(b"no fact")
    assert reader.take(10) == []
    assert reader.unstored
    last = reader.move(0)
    assert last is not None
    assert last.before == move.after
    assert last.after > move.after


def test_a_batch_is_bounded_in_bytes_too(spool: Spool) -> None:
    facts = [Fact(Kind.AUTHORIZE, topic="x" * 4000) for _ in range(10)]
    for each in facts:
        spool.append(encode(each))
    reader = reader_of(spool)
    assert len(reader.take(1000, 10_000)) == 3
    assert drain(reader, 1000) == facts


def test_what_is_appended_later_is_taken_later(spool: Spool) -> None:
    reader = reader_of(spool)
    assert reader.take(10) == []
    for number in range(10):
        [appended] = fill(spool, 1)
        assert drain(reader, 10) == [appended], number


def test_a_torn_record_is_waited_for_only_while_it_can_be_completed(spool: Spool) -> None:
    whole = fact(1)
    spool.append(encode(whole))
    assert spool._tail is not None
    with segments(spool.directory)[0].open("ab") as file:
        file.write(spool_module.MAGIC + b"\x00\x00")
    reader = reader_of(spool)
    assert drain(reader, 10) == [whole]
    assert reader.unreadable == 0
    spool.close(empty=False)
    after = orphan_reader(spool.directory)
    assert drain(after, 10) == [whole]
    assert after.unreadable == 1
    assert segments(spool.directory) == []


def test_a_record_that_is_no_fact_is_skipped_and_counted_once(spool: Spool) -> None:
    spool.append(encode(fact(1)))
    spool.append(b"no fact")
    spool.append(encode(fact(2)))
    reader = reader_of(spool)
    for _ in range(3):
        assert [each.client_id for each in reader.take(10)] == ["pump-1", "pump-2"]
    assert reader.unreadable == 1


def test_segments_without_records_are_deleted(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number:012d}.seg").touch()
    assert drain(orphan_reader(tmp_path), 10) == []
    assert segments(tmp_path) == []


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_spool_without_segments_has_no_facts(tmp_path: Path, name: str) -> None:
    assert orphan_reader(tmp_path / name).take(10) == []


def test_a_log_line_about_a_piece_does_not_repeat_it(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    spool.append(b"what a stranger said")
    reader_of(spool).take(10)
    assert caplog.records
    assert "stranger" not in caplog.text
