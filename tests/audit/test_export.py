"""Exports: every event once, in a file that is whole or can be gone on with, in constant memory."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from audit import export
from audit.export_formats import FORMATS, guarded
from audit.fact import Kind
from audit.models import Event
from audit.rows import COLUMNS
from tests.audit.events import event, store
from tests.audit.many_events import store_many
from tests.endpoint import child_environment
from tests.programs import ROOT


def run(format: str, *arguments: str) -> None:
    call_command("audit_export", format, *arguments, stderr=io.StringIO())


def ids_in(path: Path) -> list[str]:
    """Of the events in an export, in order."""
    if path.name.endswith(".csv"):
        with path.open(newline="") as file:
            return [row["id"] for row in csv.DictReader(file)]
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def stored_ids() -> list[str]:
    return [str(key) for key in Event.objects.order_by("time", "pk").values_list("pk", flat=True)]


# --- The formats ---

EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1", "'quoted"]
PLAIN = ["", "pump", "a=b", "1-2", 'say "hi", twice', "line\nline", "größe", "\u2028", "$SYS/#", " x"]


@pytest.mark.parametrize("text", EVIL + PLAIN)
def test_no_cell_is_a_formula_and_each_can_be_read_back(text):
    cell = guarded(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert (cell == text) is (text in PLAIN)
    assert cell.removeprefix("'") == text


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8) | st.sampled_from(
    EVIL + PLAIN
)
rows = st.lists(
    st.tuples(
        *(
            {
                "id": st.uuids(),
                "time": st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),
                "allowed": st.none() | st.booleans(),
                "repeats": st.integers(0, 9),
                "port": st.integers(0, 65535),
                "device_id": st.none() | st.integers(1, 2**62),
            }.get(name, texts)
            for name in COLUMNS
        )
    ),
    max_size=4,
)


@given(rows)
def test_both_formats_read_back_as_what_they_were(rows):
    lines = FORMATS["jsonl"].encode(rows).decode().split("\n")
    assert lines.pop() == ""
    for line, row in zip(lines, rows, strict=True):
        read = json.loads(line)
        assert list(read) == list(COLUMNS)
        assert (UUID(read["id"]), datetime.fromisoformat(read["time"])) == row[:2]
        assert list(read.values())[2:] == list(row[2:])
    text = (FORMATS["csv"].header + FORMATS["csv"].encode(rows)).decode()
    read_rows = list(csv.reader(io.StringIO(text, newline="")))
    assert read_rows.pop(0) == list(COLUMNS)
    for cells, row in zip(read_rows, rows, strict=True):
        assert (UUID(cells[0]), datetime.fromisoformat(cells[1])) == row[:2]
        spelled = {None: "", True: "true", False: "false"}
        for cell, value in zip(cells[2:], row[2:], strict=True):
            known = value is None or isinstance(value, bool)
            assert cell.removeprefix("'") == (spelled[value] if known else str(value))


# --- What is exported ---


@pytest.fixture
def log(db: None) -> list[Event]:
    return store(
        *(
            event(second, device="pump" if second % 2 else "valve", topic=f"t/{second}")
            for second in range(7)
        ),
        event(3, Kind.CONNECTED, device="pump", address="192.0.2.7"),
    )


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_everything_is_exported_oldest_first(log, tmp_path, format):
    path = tmp_path / f"events.{format}"
    run(format, "--output", str(path))
    assert ids_in(path) == stored_ids()
    assert len(ids_in(path)) == 8
    assert os.listdir(tmp_path) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_event_is_exported_with_all_its_columns(log, tmp_path):
    run("jsonl", "--output", str(tmp_path / "e"), "--kind", "client.connected")
    (line,) = (tmp_path / "e").read_text().splitlines()
    told = json.loads(line)
    assert told["time"] == "2026-11-01T00:00:03.000000Z"
    assert (told["kind"], told["device"], told["address"]) == ("client.connected", "pump", "192.0.2.7")
    assert (told["allowed"], told["repeats"], told["topic"]) == (None, 0, "")


def test_every_search_can_be_exported(log, tmp_path):
    options = [
        "--device",
        "pump",
        "--kind",
        "client.authorize",
        "--kind",
        "client.connected",
        "--text",
        "T/3",
    ]
    run("jsonl", "--output", str(tmp_path / "e"), *options, "--since", "2026-11-01", "--until", "2026-11-01")
    assert ids_in(tmp_path / "e") == [str(Event.objects.get(topic="t/3").pk)]


def test_a_wrong_option_is_named(log, tmp_path):
    with pytest.raises(CommandError, match=r"--client-id: .*NUL(.|\n)*--address: “x” is neither"):
        run("csv", "--address", "x", "--client-id", "\x00")


def test_standard_output_gets_it_where_no_file_is_named(log):
    written = io.TextIOWrapper(io.BytesIO())
    call_command("audit_export", "jsonl", stdout=written)
    written.seek(0)
    assert [json.loads(line)["id"] for line in written] == stored_ids()
    with pytest.raises(CommandError, match="use --resume with --output"):
        run("jsonl", "--resume")


def test_an_export_of_nothing_is_whole_too(db, tmp_path):
    run("csv", "--output", str(tmp_path / "none.csv"))
    assert (tmp_path / "none.csv").read_bytes() == FORMATS["csv"].header
    run("jsonl", "--output", str(tmp_path / "none"))
    assert (tmp_path / "none").read_bytes() == b""


def test_what_is_stored_after_it_began_is_not_waited_for(log, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    before = stored_ids()
    later = datetime.now(UTC).timestamp() + 60 - datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    store(event(later))
    run("jsonl", "--output", str(tmp_path / "e"))
    assert ids_in(tmp_path / "e") == before


# --- Interruptions ---


class Killed(BaseException):
    """Where the process would have ended."""


STEPS = ("os.fsync", "os.replace", "pathlib.Path.unlink", "audit.export.place_of")


def kill_points(monkeypatch: pytest.MonkeyPatch, killed_at: int) -> Iterator[int]:
    """Counts the steps that touch the disk, or end a batch; ends the process at one of them."""
    count = 0

    def step(real: Any) -> Any:
        def stepped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == killed_at:
                raise Killed
            return real(*arguments, **options)

        return stepped

    for name in STEPS:
        module, _, attribute = name.rpartition(".")
        owner: Any = {"os": os, "pathlib.Path": Path, "audit.export": export}[module]
        monkeypatch.setattr(owner, attribute, step(getattr(owner, attribute)))
    yield 0


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "torn", [b"", b'{"id":"torn', b"x" * 100_000], ids=["clean", "torn line", "torn block"]
)
def test_wherever_it_is_killed_it_goes_on_without_loss_or_duplicate(log, tmp_path, monkeypatch, format, torn):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(export, "SECONDS_BETWEEN_NOTES", 0)
    options = (format, "--resume", "--until", "2026-11-02", "--output")
    run(*options, str(tmp_path / "whole"))
    whole = (tmp_path / "whole").read_bytes()
    for killed_at in range(1, 100):
        path = tmp_path / f"killed at {killed_at}"
        part = path.with_name(f"{path.name}.part")
        with monkeypatch.context() as patched:
            next(kill_points(patched, killed_at))
            try:
                run(*options, str(path))
            except Killed:
                pass
            else:
                assert path.read_bytes() == whole
                break
        if part.exists():
            with part.open("ab") as file:
                file.write(torn)
        run(*options, str(path))
        assert path.read_bytes() == whole, f"killed at step {killed_at}"
        assert sorted(tmp_path.glob(f"{path.name}.*")) == []
    assert killed_at > 20, "each batch, note and name is a step"


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_has_lost_a_second_at_most(tmp_path):
    store(*(event(second, topic=f"t/{second}") for second in range(90)))
    program = """
import os, signal, django
django.setup()
from audit import export
from django.core.management import call_command
export.ROWS_AT_ONCE, export.SECONDS_BETWEEN_NOTES = 10, 0
encode, left = export.FORMATS["jsonl"].encode, 5
def encode_and_die(rows):
    global left
    left -= 1
    return os.kill(os.getpid(), signal.SIGKILL) if left < 0 else encode(rows)
object.__setattr__(export.FORMATS["jsonl"], "encode", encode_and_die)
call_command("audit_export", "jsonl", output=export.Path("e"), resume=True)
"""
    environment = {**os.environ, **child_environment(tmp_path / "var"), "PYTHONPATH": str(ROOT)}
    for found in (50, 90):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        if found == 50:
            assert done.returncode == -9, done.stderr
            assert not (tmp_path / "e").exists()
            assert ids_in(tmp_path / "e.part") == stored_ids()[:50]
    assert done.returncode == 0, done.stderr
    assert ids_in(tmp_path / "e") == stored_ids()


def unfinished(path: Path, *options: str) -> None:
    path.with_name(f"{path.name}.part").write_bytes(b"")
    note = {"format": "jsonl", "asked": dict(zip(options[::2], options[1::2], strict=True)), "search": {}}
    path.with_name(f"{path.name}.part.json").write_text(json.dumps(note))


def test_an_unfinished_export_is_not_overwritten(log, tmp_path):
    unfinished(tmp_path / "e")
    with pytest.raises(CommandError, match="tells of an unfinished one: --resume it, or remove it"):
        run("jsonl", "--output", str(tmp_path / "e"))


@pytest.mark.parametrize(("format", "options"), [("csv", ()), ("jsonl", ("--device", "pump"))])
def test_an_unfinished_export_of_something_else_is_not_gone_on_with(log, tmp_path, format, options):
    unfinished(tmp_path / "e", "device", "valve")
    with pytest.raises(CommandError, match="tells of other options: give the same, or remove it"):
        run(format, "--resume", "--output", str(tmp_path / "e"), *options)


def test_a_search_that_counts_back_from_now_means_the_same_when_it_goes_on(log, tmp_path, monkeypatch):
    options = ("jsonl", "--resume", "--since", "520w", "--output", str(tmp_path / "e"))
    with monkeypatch.context() as patched:
        next(kill_points(patched, 4))
        with pytest.raises(Killed):
            run(*options)
    before = json.loads((tmp_path / "e.part.json").read_text())
    assert before["asked"] == {"since": "520w"}
    assert before["search"].keys() == {"since", "until"}
    run(*options)
    assert ids_in(tmp_path / "e") == stored_ids()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda path: path.write_text("mine"), "exists: remove it, or choose another name"),
        (
            lambda path: path.with_name("e.part.json").write_text("{"),
            "cannot be read: remove it to begin anew",
        ),
        (
            lambda path: path.with_name("e.part.json").write_text("[]"),
            "cannot be read: remove it to begin anew",
        ),
    ],
    ids=["a file of that name", "a torn note", "no note"],
)
def test_what_is_in_the_way_is_named_and_left_alone(log, tmp_path, prepare, says):
    prepare(tmp_path / "e")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CommandError, match=says):
        run("jsonl", "--resume", "--output", str(tmp_path / "e"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_part_that_lost_its_end_is_not_gone_on_with(log, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(export, "SECONDS_BETWEEN_NOTES", 0)
    with monkeypatch.context() as patched:
        next(kill_points(patched, 12))
        with pytest.raises(Killed):
            run("jsonl", "--output", str(tmp_path / "e"))
    (tmp_path / "e.part").write_bytes(b"")
    with pytest.raises(CommandError, match="is shorter than it was: remove it to begin anew"):
        run("jsonl", "--resume", "--output", str(tmp_path / "e"))


def test_two_do_not_write_the_same_file(log, tmp_path):
    import fcntl

    with (tmp_path / "e.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="is being written by another process"):
            run("jsonl", "--output", str(tmp_path / "e"))


def test_a_directory_that_is_not_there_is_named(log, tmp_path):
    with pytest.raises(CommandError, match=r"nowhere/e\.part: No such file or directory"):
        run("jsonl", "--output", str(tmp_path / "nowhere" / "e"))


# --- Memory ---


def export_process(tmp_path: Path, format: str, stdout: int) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, **child_environment(tmp_path / "var")}
    command = [sys.executable, "manage.py", "audit_export", format]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.PIPE)


def memory_of_an_export(tmp_path: Path, format: str) -> int:
    """The most that the process ever held, in kilobytes."""
    process = export_process(tmp_path, format, subprocess.DEVNULL)
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b"", "nothing is told where nobody watches"
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.django_db(transaction=True)
def test_whoever_reads_it_may_have_enough_before_its_end(tmp_path):
    store_many(1, 5_000)
    with export_process(tmp_path, "csv", subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == FORMATS["csv"].header
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_ten_times_the_events_take_no_more_memory(tmp_path):
    store_many(1, 5_000)
    little = memory_of_an_export(tmp_path, "jsonl")
    store_many(5_001, 50_000)
    assert memory_of_an_export(tmp_path, "jsonl") < little * 1.1
    assert memory_of_an_export(tmp_path, "csv") < little * 1.1
