"""Logins with memory: what takes a hash, what memory saves, what throttling refuses, and what is upgraded."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import bcrypt
import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.client import Client
from accounts.core.decision import Decision, Reason
from accounts.core.identity import DEFAULT_ORDER
from accounts.core.networks import parse_networks
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.core.tokens import encode_token
from accounts.models import Credential, Device
from accounts.passwords import encode_password, password_matches, spend_a_verification
from accounts.principals import find_device, principal_of
from accounts.services import create_device
from accounts.throttle import Limit
from accounts.validators import NAME_CHARACTERS
from exhookadmin.exhook import logins as logins_module
from exhookadmin.exhook.logins import FAILED_SECONDS, VERIFIED_SECONDS, LoginLimits, Logins, Need
from tests.outage import Outage

NOW = 1_700_000_000.0
NO_LIMITS = LoginLimits(Limit(0, 60.0), Limit(0, 60.0))
RIGHT, WRONG = "correct horse", "wrong horse"
TOKEN, OTHER_TOKEN = "exh_" + "a" * 32, "exh_" + "b" * 32

PASSWORD = PrincipalCredential(1, CredentialKind.PASSWORD, encode_password(RIGHT))
SECOND_PASSWORD = PrincipalCredential(2, CredentialKind.PASSWORD, encode_password("another"))
FAST = PrincipalCredential(3, CredentialKind.TOKEN, encode_token(TOKEN))
PUMP = Principal(17, "pump-17", credentials=(PASSWORD,))
CLIENT = Client(client_id="pump-17", username="pump-17", address="192.0.2.7", password=RIGHT)


class Clock:
    """Wall clock and monotonic clock, apart, so that one can be set without the other."""

    def __init__(self) -> None:
        self.wall, self.ticks = NOW, 50.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def forward(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logins_module, "time", clock)
    return clock


def counted_hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The salts of every bcrypt hash that is really computed from now on."""
    spend_a_verification("makes the hash of nobody")
    salts: list[bytes] = []
    compute = bcrypt.hashpw

    def counted(password: bytes, salt: bytes) -> bytes:
        salts.append(salt)
        return compute(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", counted)
    return salts


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    return counted_hashes(monkeypatch)


def new_logins(limits: LoginLimits = NO_LIMITS, capacity: int = 100) -> Logins:
    return Logins(DEFAULT_ORDER, limits, capacity)


def limited(identity: int = 0, address: int = 0) -> Logins:
    """With a burst for each; one failure is forgiven a minute."""
    return new_logins(LoginLimits(Limit(identity, 60.0), Limit(address, 60.0)))


def reason(answer: Decision | Need) -> Reason:
    assert isinstance(answer, Decision), answer
    return answer.reason


def log_in(logins: Logins, client: Client, principal: Principal | None) -> tuple[Reason, bool]:
    """A login as the front does it: the reason, and whether it took the slow way."""
    quick = logins.quick(client, principal)
    if isinstance(quick, Decision):
        return quick.reason, False
    return logins.full(client, principal).reason, True


# --- Which login takes a hash ---


def with_(**fields: Any) -> Principal:
    return replace(PUMP, **fields)


@pytest.mark.parametrize(
    ("principal", "secret", "need", "expected", "count"),
    [
        # A password
        (PUMP, RIGHT, Need.HASH, Reason.CREDENTIAL_VERIFIED, 1),
        (PUMP, WRONG, Need.HASH, Reason.CREDENTIAL_WRONG, 1),
        (PUMP, "", None, Reason.CREDENTIAL_MISSING, 0),
        (PUMP, TOKEN, None, Reason.CREDENTIAL_WRONG, 0),
        (with_(credentials=(PASSWORD, SECOND_PASSWORD)), RIGHT, Need.HASH, Reason.CREDENTIAL_VERIFIED, 1),
        (with_(credentials=(SECOND_PASSWORD, PASSWORD)), RIGHT, Need.HASH, Reason.CREDENTIAL_VERIFIED, 2),
        # A token: never a slow hash
        (with_(credentials=(FAST,)), TOKEN, None, Reason.CREDENTIAL_VERIFIED, 0),
        (with_(credentials=(PASSWORD, FAST)), TOKEN, None, Reason.CREDENTIAL_VERIFIED, 0),
        (with_(credentials=(FAST,)), OTHER_TOKEN, None, Reason.CREDENTIAL_WRONG, 0),
        (with_(credentials=(PASSWORD, FAST)), OTHER_TOKEN, None, Reason.CREDENTIAL_WRONG, 0),
        (with_(credentials=(FAST,)), "", None, Reason.CREDENTIAL_MISSING, 0),
        (with_(credentials=(FAST,)), WRONG, Need.DUMMY_HASH, Reason.CREDENTIAL_WRONG, 1),
        # Nobody
        (None, RIGHT, Need.DUMMY_HASH, Reason.UNKNOWN_DEVICE, 1),
        (None, TOKEN, None, Reason.UNKNOWN_DEVICE, 0),
        (None, "", None, Reason.UNKNOWN_DEVICE, 0),
        # Refused before any password is looked at
        (with_(enabled=False), RIGHT, Need.DUMMY_HASH, Reason.DEVICE_DISABLED, 1),
        (with_(enabled=False), TOKEN, None, Reason.DEVICE_DISABLED, 0),
        (with_(valid_from=NOW + 1), RIGHT, Need.DUMMY_HASH, Reason.NOT_YET_VALID, 1),
        (with_(valid_until=NOW - 1), RIGHT, Need.DUMMY_HASH, Reason.NO_LONGER_VALID, 1),
        (with_(username="pump-18"), RIGHT, Need.DUMMY_HASH, Reason.CLIENT_ID_NOT_BOUND, 1),
        (
            with_(networks=parse_networks(["198.51.100.0/24"])),
            RIGHT,
            Need.DUMMY_HASH,
            Reason.ADDRESS_NOT_ALLOWED,
            1,
        ),
        (with_(credentials=()), RIGHT, Need.DUMMY_HASH, Reason.NO_LIVE_CREDENTIAL, 1),
        (
            with_(credentials=(replace(PASSWORD, enabled=False),)),
            RIGHT,
            Need.DUMMY_HASH,
            Reason.NO_LIVE_CREDENTIAL,
            1,
        ),
        (
            with_(credentials=(replace(PASSWORD, expires_at=NOW),)),
            RIGHT,
            Need.DUMMY_HASH,
            Reason.NO_LIVE_CREDENTIAL,
            1,
        ),
        # Nothing to prove
        (with_(credential_required=False), WRONG, None, Reason.NO_CREDENTIAL_REQUIRED, 0),
        (with_(certificate_cn="pump.example"), WRONG, None, Reason.CERTIFICATE_VERIFIED, 0),
    ],
)
def test_a_secret_takes_a_hash_exactly_when_only_a_hash_could_judge_it(
    clock: Clock,
    hashes: list[bytes],
    principal: Principal | None,
    secret: str,
    need: Need | None,
    expected: Reason,
    count: int,
):
    client = CLIENT._replace(
        password=secret, cn="pump.example" if principal and principal.certificate_cn else ""
    )
    logins = new_logins()
    quick = logins.quick(client, principal)
    assert hashes == []
    if need is None:
        assert reason(quick) == expected
    else:
        assert quick is need
    assert logins.full(client, principal).reason == expected
    assert len(hashes) == count


def test_a_dummy_hash_costs_what_a_real_one_does(clock: Clock, hashes: list[bytes]):
    new_logins().full(CLIENT._replace(password=WRONG), PUMP)
    new_logins().full(CLIENT._replace(password=WRONG), None)
    real, dummy = hashes
    assert real[:7] == dummy[:7]


@pytest.mark.parametrize("principal", [None, with_(enabled=False), with_(credentials=())])
def test_a_spare_answer_is_the_same_without_the_hash(
    clock: Clock, hashes: list[bytes], principal: Principal | None
):
    spare = new_logins().quick(CLIENT, principal, spare=True)
    assert hashes == []
    assert spare == new_logins().full(CLIENT, principal)


def test_even_a_spare_answer_never_guesses_about_a_password(clock: Clock):
    assert new_logins().quick(CLIENT, PUMP, spare=True) is Need.HASH


@pytest.mark.parametrize(
    ("secret", "may"), [(RIGHT, True), ("", False), (TOKEN, False), (TOKEN + "x", True), ("exh_", True)]
)
def test_which_secrets_may_need_a_hash(secret: str, may: bool):
    assert new_logins().may_need_a_hash(secret) is may


# --- What memory saves ---


def test_a_password_that_verified_needs_no_hash_until_its_time_is_over(clock: Clock, hashes: list[bytes]):
    logins = new_logins()
    assert log_in(logins, CLIENT, PUMP) == (Reason.CREDENTIAL_VERIFIED, True)
    assert len(hashes) == 1
    clock.forward(VERIFIED_SECONDS - 1)
    assert log_in(logins, CLIENT, PUMP) == (Reason.CREDENTIAL_VERIFIED, False)
    assert logins.full(CLIENT, PUMP).reason == Reason.CREDENTIAL_VERIFIED
    assert (len(hashes), logins.verified_hits) == (1, 1)
    clock.forward(1)
    assert logins.quick(CLIENT, PUMP) is Need.HASH


@pytest.mark.parametrize(
    ("principal", "answer"),
    [
        (with_(enabled=False), Need.DUMMY_HASH),
        (with_(valid_until=NOW - 1), Need.DUMMY_HASH),
        (with_(credentials=(replace(PASSWORD, enabled=False),)), Need.DUMMY_HASH),
        (with_(credentials=(replace(PASSWORD, encoded=encode_password(RIGHT)),)), Need.HASH),
        (with_(credentials=(replace(PASSWORD, id=99),)), Need.HASH),
    ],
    ids=[
        "device disabled",
        "device no longer valid",
        "credential disabled",
        "rehashed",
        "another credential",
    ],
)
def test_what_is_remembered_ends_with_any_change(clock: Clock, principal: Principal, answer: Need):
    logins = new_logins()
    logins.full(CLIENT, PUMP)
    assert isinstance(logins.quick(CLIENT, PUMP), Decision)
    assert logins.quick(CLIENT, principal) is answer


def test_a_wrong_password_is_not_mistaken_for_the_remembered_one(clock: Clock, hashes: list[bytes]):
    logins = new_logins()
    logins.full(CLIENT, PUMP)
    assert log_in(logins, CLIENT._replace(password=WRONG), PUMP) == (Reason.CREDENTIAL_WRONG, True)
    assert len(hashes) == 2
    assert log_in(logins, CLIENT, PUMP) == (Reason.CREDENTIAL_VERIFIED, False)


@pytest.mark.parametrize(
    "principal", [PUMP, None, with_(enabled=False)], ids=["known", "unknown", "disabled"]
)
def test_a_login_that_failed_is_refused_alike_without_a_hash_for_a_while(
    clock: Clock, hashes: list[bytes], principal: Principal | None
):
    client, logins = CLIENT._replace(password=WRONG), new_logins()
    refused = logins.full(client, principal)
    clock.forward(FAILED_SECONDS / 2 - 1)
    assert logins.quick(client, principal) == refused
    assert (len(hashes), logins.failed_hits) == (1, 1)
    clock.forward(FAILED_SECONDS / 2 + 1)
    assert isinstance(logins.quick(client, principal), Need)


@pytest.mark.parametrize(
    ("before", "client_before"),
    [
        (None, CLIENT),
        (with_(enabled=False), CLIENT),
        (with_(valid_from=NOW + 1), CLIENT),
        (with_(valid_until=NOW - 1), CLIENT),
        (with_(networks=parse_networks(["198.51.100.0/24"])), CLIENT),
        (PUMP, CLIENT._replace(client_id="misspelt")),
        (with_(credentials=()), CLIENT),
        (with_(credentials=(replace(PASSWORD, enabled=False),)), CLIENT),
        (with_(credentials=(replace(PASSWORD, expires_at=NOW),)), CLIENT),
        (with_(credentials=(SECOND_PASSWORD, replace(PASSWORD, enabled=False))), CLIENT),
        (with_(credentials=(SECOND_PASSWORD,)), CLIENT),
    ],
    ids=[
        "unknown",
        "disabled",
        "not yet valid",
        "no longer valid",
        "elsewhere",
        "another client id",
        "no credential",
        "credential disabled",
        "credential expired",
        "one of two disabled",
        "another password",
    ],
)
def test_a_right_password_works_as_soon_as_what_stood_in_its_way_is_gone(
    clock: Clock, before: Principal | None, client_before: Client
):
    """A refusal says nothing about a password that was not compared."""
    logins = new_logins()
    assert not logins.full(client_before, before).allow
    after = PUMP
    if before is not None and SECOND_PASSWORD in before.credentials:
        after = with_(credentials=(SECOND_PASSWORD, PASSWORD))
    assert log_in(logins, CLIENT, after)[0] == Reason.CREDENTIAL_VERIFIED


# --- Throttling ---


def test_an_identity_that_failed_too_often_is_refused_before_hashing(clock: Clock, hashes: list[bytes]):
    logins = limited(identity=3)
    for number in range(3):
        assert log_in(logins, CLIENT._replace(password=f"wrong {number}"), PUMP)[1]
    assert len(hashes) == 3
    for secret in (WRONG, RIGHT):
        client = CLIENT._replace(password=secret)
        assert log_in(logins, client, PUMP) == (Reason.THROTTLED, False)
        assert logins.full(client, PUMP).reason == Reason.THROTTLED
    assert len(hashes) == 3
    clock.forward(60.0)
    assert log_in(logins, CLIENT, PUMP) == (Reason.CREDENTIAL_VERIFIED, True)


def test_the_same_wrong_password_counts_each_time(clock: Clock, hashes: list[bytes]):
    logins = limited(identity=3)
    reasons = [log_in(logins, CLIENT._replace(password=WRONG), PUMP)[0] for _ in range(5)]
    assert reasons == [Reason.CREDENTIAL_WRONG] * 3 + [Reason.THROTTLED] * 2
    assert len(hashes) == 1


@pytest.mark.parametrize("secret", [TOKEN, RIGHT], ids=["token", "password"])
def test_throttling_holds_for_every_secret_of_the_identity(clock: Clock, secret: str):
    principal, logins = with_(credentials=(PASSWORD, FAST)), limited(identity=2)
    for _ in range(2):
        log_in(logins, CLIENT._replace(password=OTHER_TOKEN), principal)
    assert log_in(logins, CLIENT._replace(password=secret), principal) == (Reason.THROTTLED, False)


def test_it_is_this_identity_from_this_address(clock: Clock):
    logins = limited(identity=1)
    log_in(logins, CLIENT._replace(password=WRONG), PUMP)
    assert log_in(logins, CLIENT._replace(address="192.0.2.8"), PUMP)[0] == Reason.CREDENTIAL_VERIFIED
    other = CLIENT._replace(username="pump-18", client_id="pump-18")
    assert log_in(logins, other, with_(id=18, username="pump-18"))[0] == Reason.CREDENTIAL_VERIFIED
    assert log_in(logins, CLIENT, PUMP)[0] == Reason.THROTTLED


def test_a_success_forgives_the_identity_and_not_the_address(clock: Clock):
    logins = limited(identity=3, address=4)
    for number in range(2):
        log_in(logins, CLIENT._replace(password=f"wrong {number}"), PUMP)
    log_in(logins, CLIENT, PUMP)
    assert (len(logins.by_identity), len(logins.by_address)) == (0, 1)
    for number in range(2):
        assert log_in(logins, CLIENT._replace(password=f"{number}"), PUMP)[0] == Reason.CREDENTIAL_WRONG
    assert log_in(logins, CLIENT._replace(password="x"), PUMP) == (Reason.THROTTLED, False)


def test_a_remembered_password_passes_an_address_that_fails_and_others_wait(
    clock: Clock, hashes: list[bytes]
):
    logins = limited(address=2)
    log_in(logins, CLIENT, PUMP)
    for number in range(2):
        log_in(logins, CLIENT._replace(username=f"guess-{number}", password=WRONG), None)
    computed = len(hashes)
    assert log_in(logins, CLIENT, PUMP) == (Reason.CREDENTIAL_VERIFIED, False)
    assert log_in(logins, CLIENT._replace(password=WRONG), PUMP) == (Reason.THROTTLED, False)
    assert log_in(logins, CLIENT._replace(username="guess-9"), None) == (Reason.UNKNOWN_DEVICE, False)
    # A token needs no hash to be protected from.
    token = CLIENT._replace(password=TOKEN)
    assert log_in(logins, token, with_(credentials=(FAST,))) == (Reason.CREDENTIAL_VERIFIED, False)
    assert len(hashes) == computed
    assert log_in(logins, CLIENT._replace(address="192.0.2.8", password=WRONG), PUMP)[1]


def test_a_client_that_shows_no_secret_is_no_guess(clock: Clock):
    logins = limited(identity=1, address=1)
    for _ in range(5):
        assert log_in(logins, CLIENT._replace(password=""), PUMP)[0] == Reason.CREDENTIAL_MISSING
    assert (len(logins.by_identity), len(logins.by_address)) == (0, 0)


def test_setting_the_wall_clock_back_throttles_nobody_for_longer(clock: Clock):
    logins = limited(identity=1)
    clock.wall += 365 * 86_400
    log_in(logins, CLIENT._replace(password=WRONG), PUMP)
    clock.wall -= 365 * 86_400
    clock.forward(60.0)
    assert log_in(logins, CLIENT, PUMP)[0] == Reason.CREDENTIAL_VERIFIED


attempts = st.lists(
    st.tuples(st.sampled_from(["one", "two", "three", OTHER_TOKEN, ""]), st.integers(0, 70)), max_size=25
)


@given(attempts, st.integers(0, 3), st.integers(0, 5))
def test_a_known_and_an_unknown_identity_cost_the_same_at_every_attempt(
    tried: list[tuple[str, int]], identity: int, address: int
):
    """Whoever measures the answers' times, however often and patiently, learns no names from them."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(logins_module, "time", clock)
        # The jitter differs between names by chance, not by whether they exist.
        patch.setattr("accounts.remembered.random.uniform", lambda low, high: high)
        hashes = counted_hashes(patch)
        principals = (PUMP, None, with_(enabled=False), with_(credentials=()))
        each = [limited(identity, address) for _ in principals]
        for password, seconds in tried:
            clock.forward(seconds)
            spent = []
            for logins, principal in zip(each, principals, strict=True):
                hashes.clear()
                _, slow = log_in(logins, CLIENT._replace(password=password), principal)
                spent.append((slow, len(hashes)))
            assert len(set(spent)) == 1, spent


# --- Bounds ---


def test_invented_names_and_addresses_fill_bounded_room(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logins_module, "THROTTLED_KEYS", 1_000)
    logins = limited(identity=10, address=10)
    for number in range(100_000):
        name = f"invented-{number}"
        client = Client(client_id=name, username=name, password="x", address=str(number))
        logins.quick(client, None, spare=True)
    assert (len(logins.by_identity), len(logins.by_address)) == (1_000, 1_000)


def test_what_is_remembered_of_passwords_is_bounded(
    clock: Clock, hashes: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logins_module, "FAILED_LOGINS", 20)
    logins = new_logins(capacity=10)
    for number in range(50):
        logins.full(CLIENT._replace(password=f"wrong {number}"), PUMP)
        logins.full(CLIENT, with_(credentials=(replace(PASSWORD, id=number),)))
    assert (len(logins._failed), len(logins._verified)) == (20, 10)
    assert len(hashes) == 100


def test_no_more_of_a_name_is_kept_than_a_device_can_have(clock: Clock):
    logins = limited(identity=2)
    for ending in ("a", "b"):
        logins.quick(Client(username="x" * 65_534 + ending, password="x"), None, spare=True)
    assert list(logins.by_identity._failures) == [("x" * (NAME_CHARACTERS + 1), "")]


# --- Upgrades ---


def stored(encoded: str) -> Credential:
    """The pump with this hash in the database."""
    device = create_device("pump-17")
    return Credential.objects.create(device=device, kind=CredentialKind.PASSWORD, encoded=encoded)


def pump() -> Principal:
    device = find_device(DEFAULT_ORDER[0], "pump-17")
    assert isinstance(device, Device)
    return principal_of(device)


def bcrypt_of(rounds: int) -> Callable[[], str]:
    def encode() -> str:
        salt = bcrypt.gensalt(rounds)
        digest = hashlib.sha256(RIGHT.encode()).hexdigest().encode()
        return "bcrypt_sha256$" + bcrypt.hashpw(digest, salt).decode()

    return encode


IMPORTED: Iterable[Any] = [
    pytest.param(lambda: PBKDF2PasswordHasher().encode(RIGHT, "salt", iterations=1), id="pbkdf2"),
    pytest.param(lambda: MD5PasswordHasher().encode(RIGHT, "salt"), id="another Django hasher"),
    pytest.param(bcrypt_of(5), id="more rounds"),
    pytest.param(bcrypt_of(6), id="many more rounds"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("encode", IMPORTED)
def test_the_first_success_stores_the_hash_that_we_would_store_today(
    hashes: list[bytes], encode: Callable[[], str]
):
    credential, logins = stored(encode()), new_logins()
    imported, old = pump(), credential.encoded
    assert not logins.full(CLIENT._replace(password=WRONG), imported).allow
    credential.refresh_from_db()
    assert credential.encoded == old
    assert logins.full(CLIENT, imported).allow
    credential.refresh_from_db()
    assert credential.encoded.startswith("bcrypt_sha256$$2b$04$")
    assert password_matches(credential.encoded, RIGHT)
    assert not password_matches(credential.encoded, WRONG)
    # This worker knows the new hash too, and any other verifies it; neither changes it again.
    hashes.clear()
    assert log_in(logins, CLIENT, pump()) == (Reason.CREDENTIAL_VERIFIED, False)
    assert hashes == []
    new, upgraded = credential.encoded, pump()
    assert log_in(new_logins(), CLIENT, upgraded) == (Reason.CREDENTIAL_VERIFIED, True)
    assert len(hashes) == 1
    credential.refresh_from_db()
    assert credential.encoded == new


@pytest.mark.django_db
def test_fewer_rounds_than_today_s_are_upgraded_too(settings: Any):
    credential = stored(encode_password(RIGHT))
    settings.EXHOOK_BCRYPT_ROUNDS = 5
    assert new_logins().full(CLIENT, pump()).allow
    credential.refresh_from_db()
    assert credential.encoded.startswith("bcrypt_sha256$$2b$05$")


@pytest.mark.django_db
def test_today_s_hash_costs_no_write(django_assert_num_queries: Any):
    stored(encode_password(RIGHT))
    principal = pump()
    with django_assert_num_queries(0):
        assert new_logins().full(CLIENT, principal).allow


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_credential_that_has_changed_meanwhile_is_left_alone(change: str):
    credential, logins = stored(PBKDF2PasswordHasher().encode(RIGHT, "salt", iterations=1)), new_logins()
    principal, changed = pump(), encode_password("a new password")
    if change == "changed":
        Credential.objects.filter(pk=credential.pk).update(encoded=changed)
    else:
        Credential.objects.filter(pk=credential.pk).delete()
    # Decided by what was known when it was asked; the change feed ends that within the second.
    assert logins.full(CLIENT, principal).allow
    assert list(Credential.objects.values_list("encoded", flat=True)) == (
        [changed] if change == "changed" else []
    )
    if change == "changed":
        assert logins.quick(CLIENT, pump()) is Need.HASH
        assert logins.full(CLIENT, pump()).reason == Reason.CREDENTIAL_WRONG


def test_a_database_that_is_away_fails_the_upgrade_and_not_the_login(
    outage: Outage, caplog: pytest.LogCaptureFixture
):
    credential, logins = stored(PBKDF2PasswordHasher().encode(RIGHT, "salt", iterations=1)), new_logins()
    principal, decisions = pump(), []

    def full() -> None:
        decisions.append(logins.full(CLIENT, principal))
        connection.close()

    outage.begin()
    thread = threading.Thread(target=full)
    thread.start()
    thread.join(30)
    outage.end()
    assert [decision.reason for decision in decisions] == [Reason.CREDENTIAL_VERIFIED]
    assert "hash not upgraded" in [record.message for record in caplog.records]
    assert RIGHT not in caplog.text
    credential.refresh_from_db()
    assert credential.encoded == principal.credentials[0].encoded
    # What verified is remembered as it was; when the database is back another login upgrades it.
    assert log_in(logins, CLIENT, principal) == (Reason.CREDENTIAL_VERIFIED, False)
    assert new_logins().full(CLIENT, principal).allow
    credential.refresh_from_db()
    assert credential.encoded.startswith("bcrypt_sha256$$2b$04$")
