import re

import bcrypt
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from accounts.passwords import encode_password, password_matches, spend_a_verification, upgraded

# Both of “correct horse”.
RAW = "$2b$04$Ql3MtVCdCIpLTAo.ai59yO0e7mYbrTz2aWlTkJcprItPlxFkMm6yq"
STORED = "bcrypt_sha256$$2b$04$ol8q2IsmI6GN2GeamUMeYehCeZX3pzq5aJnXCVeZY4S351gaWNK8m"
any_text = st.text(st.characters(), max_size=40)


@pytest.fixture
def hashes(monkeypatch):
    """The salts, with their cost, of every bcrypt hash that is really computed from now on."""
    salts = []
    compute = bcrypt.hashpw

    def counted(password, salt):
        salts.append(bytes(salt))
        return compute(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", counted)
    return salts


@pytest.mark.parametrize(
    "password",
    [
        "x",
        "correct horse",
        " leading and trailing ",
        "größe 日本 🚰",
        # bcrypt by itself ends at 72 bytes, or raises beyond them
        "a" * 72,
        "a" * 73,
        "ä" * 37,
        "a" * 65_535,
        "$2b$04$looks.like.a.hash",
    ],
    ids=lambda password: f"{len(password.encode())} bytes",
)
def test_a_stored_password_matches_itself_and_nothing_near(password):
    encoded = encode_password(password)
    assert password_matches(encoded, password)
    for other in ("", password + "x", password[:-1], password.upper() + "!", " " + password):
        assert not password_matches(encoded, other)


def test_a_password_is_stored_by_djangos_bcrypt_sha256():
    encoded = encode_password("correct horse")
    assert re.fullmatch(r"bcrypt_sha256\$\$2b\$04\$[./A-Za-z0-9]{53}", encoded)
    assert len({encode_password("correct horse") for _ in range(5)}) == 5


def test_what_was_stored_yesterday_matches_today():
    """A fixed vector: the form is a promise to every database that exists."""
    assert password_matches(STORED, "correct horse")
    assert not password_matches(STORED, "correct horsf")


@pytest.mark.parametrize("rounds", [4, 5, 6])
def test_the_cost_comes_from_the_setting(settings, hashes, rounds):
    settings.EXHOOK_BCRYPT_ROUNDS = rounds
    encoded = encode_password("correct horse")
    assert encoded.startswith(f"bcrypt_sha256$$2b$0{rounds}$")
    assert [salt[:7] for salt in hashes] == [f"$2b$0{rounds}$".encode()]


def test_a_hash_made_under_another_cost_goes_on_matching(settings):
    settings.EXHOOK_BCRYPT_ROUNDS = 5
    encoded = encode_password("correct horse")
    settings.EXHOOK_BCRYPT_ROUNDS = 4
    assert password_matches(encoded, "correct horse")


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "!",
        "$",
        "$$$$",
        "correct horse",
        "a" * 32,
        "plain$$correct horse",
        "md5$salt$0123",
        "no_such_algorithm$x$y",
        "bcrypt_sha256",
        "bcrypt_sha256$",
        "bcrypt_sha256$$2b$04$",
        "bcrypt_sha256$$2b$04$short",
        "bcrypt_sha256$$2b$99$" + "a" * 53,
        "bcrypt_sha256$$9z$04$" + "a" * 53,
        "bcrypt_sha256$$2b$xx$" + "a" * 53,
        "bcrypt_sha256$$2b$04$" + "\x00" * 53,
        "bcrypt_sha256$$2b$04$" + "é" * 53,
        "bcrypt_sha256$" + RAW[:-1],
        "bcrypt_sha256$" + RAW[:-1] + "é",
        "bcrypt_sha256$" + RAW[1:],
        "BCRYPT_SHA256$" + RAW,
        "pbkdf2_sha256$",
        "pbkdf2_sha256$1$$",
        "pbkdf2_sha256$x$salt$hash",
        "pbkdf2_sha256$0$salt$hash",
        "pbkdf2_sha256$-5$salt$hash",
        "pbkdf2_sha256$99999999999999999999$salt$hash",
        "\ud800",
        "bcrypt_sha256$$2b$04$\ud800",
    ],
)
def test_a_stored_hash_that_cannot_be_read_matches_nothing(encoded):
    assert password_matches(encoded, "correct horse") is False
    assert password_matches(encoded, "") is False
    assert password_matches(encoded, "a" * 100) is False


@pytest.mark.parametrize(
    "password", ["wrong", "", "a" * 73, "ä" * 100, "a" * 65_535, "nul\x00inside", "\ud800"]
)
@pytest.mark.parametrize("form", ["{}", "bcrypt${}", "bcrypt_sha256${}"])
def test_raw_bcrypt_with_any_other_password_is_a_plain_no(form, password):
    """bcrypt itself raises for more than 72 bytes and, in some versions, for NUL."""
    assert password_matches(form.format(RAW), password) is False


@given(encoded=any_text | any_text.map("bcrypt_sha256${}".format) | any_text.map("pbkdf2_sha256$1${}".format))
def test_no_stored_text_raises(encoded):
    assert password_matches(encoded, "correct horse") is False


@given(place=st.integers(21, len(STORED) - 1), character=st.characters())
def test_a_damaged_hash_never_raises(place, character):
    damaged = STORED[:place] + character + STORED[place + 1 :]
    assert password_matches(damaged, "correct horse") is (damaged == STORED)


@given(password=any_text)
def test_no_password_raises(password):
    assert password_matches(STORED, password) is (password == "correct horse")


@pytest.mark.parametrize("rounds", [4, 6])
def test_a_login_that_has_no_hash_to_check_costs_one_all_the_same(settings, hashes, rounds):
    settings.EXHOOK_BCRYPT_ROUNDS = rounds
    spend_a_verification("warm up")
    hashes.clear()
    spend_a_verification("correct horse")
    for_nobody = list(hashes)
    hashes.clear()
    password_matches(encode_password("x"), "correct horse")
    _, for_somebody = hashes
    assert [salt[:7] for salt in for_nobody] == [for_somebody[:7]]
    assert for_somebody.startswith(b"$2b$%02d$" % rounds)


@pytest.mark.parametrize("password", ["", "x", "a" * 100, "a" * 65_535, "nul\x00inside"])
def test_any_password_costs_nobody_one_hash(hashes, password):
    spend_a_verification("warm up")
    hashes.clear()
    spend_a_verification(password)
    assert len(hashes) == 1


def test_spending_says_nothing():
    assert spend_a_verification("") is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_a_current_hash_needs_no_upgrade(password):
    assert upgraded(encode_password(password), password) is None


def test_a_hash_of_another_kind_or_cost_is_replaced_by_one_that_matches(settings):
    foreign = PBKDF2PasswordHasher().encode("correct horse", "salt", iterations=10)
    settings.EXHOOK_BCRYPT_ROUNDS = 5
    for old in (foreign, STORED):
        assert password_matches(old, "correct horse")
        new = upgraded(old, "correct horse")
        assert new is not None
        assert new.startswith("bcrypt_sha256$$2b$05$")
        assert password_matches(new, "correct horse")
        assert upgraded(new, "correct horse") is None


@given(encoded=any_text | any_text.map("bcrypt_sha256${}".format) | any_text.map("pbkdf2_sha256${}".format))
def test_what_cannot_be_read_is_never_upgraded_and_never_raises(encoded):
    if not password_matches(encoded, "x"):
        new = upgraded(encoded, "x")
        assert new is None or password_matches(new, "x")
