"""What the endpoint beside this site says of itself, read from its supervisor's port for those who watch.

A page waits for it at most ``SECONDS``, whatever is at the other end.
"""

import json
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic

from exhookadmin.console.figures import Figures, read_figures
from exhookadmin.exhook.metrics_http import AddressProblem, parse_address

SECONDS = 0.5
MOST_BYTES = 4_000_000
ELSEWHERE = "If it runs on another machine, this page cannot see it: look at the metrics there."


class _Silent(Exception):
    """Nothing usable came in time; the text goes on with “No endpoint …”."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the endpoint. ``problem`` is for people, and says what to do; then there is nothing else.

    ``unfit`` and ``cautions`` are the supervisor's own words (``/readyz``).
    """

    address: str
    problem: str = ""
    unfit: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    figures: Figures = field(default_factory=Figures)


def read_endpoint(address: str, seconds: float = SECONDS) -> Reading:
    """Asks the supervisor at this address (``EXHOOK_METRICS``) how it is."""
    if not address:
        return Reading(
            "",
            "The endpoint’s metrics are switched off, so nothing is known of it here. "
            "Set EXHOOK_METRICS, for example to 127.0.0.1:9001.",
        )
    until = monotonic() + seconds
    try:
        host, port = parse_address(address)
        host = _reachable(host)
        verdict = json.loads(_get(host, port, "/readyz", until))
        unfit, cautions = tuple(map(str, verdict["problems"])), tuple(map(str, verdict["warnings"]))
        figures = read_figures(_get(host, port, "/metrics", until).decode())
    except AddressProblem as problem:
        return Reading(address, str(problem))
    except (ConnectionRefusedError, socket.gaierror):
        return Reading(
            address,
            f"No endpoint is running at {address}. Start it with “manage.py run_exhook”. {ELSEWHERE}",
        )
    except (OSError, _Silent):
        return Reading(
            address,
            f"The endpoint at {address} did not answer within {seconds:g} s: it hangs, or the machine is "
            f"overloaded. Look at its log. {ELSEWHERE}",
        )
    except (ValueError, KeyError, TypeError):
        return Reading(
            address, f"What answers at {address} is not this program’s endpoint. Correct EXHOOK_METRICS."
        )
    return Reading(address, "", unfit, cautions, figures)


def _reachable(host: str) -> str:
    """Where one connects to what listens everywhere."""
    try:
        given = ip_address(host)
    except ValueError:
        return host
    if not given.is_unspecified:
        return host
    return "127.0.0.1" if given.version == 4 else "::1"


def _get(host: str, port: int, path: str, until: float) -> bytes:
    """The body of the answer. Not http.client: its timeout is for each piece, and pieces may dribble in."""
    with socket.create_connection((host, port), timeout=_left(until)) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nAccept: text/plain\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) < MOST_BYTES:
            connection.settimeout(_left(until))
            piece = connection.recv(65_536)
            if not piece:
                break
            answer += piece
    head, empty_line, body = bytes(answer).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.") or not empty_line:
        raise ValueError("this is no HTTP")
    return body


def _left(until: float) -> float:
    left = until - monotonic()
    if left <= 0:
        raise _Silent
    return left
