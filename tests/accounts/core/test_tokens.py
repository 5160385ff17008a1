import re
from math import log2

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.core.tokens import PREFIX, encode_token, generate_token, looks_like_token, token_matches

any_text = st.text(st.characters())  # halves of surrogate pairs included
TOKEN = "exh_" + "A" * 32


def test_a_token_has_one_form():
    for _ in range(200):
        token = generate_token()
        assert re.fullmatch(r"exh_[A-Za-z0-9_-]{32}", token)
        assert looks_like_token(token)


def test_a_token_holds_at_least_160_random_bits():
    tokens = [generate_token().removeprefix(PREFIX) for _ in range(4_000)]
    assert len(set(tokens)) == len(tokens)
    # Each of the 64 characters stands in each place now and then: no place is constant or narrowed.
    seen = [{token[place] for token in tokens} for place in range(32)]
    assert sum(log2(len(characters)) for characters in seen) >= 160
    assert all(len(characters) == 64 for characters in seen)


@pytest.mark.parametrize(
    ("secret", "looks"),
    [
        (TOKEN, True),
        ("exh_" + "ä" * 32, True),  # never worth a slow hash either
        (TOKEN[:-1], False),
        (TOKEN + "A", False),
        ("EXH_" + "A" * 32, False),
        ("exh-" + "A" * 32, False),
        ("A" * 36, False),
        ("exh_", False),
        ("", False),
        (" " + TOKEN[:-1], False),
    ],
)
def test_the_shape_of_a_token_is_told_from_that_of_a_password(secret, looks):
    assert looks_like_token(secret) is looks


def test_a_token_is_stored_as_a_salted_hash():
    token = generate_token()
    encoded = encode_token(token)
    assert re.fullmatch(r"sha256\$[0-9a-f]{16}\$[0-9a-f]{64}", encoded)
    assert token not in encoded
    assert token.removeprefix(PREFIX) not in encoded


def test_no_two_stored_forms_are_equal():
    """So that two devices with one token, or a token used again, cannot be told from the table."""
    assert len({encode_token(TOKEN) for _ in range(100)}) == 100


@given(any_text)
def test_what_was_encoded_matches(secret):
    assert token_matches(encode_token(secret), secret)


@given(any_text, any_text)
def test_nothing_else_matches(secret, other):
    assert token_matches(encode_token(secret), other) is (secret == other)


@pytest.mark.parametrize("place", range(len(TOKEN)))
def test_a_token_that_differs_in_one_character_does_not_match(place):
    near = TOKEN[:place] + "B" + TOKEN[place + 1 :]
    assert not token_matches(encode_token(TOKEN), near)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda encoded: "",
        lambda encoded: "$",
        lambda encoded: "$$",
        lambda encoded: "sha256",
        lambda encoded: "sha256$",
        lambda encoded: "sha256$$",
        lambda encoded: encoded[:-1],
        lambda encoded: encoded + "0",
        lambda encoded: encoded.upper(),
        lambda encoded: encoded.replace("sha256", "sha512"),
        lambda encoded: encoded.replace("sha256", "plain"),
        lambda encoded: encoded.replace("$", ":"),
        lambda encoded: encoded.partition("$")[2],
        lambda encoded: " " + encoded,
        lambda encoded: encoded + "\x00",
        lambda encoded: encoded + "\ud800",
        lambda encoded: TOKEN,
        lambda encoded: "plain$$" + TOKEN,
        lambda encoded: "sha256$$" + TOKEN,
    ],
)
def test_a_tampered_stored_value_matches_nothing(tamper):
    assert token_matches(tamper(encode_token(TOKEN)), TOKEN) is False


@given(any_text, any_text)
@example("sha256$salt$\ud800", "x")
@example("sha256$\ud800$00", "\udfff")
def test_no_stored_value_and_no_secret_raise(encoded, secret):
    assert token_matches(encoded, secret) is False
    assert token_matches("sha256$" + encoded, secret) is False
