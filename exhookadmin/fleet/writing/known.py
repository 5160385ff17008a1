"""Every format that can be written, by the name that the import knows it by."""

from collections.abc import Mapping
from dataclasses import dataclass

from exhookadmin.fleet.writing.fleet import Writer
from exhookadmin.fleet.writing.own_lines import write_own_lines


@dataclass(frozen=True, slots=True)
class Target:
    """A format to write. ``holds`` says what of a fleet it is about; the rest is for another file."""

    title: str
    holds: str
    write: Writer
    asks: tuple[str, ...] = ()
    """The options without which it cannot be written."""


TARGETS: Mapping[str, Target] = {
    "fleet-jsonl": Target("this program's own JSON Lines", "everything", write_own_lines),
}
