"""A file that is not what it claims to be."""


class Malformed(ValueError):
    """The reading ends at this line: what follows could be taken for something else than was meant."""

    def __init__(self, line: int, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason
        self.field = field
