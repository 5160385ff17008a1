"""A value in COPY's text format."""

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import pytest

from audit.copy_text import copy_line


def test_a_value_that_no_column_holds_is_refused():
    with pytest.raises(TypeError, match="bytes"):
        copy_line([b"no text"])


class Word(StrEnum):
    TAB = "a\tb"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, r"\N"),
        (r"\N", r"\\N"),
        ("", ""),
        ("\\.", r"\\."),
        ("a\tb\nc\rd\\", r"a\tb\nc\rd" + "\\\\"),
        (Word.TAB, r"a\tb"),
        (True, "t"),
        (False, "f"),
        (-7, "-7"),
        (UUID(int=255), "0" * 30 + "ff"),
        (datetime(2027, 1, 15, 8, tzinfo=UTC), "2027-01-15T08:00:00+00:00"),
        (datetime(800, 1, 15, 8, 1, 2, 3, tzinfo=UTC), "0800-01-15T08:01:02.000003+00:00"),
    ],
    ids=repr,
)
def test_a_value_in_a_line(value: object, text: str):
    assert copy_line([value, "next"]) == f"{text}\tnext\n"
