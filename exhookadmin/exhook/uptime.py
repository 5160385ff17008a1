"""How long a broker's node has been up, from what it says of itself."""

import re

# What no node reaches, and no calendar can subtract.
LONGEST_SECONDS = 100 * 365 * 86_400.0

_PART = re.compile(r"(\d{1,12})\s*(day|hour|minute|second)s?")
_SECONDS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def uptime_seconds(said: str | int) -> float | None:
    """``BrokerInfo.uptime`` in seconds: words in v1 (“2 days, 3 hours, 4 minutes, 5 seconds”, as whole
    seconds), milliseconds in v2 and v3, where 0 is what was not said. None for what cannot be understood."""
    if isinstance(said, int):
        seconds = said / 1000 or -1.0
    else:
        parts = _PART.findall(said)
        if not parts or _PART.sub("", said).strip(" ,"):
            return None
        seconds = float(sum(int(number) * _SECONDS[unit] for number, unit in parts))
    return seconds if 0 <= seconds <= LONGEST_SECONDS else None
