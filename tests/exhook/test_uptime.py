"""Uptimes as brokers tell them."""

import pytest

from exhookadmin.exhook.uptime import LONGEST_SECONDS, uptime_seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        # --- v1: words ---
        ("1 seconds", 1),
        ("1 minutes, 9 seconds", 69),
        ("3 hours, 0 minutes, 1 seconds", 10_801),
        ("2 days, 3 hours, 4 minutes, 5 seconds", 183_845),
        ("1 day, 1 hour, 1 minute, 1 second", 90_061),
        ("12days,1seconds", 12 * 86_400 + 1),
        ("0 seconds", 0),
        # --- v2 and v3: milliseconds ---
        (1436, 1.436),
        (1, 0.001),
        (86_400_000, 86_400),
        # --- What cannot be understood ---
        ("", None),
        ("a while", None),
        ("1436", None),
        ("5 weeks, 1 seconds", None),
        ("-3 seconds", None),
        ("1.5 hours", None),
        ("1 seconds; DROP TABLE", None),
        ("999999999999 days", None),
        (0, None),
        (-1, None),
        (2**63 - 1, None),
        (int(LONGEST_SECONDS * 1000) + 1000, None),
    ],
)
def test_uptime(said: str | int, seconds: float | None):
    assert uptime_seconds(said) == seconds
