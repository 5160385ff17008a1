"""Puts a run's table into docs/performance.md, between its two markers."""

from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure, markdown
from benchmarks.processes import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- results begin -->", "<!-- results end -->"


def write_into_documentation(
    found: Mapping[str, Sequence[Figure]], machine: Mapping[str, str], text: str | None = None
) -> str:
    """The document with this run's table. Stores it, unless ``text`` is given to be worked on.

    Raises ValueError when the markers are not there.
    """
    before = DOCUMENT.read_text() if text is None else text
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} must hold “{BEGIN}” and “{END}”.")
    described = ", ".join(f"{name} {value}" for name, value in machine.items())
    every = [figure for figures in found.values() for figure in figures]
    after = f"{head}{BEGIN}\n\nMeasured on: {described}.\n\n{markdown(every)}\n\n{END}{tail}"
    if text is None:
        DOCUMENT.write_text(after)
    return after
