"""The spool: what was appended is there, in whole records, whatever happens to the process or the disk."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import spool as spool_module
from audit.spool import (
    HEADER,
    LOCK_NAME,
    LONGEST_RECORD,
    MAGIC,
    NotStored,
    Records,
    Spool,
    Sync,
    adopt,
    remove,
    segments,
    spools,
)

MEGABYTE = 1024 * 1024


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 64 * MEGABYTE)
    yield spool
    spool.close(empty=True)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 100)


def contents(directory: Path) -> tuple[list[bytes], int]:
    """All records of a spool whose process is gone, and the number of torn pieces."""
    found: list[bytes] = []
    torn: list[int] = []
    for segment in segments(directory):
        records = Records(segment, lambda: torn.append(1))
        while (record := records.next()) is not None:
            found.append(record)
        records.close()
    return found, len(torn)


def frame(record: bytes) -> bytes:
    return HEADER.pack(MAGIC, len(record), zlib.crc32(record)) + record


# Appending


@pytest.mark.parametrize("sync", list(Sync))
def test_what_is_appended_can_be_read(tmp_path: Path, sync: Sync) -> None:
    spool = Spool(tmp_path, MEGABYTE, sync)
    for number in range(50):
        spool.append(b"%d" % number)
    spool.tend()
    assert contents(spool.directory) == ([b"%d" % number for number in range(50)], 0)
    spool.close(empty=False)
    assert contents(spool.directory)[0][0] == b"0"


def test_only_its_owner_may_read_it(spool: Spool) -> None:
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    for path in spool.directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_above_its_limit_nothing_is_stored_until_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.append(b"x" * 60)
    with pytest.raises(NotStored, match="limit"):
        spool.append(b"x" * 60)
    spool.append(b"x" * 10)
    assert contents(spool.directory)[0] == [b"x" * 60, b"x" * 10]
    assert spool.size == sum(path.stat().st_size for path in segments(spool.directory)) <= 100
    spool.close(empty=True)


def test_a_record_that_readers_would_not_believe_is_refused(spool: Spool) -> None:
    spool.append(b"x" * LONGEST_RECORD)
    with pytest.raises(NotStored, match="long"):
        spool.append(b"x" * (LONGEST_RECORD + 1))
    assert len(contents(spool.directory)[0]) == 1


def test_after_its_end_nothing_is_stored(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MEGABYTE)
    spool.close(empty=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotStored, match="closed"):
        spool.append(b"x")


def test_many_threads_append_while_segments_change(tmp_path: Path, small_segments: None) -> None:
    """No lock is held: the records must be whole all the same, and none may go where nobody reads."""
    spool = Spool(tmp_path, 64 * MEGABYTE, Sync.NEVER)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    done = threading.Event()

    def append(name: int) -> None:
        for number in range(500):
            spool.append(b"%d-%d " % (name, number) * 3)

    def tend() -> None:
        while not done.is_set():
            spool.tend()

    threads = [threading.Thread(target=append, args=(name,)) for name in range(6)]
    tender = threading.Thread(target=tend)
    try:
        for thread in (*threads, tender):
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        done.set()
        tender.join(60)
        sys.setswitchinterval(interval)
    found, torn = contents(spool.directory)
    assert sorted(found) == sorted(b"%d-%d " % (name, n) * 3 for name in range(6) for n in range(500))
    assert torn == 0
    assert len(segments(spool.directory)) > 1
    assert spool.size == sum(path.stat().st_size for path in segments(spool.directory))
    spool.close(empty=True)


# Segments


def test_a_segment_is_settled_once_it_is_replaced_and_nobody_holds_it(
    spool: Spool, small_segments: None
) -> None:
    spool.append(b"x" * 200)
    [first] = segments(spool.directory)
    assert not spool.settled(first)
    slow_thread = spool._tail
    spool.tend()
    assert segments(spool.directory)[0] == first
    assert len(segments(spool.directory)) == 2
    spool.tend()
    assert not spool.settled(first), "a thread may still append to it"
    assert slow_thread is not None
    os.write(slow_thread.descriptor, frame(b"late"))
    del slow_thread
    assert spool.settled(first)
    assert not spool.settled(segments(spool.directory)[1])
    assert contents(spool.directory)[0] == [b"x" * 200, b"late"]


def test_a_segment_that_is_not_registered_yet_is_not_settled(spool: Spool) -> None:
    assert not spool.settled(spool.directory / "000000000001.seg")


def test_deleting_a_segment_makes_room(spool: Spool, small_segments: None) -> None:
    for _ in range(3):
        spool.append(b"x" * 200)
        spool.tend()
    spool.tend()
    before = spool.size
    spool.delete(segments(spool.directory)[0])
    spool.delete(spool.directory / "000000000000.seg")
    assert spool.size == before - 200 - HEADER.size
    assert len(segments(spool.directory)) == 3


def test_descriptors_do_not_pile_up(spool: Spool, small_segments: None) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        spool.append(b"x" * 200)
        spool.tend()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


# Disks that refuse


def test_a_short_write_is_not_stored_and_what_follows_is(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel write a part, as a full disk does."""
    spool = Spool(tmp_path, MEGABYTE)
    spool.append(b"first")
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(NotStored, match="full"):
            spool.append(b"torn" * 100)
        with pytest.raises(NotStored, match="large"):
            spool.append(b"refused")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    spool.append(b"second")
    assert contents(spool.directory) == ([b"first", b"second"], 1)
    assert spool.size == sum(path.stat().st_size for path in segments(spool.directory))
    spool.close(empty=True)


def test_a_spool_that_cannot_begin_is_begun_as_soon_as_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "spool"
    root.write_text("in the way")
    spool = Spool(root, MEGABYTE)
    spool.tend()
    with pytest.raises(NotStored, match="File exists"):
        spool.append(b"x")
    assert len(caplog.records) == 1
    root.unlink()
    spool.tend()
    spool.append(b"x")
    assert contents(spool.directory)[0] == [b"x"]
    spool.close(empty=True)


def test_while_no_segment_can_be_begun_the_old_one_goes_on(spool: Spool, small_segments: None) -> None:
    spool.append(b"x" * 200)
    (spool.directory / "000000000001.seg").mkdir()
    spool.tend()
    spool.append(b"y")
    (spool.directory / "000000000001.seg").rmdir()
    spool.tend()
    spool.append(b"z")
    assert contents(spool.directory)[0] == [b"x" * 200, b"y", b"z"]
    assert len(segments(spool.directory)) == 2


def test_what_takes_the_last_room_can_be_dealt_with_and_makes_room(tmp_path: Path) -> None:
    """A segment that is appended to is never deleted: it must end before it has its full size."""
    spool = Spool(tmp_path, 1000)
    spool.append(b"x" * 800)
    spool.tend()
    assert len(segments(spool.directory)) == 1
    with pytest.raises(NotStored, match="limit"):
        spool.append(b"x" * 800)
    for _ in range(3):
        spool.tend()
    [first, second] = segments(spool.directory)
    assert spool.settled(first)
    assert not spool.settled(second)
    spool.delete(first)
    spool.append(b"y" * 800)
    spool.close(empty=True)


def test_on_a_disk_without_room_for_another_segment_the_last_one_can_be_dealt_with(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.append(b"x" * 800)
    with pytest.raises(NotStored, match="limit"):
        spool.append(b"x" * 800)
    [first] = segments(spool.directory)
    (spool.directory / "000000000001.seg").mkdir()
    for _ in range(2):
        spool.tend()
    with pytest.raises(NotStored, match="Is a directory"):
        spool.append(b"x")
    assert spool.settled(first)
    assert not spool.settled(spool.directory / "000000000001.seg")
    spool.delete(first)
    (spool.directory / "000000000001.seg").rmdir()
    spool.tend()
    spool.append(b"y" * 800)
    assert contents(spool.directory)[0] == [b"y" * 800]
    spool.close(empty=True)


# Reading


@given(st.lists(st.binary(max_size=40), max_size=12), st.data())
def test_what_is_cut_or_destroyed_costs_only_the_records_it_hits(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], data: st.DataObject
) -> None:
    frames = [frame(record.replace(MAGIC, b"")) for record in records]
    hit = data.draw(st.sets(st.integers(0, max(0, len(frames) - 1)))) if frames else set()
    pieces = []
    for index, whole in enumerate(frames):
        pieces.append(whole[: data.draw(st.integers(0, len(whole) - 1))] if index in hit else whole)
    path = tmp_path_factory.mktemp("spool") / "0.seg"
    path.write_bytes(b"".join(pieces))
    assert contents(path.parent)[0] == [
        whole[HEADER.size :] for index, whole in enumerate(frames) if index not in hit
    ]


def test_a_record_whose_bits_were_turned_is_skipped(tmp_path: Path) -> None:
    damaged = bytearray(frame(b"second"))
    damaged[-1] ^= 1
    (tmp_path / "0.seg").write_bytes(frame(b"first") + damaged + frame(b"third"))
    assert contents(tmp_path) == ([b"first", b"third"], 1)


def test_a_length_that_cannot_be_does_not_hide_what_follows(tmp_path: Path) -> None:
    absurd = HEADER.pack(MAGIC, 2**32 - 1, 0)
    (tmp_path / "0.seg").write_bytes(absurd + frame(b"x") * 3)
    assert contents(tmp_path) == ([b"x"] * 3, 1)


def test_megabytes_of_rubbish_do_not_hide_what_follows(tmp_path: Path) -> None:
    (tmp_path / "0.seg").write_bytes(frame(b"first") + bytes(3 * MEGABYTE) + frame(b"last"))
    assert contents(tmp_path) == ([b"first", b"last"], 1)


def test_a_segment_is_read_as_it_grows_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "0.seg"
    torn: list[int] = []
    with path.open("ab", buffering=0) as file:
        records = Records(path, lambda: torn.append(1))
        for number in range(3):
            for byte in frame(b"record %d" % number):
                assert records.next() is None
                file.write(bytes([byte]))
            assert records.next() == b"record %d" % number
    records.close()
    assert not torn


def test_reading_takes_a_time_that_grows_with_what_is_read(tmp_path: Path) -> None:
    """A reader that began anew for each batch would take a hundred times as long for ten times as much."""

    def seconds(number: int) -> float:
        path = tmp_path / f"{number}.seg"
        path.write_bytes(frame(b"x" * 200) * number)
        best = float("inf")
        for _ in range(3):
            records = Records(path, lambda: None)
            started = time.process_time()
            while records.next() is not None:
                pass
            best = min(best, time.process_time() - started)
            records.close()
        return best

    assert seconds(50_000) < 40 * seconds(5_000)


# Whose it is


def test_a_living_spool_cannot_be_adopted(spool: Spool) -> None:
    assert spools(spool.directory.parent) == [spool.directory]
    assert adopt(spool.directory) is None


def test_what_is_no_spool_is_let_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MEGABYTE)
    for name in (
        "dead-letters.jsonl",
        "lost+found",
        f".{spool.directory.name}",
        f"{spool.directory.name}.old",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "000000000000-000000000000").write_text("a file")
    assert spools(tmp_path) == [spool.directory]


def test_a_spool_left_behind_is_adopted_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MEGABYTE)
    spool.append(b"x")
    spool.close(empty=False)
    lock = adopt(spool.directory)
    assert lock is not None
    assert adopt(spool.directory) is None
    remove(spool.directory)
    os.close(lock)
    assert spools(tmp_path) == []
    assert adopt(spool.directory) is None


def test_who_waited_for_the_lock_of_a_removed_spool_does_not_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, MEGABYTE)
    spool.close(empty=False)

    def removed_meanwhile(descriptor: int, operation: int) -> None:
        remove(spool.directory)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    assert adopt(spool.directory) is None


def test_nobody_adopts_a_spool_that_is_just_beginning(tmp_path: Path) -> None:
    (tmp_path / ".000001-being-made").mkdir()
    (tmp_path / "dead-letters.jsonl").write_text("")
    assert spools(tmp_path) == []
    assert spools(tmp_path / "missing") == []


def test_siblings_adopting_at_once_do_not_harm_spools_that_begin(tmp_path: Path) -> None:
    stop = threading.Event()

    def adopt_and_remove() -> None:
        while not stop.is_set():
            for directory in spools(tmp_path):
                if (lock := adopt(directory)) is not None:
                    remove(directory)
                    os.close(lock)

    threads = [threading.Thread(target=adopt_and_remove) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            spool = Spool(tmp_path, MEGABYTE)
            spool.append(b"x")
            assert contents(spool.directory)[0] == [b"x"]
            spool.close(empty=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


@pytest.mark.parametrize("left", [[], [LOCK_NAME], ["000000000000.seg"], ["notes.seg", "odd"]])
def test_an_odd_directory_is_nothing_to_stumble_over(tmp_path: Path, left: list[str]) -> None:
    directory = tmp_path / "1-left"
    directory.mkdir()
    for name in left:
        (directory / name).touch()
    lock = adopt(directory)
    assert lock is not None
    assert contents(directory) == ([], 0)
    remove(directory)
    os.close(lock)
    assert directory.exists() is ("odd" in left)


KILLED = """
import sys
from pathlib import Path
from audit import spool
spool.SEGMENT_BYTES = 10_000
writer = spool.Spool(Path(sys.argv[1]), 2**30, spool.Sync.NEVER)
number = 0
while True:
    writer.append(b"%d" % number)
    number += 1
    if number % 100 == 0:
        writer.tend()
        print(number, flush=True)
"""


def test_sigkill_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    answered = 0
    while answered < 5_000:
        answered = int(process.stdout.readline())
    process.kill()
    lines = process.stdout.read().splitlines()
    process.wait()
    answered = max([answered, *map(int, lines)])
    [directory] = spools(tmp_path)
    lock = adopt(directory)
    assert lock is not None
    os.close(lock)
    found, _ = contents(directory)
    assert found == [b"%d" % number for number in range(len(found))]
    assert len(found) >= answered
    assert len(segments(directory)) > 1
