import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.text import SHOWN_CHARACTERS, quoted, text_problem


@pytest.mark.parametrize(
    "text", ["", "pump", "größe", "日本", "🚰", "a\nb\tc", "\ufffe", "\x01", "\U0010ffff"]
)
def test_ordinary_text_can_be_stored(text):
    assert text_problem(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\x00", "NUL"),
        ("a\x00b", "NUL"),
        ("\ud800", "surrogate"),
        ("a\udfffb", "surrogate"),
    ],
)
def test_text_that_some_database_cannot_store_is_refused_with_what_to_do(text, says):
    problem = str(text_problem(text))
    assert says in problem
    assert problem.endswith(("remove it.", "type it again."))


@given(st.text(st.characters()))
def test_what_passes_is_valid_utf_8(text):
    if text_problem(text) is None:
        assert text.encode().decode() == text
        assert "\x00" not in text


@given(st.text(st.characters(), max_size=200))
def test_a_quotation_is_short_and_can_be_sent(text):
    shown = quoted(text)
    assert shown[0] + shown[-1] == "“”"
    assert len(shown) <= SHOWN_CHARACTERS + 3
    assert shown.encode()


def test_a_short_text_is_quoted_as_it_is():
    assert quoted("größe") == "“größe”"
