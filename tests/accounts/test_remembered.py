"""What a worker remembers of passwords: digests bound to what was verified, for a while, and bounded."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.decision import Reason
from accounts.core.principal import CredentialKind, PrincipalCredential
from accounts.remembered import RememberedFailures, RememberedPasswords

SECONDS = 100.0
CREDENTIAL = PrincipalCredential(1, CredentialKind.PASSWORD, "bcrypt_sha256$the-hash")
SECOND = PrincipalCredential(2, CredentialKind.PASSWORD, "bcrypt_sha256$another-hash")
# As JSON can carry it, and as a hostile client could send it: lone surrogates too.
any_text = st.text(st.characters(exclude_categories=()), max_size=20)


def everything_in(thing: Any) -> Iterator[object]:
    """Every value that can be reached from an object, through attributes and containers."""
    yield thing
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from everything_in(key)
            yield from everything_in(value)
    elif isinstance(thing, list | tuple | set):
        for value in thing:
            yield from everything_in(value)
    elif hasattr(thing, "__dict__"):
        yield from everything_in(vars(thing))


def holds(thing: object, text: str) -> bool:
    """Whether the text is somewhere in there, as text or as bytes."""
    return any(text in repr(value) for value in everything_in(thing))


# --- Passwords that verified ---


@pytest.fixture
def passwords() -> RememberedPasswords:
    remembered = RememberedPasswords(10, SECONDS)
    remembered.remember(CREDENTIAL, "correct horse", 0.0)
    return remembered


@pytest.mark.parametrize(
    ("credential", "password", "now", "known"),
    [
        (CREDENTIAL, "correct horse", 0.0, True),
        (replace(CREDENTIAL, expires_at=5.0), "correct horse", 0.0, True),
        # Another password
        (CREDENTIAL, "correct hors", 0.0, False),
        (CREDENTIAL, "Correct horse", 0.0, False),
        (CREDENTIAL, "correct horse ", 0.0, False),
        (CREDENTIAL, "", 0.0, False),
        # Another stored hash, or another credential
        (replace(CREDENTIAL, encoded="bcrypt_sha256$new-hash"), "correct horse", 0.0, False),
        (replace(CREDENTIAL, id=2), "correct horse", 0.0, False),
        # For so long
        (CREDENTIAL, "correct horse", 99.9, True),
        (CREDENTIAL, "correct horse", 100.0, False),
    ],
)
def test_what_is_known_to_be_right(
    passwords: RememberedPasswords, credential: PrincipalCredential, password: str, now: float, known: bool
):
    assert passwords.verifies(credential, password, now) is known


def test_looking_does_not_prolong(passwords: RememberedPasswords):
    assert passwords.verifies(CREDENTIAL, "correct horse", 99.0)
    assert not passwords.verifies(CREDENTIAL, "correct horse", 101.0)


def test_verifying_again_does(passwords: RememberedPasswords):
    passwords.remember(CREDENTIAL, "correct horse", 99.0)
    assert passwords.verifies(CREDENTIAL, "correct horse", 198.0)
    assert len(passwords) == 1


def test_another_process_can_do_nothing_with_it(passwords: RememberedPasswords):
    stolen = RememberedPasswords(10, SECONDS)
    stolen._verified = passwords._verified
    assert not stolen.verifies(CREDENTIAL, "correct horse", 0.0)


def test_two_instances_remember_the_same_password_differently():
    first, second = RememberedPasswords(10, SECONDS), RememberedPasswords(10, SECONDS)
    for remembered in (first, second):
        remembered.remember(CREDENTIAL, "correct horse", 0.0)
    assert first._verified[1][0] != second._verified[1][0]


def test_no_clear_text_is_held(passwords: RememberedPasswords):
    assert not holds(passwords, "correct horse")
    assert "correct horse" not in repr(passwords)
    assert holds(["correct horse"], "correct horse")


def test_nor_can_it_be_written_down_by_accident(passwords: RememberedPasswords):
    with pytest.raises(TypeError):
        pickle.dumps(passwords)


def test_the_one_that_verified_longest_ago_makes_room():
    remembered = RememberedPasswords(2, SECONDS)
    one, two, three = (replace(CREDENTIAL, id=number) for number in (1, 2, 3))
    remembered.remember(one, "x", 0.0)
    remembered.remember(two, "x", 1.0)
    remembered.remember(one, "x", 2.0)
    remembered.remember(three, "x", 3.0)
    assert [remembered.verifies(credential, "x", 3.0) for credential in (one, two, three)] == [
        True,
        False,
        True,
    ]


def test_a_million_credentials_take_the_room_of_the_capacity():
    remembered = RememberedPasswords(1_000, SECONDS)
    most = 0
    for number in range(1_000_000):
        remembered.remember(PrincipalCredential(number, CredentialKind.PASSWORD, "hash"), "x", 0.0)
        most = max(most, len(remembered))
    assert most == 1_000


@given(any_text, any_text, any_text, any_text)
def test_only_the_same_password_against_the_same_hash_verifies(
    password: str, encoded: str, other_password: str, other_encoded: str
):
    """Nor do a password's end and a hash's beginning run together."""
    remembered = RememberedPasswords(10, SECONDS)
    remembered.remember(replace(CREDENTIAL, encoded=encoded), password, 0.0)
    assert remembered.verifies(replace(CREDENTIAL, encoded=encoded), password, 0.0)
    for one, two in ((other_password, other_encoded), (password + encoded, ""), ("", password + encoded)):
        same = (one, two) == (password, encoded)
        assert remembered.verifies(replace(CREDENTIAL, encoded=two), one, 0.0) is same


# --- Logins that failed ---

FAILED = ("pump-17", "wrong horse", Reason.CREDENTIAL_WRONG, (CREDENTIAL, SECOND))


@pytest.fixture
def failures() -> RememberedFailures:
    remembered = RememberedFailures(10, SECONDS)
    remembered.remember(*FAILED, 0.0)
    return remembered


@pytest.mark.parametrize(
    ("name", "password", "reason", "live", "known"),
    [
        (*FAILED, True),
        ("pump-18", "wrong horse", Reason.CREDENTIAL_WRONG, (CREDENTIAL, SECOND), False),
        ("pump-17", "another horse", Reason.CREDENTIAL_WRONG, (CREDENTIAL, SECOND), False),
        ("pump-17", "wrong horse", Reason.DEVICE_DISABLED, (CREDENTIAL, SECOND), False),
        ("pump-17", "wrong horse", Reason.CREDENTIAL_WRONG, (CREDENTIAL,), False),
        ("pump-17", "wrong horse", Reason.CREDENTIAL_WRONG, (), False),
        (
            "pump-17",
            "wrong horse",
            Reason.CREDENTIAL_WRONG,
            (CREDENTIAL, replace(SECOND, encoded="new")),
            False,
        ),
    ],
    ids=["same", "name", "password", "reason", "one revoked", "all revoked", "one changed"],
)
def test_only_the_very_same_login_is_known_to_fail(
    failures: RememberedFailures,
    name: str,
    password: str,
    reason: Reason,
    live: tuple[PrincipalCredential, ...],
    known: bool,
):
    assert failures.failed(name, password, reason, live, 0.0) is known


def test_a_failure_is_remembered_for_half_to_all_of_the_time_and_not_always_the_same():
    ends = set()
    for _ in range(200):
        remembered = RememberedFailures(10, SECONDS)
        remembered.remember(*FAILED, 0.0)
        (until,) = remembered._failed.values()
        assert SECONDS / 2 <= until <= SECONDS
        assert remembered.failed(*FAILED, 49.9)
        assert not remembered.failed(*FAILED, 100.0)
        ends.add(until)
    assert len(ends) > 100
    assert max(ends) - min(ends) > SECONDS / 4


def test_another_process_can_do_nothing_with_failures_either(failures: RememberedFailures):
    stolen = RememberedFailures(10, SECONDS)
    stolen._failed = failures._failed
    assert not stolen.failed(*FAILED, 0.0)


def test_neither_names_nor_passwords_are_held_in_clear(failures: RememberedFailures):
    assert not holds(failures, "wrong horse")
    assert not holds(failures, "pump-17")


def test_the_oldest_failure_makes_room():
    remembered = RememberedFailures(2, SECONDS)
    for name in ("one", "two", "one", "three"):
        remembered.remember(name, "x", Reason.UNKNOWN_DEVICE, (), 0.0)
    assert [
        remembered.failed(name, "x", Reason.UNKNOWN_DEVICE, (), 0.0) for name in ("one", "two", "three")
    ] == [True, False, True]


def test_a_million_failed_logins_take_the_room_of_the_capacity():
    remembered = RememberedFailures(1_000, SECONDS)
    most = 0
    for number in range(1_000_000):
        remembered.remember(str(number), "x", Reason.UNKNOWN_DEVICE, (), 0.0)
        most = max(most, len(remembered))
    assert most == 1_000


@given(any_text, any_text, st.lists(any_text, max_size=3), any_text, any_text, st.lists(any_text, max_size=3))
def test_a_login_is_its_name_its_password_and_its_hashes(
    name: str, password: str, hashes: list[str], other_name: str, other_password: str, others: list[str]
):
    def live(encoded: list[str]) -> list[PrincipalCredential]:
        return [replace(CREDENTIAL, encoded=one) for one in encoded]

    remembered = RememberedFailures(10, SECONDS)
    remembered.remember(name, password, Reason.CREDENTIAL_WRONG, live(hashes), 0.0)
    for login in ((name, password, hashes), (other_name, other_password, others), (password, name, hashes)):
        known = remembered.failed(login[0], login[1], Reason.CREDENTIAL_WRONG, live(login[2]), 0.0)
        assert known is (login == (name, password, hashes))
