import hashlib

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.passwords import is_ours, password_matches, upgraded
from accounts.stored_hashes import (
    MACS,
    UnusableHash,
    emqx_hash,
    emqx_plain,
    hash_problem,
)
from tests.fleet.vectors import BCRYPT, VECTORS

SHA256 = "7a37b85c8918eac19a9089c0fa5a2ab4dce3f90528dcdeec108b23ddf3607b99"
KEY64 = "QUFB" * 21 + "QQ=="
any_text = st.text(st.characters(), max_size=80)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_another_brokers_hash_verifies_as_it_is(vector):
    assert hash_problem(vector.encoded) is None
    assert len(vector.encoded) <= 512
    assert password_matches(vector.encoded, vector.password)
    others = ("", vector.password + "x", vector.password[:-1], vector.password.upper())
    # One is enough where each takes a quarter of a second.
    for other in others[:1] if vector.encoded == BCRYPT else others:
        assert not password_matches(vector.encoded, other)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_another_brokers_hash_is_upgraded_when_its_password_is_at_hand(vector):
    assert not is_ours(vector.encoded)
    new = upgraded(vector.encoded, vector.password)
    assert new is not None
    assert is_ours(new)
    assert password_matches(new, vector.password)


@pytest.mark.parametrize("mac", MACS)
def test_a_mac_function_works_or_the_import_says_that_openssl_lacks_it(mac):
    size = {"md4": 16, "md5": 16, "ripemd160": 20, "sha": 20}.get(mac) or int(mac[3:]) // 8
    try:
        key = hashlib.pbkdf2_hmac(MACS[mac], b"password", b"salt", 3).hex()
    except ValueError:
        with pytest.raises(UnusableHash, match=f"OpenSSL has no {MACS[mac]}"):
            emqx_hash("pbkdf2", "00" * size, "salt", mac=mac, iterations=3)
    else:
        assert password_matches(emqx_hash("pbkdf2", key, "salt", mac=mac, iterations=3), "password")


@pytest.mark.parametrize("salt", ["", "$", "a$b$", "größe", "  ", "$2b$04$", "suffix$"])
@pytest.mark.parametrize("position", ["prefix", "suffix"])
def test_a_salt_is_text_and_may_hold_anything(salt, position):
    data = salt + "password" if position == "prefix" else "password" + salt
    encoded = emqx_hash("sha256", hashlib.sha256(data.encode()).hexdigest(), salt, salt_position=position)
    assert password_matches(encoded, "password")
    key = hashlib.pbkdf2_hmac("sha256", b"password", salt.encode(), 2).hex()
    assert password_matches(emqx_hash("pbkdf2", key, salt, mac="sha256", iterations=2), "password")


@pytest.mark.parametrize(
    ("stored", "salt", "position", "password"),
    [
        ("saltpassword", "salt", "prefix", "password"),
        ("passwordsalt", "salt", "suffix", "password"),
        ("password", "salt", "disable", "password"),
        ("Password", "", "prefix", "Password"),
        ("password", "", "suffix", "password"),
    ],
)
def test_emqx_plain_is_salt_and_password_in_clear(stored, salt, position, password):
    assert emqx_plain(stored, salt, salt_position=position) == password


def test_emqx_plain_without_its_salt_matched_nothing():
    for position in ("prefix", "suffix", "sideways"):
        with pytest.raises(UnusableHash):
            emqx_plain("password", "salt", salt_position=position)


def test_bcrypt_of_others_ends_at_72_bytes():
    encoded = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()
    assert password_matches(encoded, "a" * 72)
    assert password_matches(encoded, "a" * 72 + "tail")
    assert not password_matches(encoded, "a" * 71)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "no hash that is known"),
        ("$", "no hash that is known"),
        ("secret", "no hash that is known"),
        ("$1$salt$abc", "no hash that is known"),
        ("$5$salt$abc", "no hash that is known"),
        ("a" * 513, "longer than 512"),
        ("$2b$31$" + "a" * 53, "would stall"),
        ("$2b$15$" + "a" * 53, "would stall"),
        ("$2b$03$" + "a" * 53, "not between"),
        ("$2b$12$" + "a" * 52, "no whole bcrypt"),
        (BCRYPT + "\n", "no whole bcrypt"),
        ("bcrypt_sha256$$2b$20$" + "a" * 53, "would stall"),
        (f"$7$2000001$c2FsdA==${KEY64}", "would stall"),
        (f"$7$99999999999999$c2FsdA==${KEY64}", "absurdly large"),
        (f"$7$0$c2FsdA==${KEY64}", "not between"),
        (f"$7$-1$c2FsdA==${KEY64}", "cannot be read"),
        (f"$7$x$c2FsdA==${KEY64}", "cannot be read"),
        ("$7$101$c2FsdA==$QUFB", "base64 of 64 bytes"),
        ("$7$101$c2FsdA==", "cut off"),
        (f"$7$101$!!!${KEY64}", "not base64"),
        ("$6$c2FsdA==", "cut off"),
        ("$6$rounds=5000$salt$" + "a" * 86, "not base64"),
        ("$6$c2FsdA==$QUFB", "base64 of 64 bytes"),
        ("PBKDF2$sha512$1000$c2FsdA==", "cut off"),
        ("PBKDF2$md5$1000$c2FsdA==$QUFB", "sha256 and sha512"),
        ("PBKDF2$sha512$3000000$c2FsdA==$QUFB", "would stall"),
        ("$pbkdf2-sha512$25000$salt$hash", "no $pbkdf2-sha512$"),
        ("$pbkdf2-sha512$i=1,l=64$c2FsdA$QUFB", "another length"),
        ("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$QUFBQUFB", "no hash that is known"),
        ("$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$QUFBQUFB", "version 19"),
        ("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$QUFBQUFB", "would stall"),
        ("$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$QUFBQUFB", "would stall"),
        ("$argon2id$v=19$m=64,t=1,p=99$c2FsdHNhbHQ$QUFBQUFB", "would stall"),
        ("$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$QUFBQUFB", "would stall"),
        ("$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$QUFBQUFB", "fit no hash"),
        ("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ", "no argon2id hash"),
        ("emqx$sha256$prefix$salt$abcd", "64 hexadecimal digits"),
        ("emqx$sha256$prefix$salt$" + "z" * 64, "hexadecimal"),
        ("emqx$sha256$middle$salt$" + SHA256, "salt position"),
        ("emqx$sha3$prefix$salt$" + SHA256, "digest"),
        ("emqx$sha256", "cut off"),
        ("emqx_pbkdf2$sha256$9999999$salt$" + SHA256, "would stall"),
        ("emqx_pbkdf2$crc32$1$salt$" + SHA256, "MAC"),
        ("emqx$sha256$prefix$\ud800$" + SHA256, "surrogate"),
        ("pbkdf2_sha256$50000000$salt$QUFB", "would stall"),
        ("scrypt$1073741824$salt$8$1$QUFB", "too much memory"),
        ("scrypt$3$salt$8$1$QUFB", "fit no hash"),
        ("$2b$12$é" + "a" * 52, "no such hash has"),
    ],
    ids=str,
)
def test_what_no_login_could_verify_is_refused_with_the_reason(encoded, reason):
    problem = hash_problem(encoded)
    assert problem is not None
    assert reason in problem
    assert password_matches(encoded, "password") is False


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        (("sha256", SHA256[:-2], "salt"), {}, "64 hexadecimal digits"),
        (("md5", SHA256, "salt"), {}, "32 hexadecimal digits"),
        (("sha256", SHA256, "salt"), {"salt_position": "infix"}, "disable, prefix, suffix"),
        (("sha256", SHA256, "a\0b"), {}, "NUL"),
        (("sha256", SHA256, "s" * 500), {}, "longer than 512"),
        (("sha999", SHA256, "salt"), {}, "algorithm must be one of"),
        (("bcrypt", SHA256, "salt"), {}, "no hash that is known"),
        (("pbkdf2", SHA256, "salt"), {"mac": "sha512"}, "128 hexadecimal digits"),
        (("pbkdf2", SHA256, "salt"), {"mac": "crc32"}, "MAC function"),
        (("pbkdf2", SHA256, "salt"), {"mac": "sha256", "iterations": 10**9}, "would stall"),
        (("pbkdf2", "ab" * 400, "salt"), {"mac": "sha256", "dk_length": 400}, "longer than 512"),
    ],
)
def test_a_hash_that_does_not_fit_its_algorithm_is_refused(arguments, options, reason):
    with pytest.raises(UnusableHash, match=reason):
        emqx_hash(*arguments, **options)


FORMS = [vector.encoded for vector in VECTORS if vector.encoded != BCRYPT]


@given(st.sampled_from(FORMS), st.integers(0, 120), any_text)
def test_rubbish_in_a_stored_form_is_read_or_refused_and_never_raises_anything_else(form, place, rubbish):
    damaged = form[:place] + rubbish + form[place + 1 :]
    problem = hash_problem(damaged)
    # Where there is one, it repeats nothing of the hash.
    assert problem is None or form[-20:] not in problem


@given(any_text)
def test_no_password_raises(password):
    for vector in (VECTORS[0], next(each for each in reversed(VECTORS) if each.encoded == FORMS[-1])):
        assert password_matches(vector.encoded, password) is (password == vector.password)
