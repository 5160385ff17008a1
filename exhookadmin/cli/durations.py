"""How long, as people write it: 90s, 15m, 6h, 7d, 2w."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"([0-9]{1,6})([smhdw])")


def duration(text: str) -> timedelta:
    """For ``type=`` of an argument. Raises ArgumentTypeError with an example."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ArgumentTypeError(f"“{text}” is no duration; write for example 15m, 6h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
