"""Reading recordings: the three in tests/data/recordings, and files that are none."""

import gzip
import json
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exhookadmin.exhook.emqx import METHODS
from exhookadmin.exhook.recordings import BadRecording, RecordedCall, read_recording

RECORDINGS = sorted((Path(__file__).resolve().parent.parent / "data" / "recordings").glob("*.jsonl.gz"))


def line(**changes: Any) -> bytes:
    fields = {
        "seq": 1,
        "t_ms": 2.5,
        "path": "/p/M",
        "metadata": {"grpc-timeout": "5S"},
        "request_b64": b64encode(b"x").decode(),
    }
    return json.dumps(
        {name: value for name, value in (fields | changes).items() if value is not None}
    ).encode()


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_of_a_real_broker(recording: Path) -> None:
    calls = list(read_recording(recording))
    assert len(Counter(call.name for call in calls)) == 21
    assert [call.seq for call in calls] == sorted(call.seq for call in calls)
    for call in calls:
        METHODS[call.path].parse(call.request)
        # EMQX 4.4 gives an unload less time.
        assert call.timeout == 5.0 or (call.timeout, call.name) == (3.0, "OnProviderUnloaded")
        assert dict(call.headers) == {
            "grpc-encoding": "identity",
            "grpc-message-type": call.metadata["grpc-message-type"],
        }


def test_all_three_are_here() -> None:
    assert [path.name for path in RECORDINGS] == [
        "emqx-4.4.19-v1.jsonl.gz",
        "emqx-5.10.1-v3.jsonl.gz",
        "emqx-5.3.2-v2.jsonl.gz",
    ]


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.jsonl.gz"])
def test_a_line_is_a_call_and_an_empty_line_is_none(name: str, tmp_path: Path) -> None:
    content = line(step="connect") + b"\n\n" + line(seq=2) + b"\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    first, second = read_recording(tmp_path / name)
    assert (first.seq, first.at, first.name, first.request, first.step) == (1, 0.0025, "M", b"x", "connect")
    assert (second.seq, second.step) == (2, "")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("a.jsonl", b"hello", "line 1: not a recorded call", id="no JSON"),
        pytest.param("a.jsonl", b"[1]", "line 1: not a recorded call", id="no object"),
        pytest.param(
            "a.jsonl", line() + b"\n" + line(path=None), "line 2: .*'path' is missing", id="no path"
        ),
        pytest.param("a.jsonl", line(request_b64="x?"), "line 1: not a recorded call", id="no base64"),
        pytest.param("a.jsonl", line(metadata=[]), "line 1: not a recorded call", id="no headers"),
        pytest.param("a.jsonl", b"\xff\xfe", "line 1: not UTF-8", id="no text"),
        pytest.param("a.jsonl.gz", line(), "not a complete gzip file", id="not compressed"),
        pytest.param("a.jsonl.gz", gzip.compress(line())[:-9], "not a complete gzip file", id="cut off"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadRecording, match=problem):
        list(read_recording(tmp_path / name))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5S", 5.0),
        ("300m", 0.3),
        ("2M", 120.0),
        ("1H", 3600.0),
        ("7u", 7e-6),
        ("9n", 9e-9),
        ("", None),
        ("5", None),
    ],
)
def test_a_timeout_header_is_seconds(header: str, seconds: float | None) -> None:
    assert RecordedCall(1, 0, "/p/M", {"grpc-timeout": header}, b"", "").timeout == pytest.approx(seconds)


def test_a_recorded_password_is_in_no_repr() -> None:
    assert "secret" not in repr(RecordedCall(1, 0, "/p/M", {}, b"secret", ""))
