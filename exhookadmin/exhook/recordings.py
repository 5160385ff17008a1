"""Recordings: the calls a real broker made, one JSON object a line, in the order in which they were sent.

    {"seq": 2, "t_ms": 2866.2, "path": "/emqx.exhook.v1.HookProvider/OnClientConnect",
     "metadata": {…}, "request_b64": "Ci8K…", "step": "01-connect", "conn": 2, "stream": 1, "body_len": 94}

``t_ms`` counts from the start of the recording, ``metadata`` holds every header, ``request_b64``
the message without gRPC's five bytes in front, which ``body_len`` counts. ``step`` says what the
MQTT client was doing. A recording holds passwords: nothing here prints a request.
"""

import gzip
import json
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# These are the transport's own, made anew for every call; grpc refuses or doubles them.
_OF_THE_TRANSPORT = ("te", "content-type", "user-agent", "grpc-timeout", "grpc-accept-encoding")


class BadRecording(ValueError):
    """A line that is no recorded call; the text names file, line and problem."""


@dataclass(frozen=True)
class RecordedCall:
    """One call. ``at`` is seconds since the start of the recording."""

    seq: int
    at: float
    path: str
    metadata: Mapping[str, str]
    request: bytes = field(repr=False)
    step: str

    @property
    def name(self) -> str:
        """The RPC, such as ``OnClientConnect``."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that a gRPC client may send itself."""
        return tuple(
            (name, value)
            for name, value in self.metadata.items()
            if not name.startswith(":") and name not in _OF_THE_TRANSPORT
        )

    @property
    def timeout(self) -> float | None:
        """Seconds the broker would wait for the answer (gRPC over HTTP/2, “Timeout”); None for ever."""
        match = _TIMEOUT.fullmatch(self.metadata.get("grpc-timeout", ""))
        return int(match[1]) * _SECONDS[match[2]] if match else None


def read_recording(path: Path) -> Iterator[RecordedCall]:
    """The calls of a recording, a line at a time; a name in .gz is read compressed.

    Raises BadRecording for what is no recording, OSError when the file cannot be read.
    """
    with _open(path) as lines:
        number = 0
        try:
            for line in lines:
                number += 1
                if line.strip():
                    yield _call(json.loads(line))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise BadRecording(f"{path}: not a complete gzip file ({error})") from None
        except UnicodeDecodeError:
            raise BadRecording(f"{path}, line {number + 1}: not UTF-8 text") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadRecording(f"{path}, line {number}: not a recorded call ({_problem(error)})") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _call(fields: Any) -> RecordedCall:
    return RecordedCall(
        seq=int(fields["seq"]),
        at=float(fields["t_ms"]) / 1000,
        path=str(fields["path"]),
        metadata={str(name): str(value) for name, value in fields["metadata"].items()},
        request=b64decode(fields["request_b64"], validate=True),
        step=str(fields.get("step", "")),
    )


def _problem(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
