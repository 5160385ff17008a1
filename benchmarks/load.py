"""What a load run yields, and the choice of who makes it."""

from dataclasses import dataclass

CONNECTIONS = 8
"""As EMQX's pool for one ExHook server."""
STREAMS = 16
"""Calls under way on each connection at a time."""


class WrongAnswer(Exception):
    """A reply was not the expected one: what was measured is not what was meant."""


@dataclass(frozen=True)
class Sample:
    """``calls`` answered in ``seconds``, for which the server spent ``cpu_seconds``."""

    calls: int
    seconds: float
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Calls for each second of CPU time that the server spent; 0 where that was too short to read."""
        return self.calls / self.cpu_seconds if self.cpu_seconds else 0.0
