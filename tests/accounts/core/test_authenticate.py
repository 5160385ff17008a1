"""The decision about a connect, as a table: what is tried in which order, and what each answer means."""

from dataclasses import replace
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.authenticate import authenticate
from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.decision import Reason, allow, deny
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.core.tokens import encode_token

NOW = 1_800_000_000.0
PASSWORD, OTHER_PASSWORD = "correct horse", "battery staple"
TOKEN, OTHER_TOKEN = "exh_" + "a" * 32, "exh_" + "b" * 32


def password(id=1, secret=PASSWORD, **changes):
    """A stored password; `spell_out` below knows how to verify it."""
    return PrincipalCredential(id, CredentialKind.PASSWORD, f"hash of {secret}", **changes)


def token(id=2, secret=TOKEN, **changes):
    return PrincipalCredential(id, CredentialKind.TOKEN, encode_token(secret), **changes)


def connecting(**changes):
    """The client that the device below admits, but for these changes."""
    sent = {"client_id": "pump-17", "username": "pump-17", "password": PASSWORD, "address": "192.0.2.1"}
    return Client(**(sent | changes))


CLIENT = connecting()
DEVICE = Principal(id=1, username="pump-17", credentials=(password(),))


def spell_out(credential, secret):
    return credential.encoded == f"hash of {secret}"


def never_asked(credential, secret):
    raise AssertionError("the slow verifier was asked")


def cannot_tell(credential, secret):
    return None


def test_the_right_password_of_a_known_device_is_admitted():
    assert authenticate(CLIENT, DEVICE, NOW, spell_out) == allow(Reason.CREDENTIAL_VERIFIED, credential_id=1)


# What can go wrong, in the order in which the first that fails denies:
# reason → (change of the device, change of the client).
FAILURES: dict[Reason, tuple[dict[str, Any], dict[str, Any]]] = {
    Reason.DEVICE_DISABLED: ({"enabled": False}, {}),
    Reason.NOT_YET_VALID: ({"valid_from": NOW + 1}, {}),
    Reason.NO_LONGER_VALID: ({"valid_until": NOW}, {}),
    Reason.CLIENT_ID_NOT_BOUND: ({"binding": Binding.EXACT, "bound_client_id": "pump-18"}, {}),
    Reason.ADDRESS_NOT_ALLOWED: ({"networks": (ip_network("198.51.100.0/24"),)}, {}),
    Reason.THROTTLED: ({}, {}),
    Reason.CREDENTIAL_MISSING: ({}, {"password": ""}),
    Reason.NO_LIVE_CREDENTIAL: ({"credentials": (password(enabled=False), token(expires_at=NOW))}, {}),
    Reason.CREDENTIAL_WRONG: ({}, {"password": "wrong"}),
}
SUBSETS = [
    subset
    for size in range(1, len(FAILURES) + 1)
    for subset in combinations(FAILURES, size)
    # a password that is missing cannot be wrong as well
    if not {Reason.CREDENTIAL_MISSING, Reason.CREDENTIAL_WRONG} <= set(subset)
]


def test_of_every_set_of_failures_the_first_in_order_denies():
    for failures in SUBSETS:
        device, sent = DEVICE, dict[str, Any]()
        for reason in failures:
            of_device, of_client = FAILURES[reason]
            device, sent = replace(device, **of_device), sent | of_client
        decision = authenticate(
            connecting(**sent), device, NOW, spell_out, throttled=Reason.THROTTLED in failures
        )
        assert decision == deny(failures[0]), failures


@pytest.mark.parametrize("throttled", [False, True])
@pytest.mark.parametrize("secret", ["", PASSWORD, TOKEN])
def test_an_unknown_device_is_denied_whatever_else_is_wrong(secret, throttled):
    client = connecting(password=secret)
    assert authenticate(client, None, NOW, never_asked, throttled) == deny(Reason.UNKNOWN_DEVICE)


@pytest.mark.parametrize("failure", list(FAILURES)[:6])
def test_neither_certificate_nor_openness_helps_a_refused_device(failure):
    of_device, _ = FAILURES[failure]
    device = replace(DEVICE, certificate_cn="pump-17", credential_required=False, superuser=True, **of_device)
    client = connecting(cn="pump-17")
    decision = authenticate(client, device, NOW, never_asked, throttled=failure is Reason.THROTTLED)
    assert decision == deny(failure)


@pytest.mark.parametrize(
    ("device", "client", "decision"),
    [
        # a certificate with the device's CN is as good as a credential, and cheaper than one
        ({"certificate_cn": "pump"}, {"cn": "pump"}, allow(Reason.CERTIFICATE_VERIFIED)),
        ({"certificate_cn": "pump"}, {"cn": "pump", "password": ""}, allow(Reason.CERTIFICATE_VERIFIED)),
        ({"certificate_cn": "pump"}, {"cn": "pump", "password": "wrong"}, allow(Reason.CERTIFICATE_VERIFIED)),
        ({"certificate_cn": "pump", "credentials": ()}, {"cn": "pump"}, allow(Reason.CERTIFICATE_VERIFIED)),
        # another certificate proves nothing, and does no harm
        ({"certificate_cn": "pump"}, {"cn": "valve"}, allow(Reason.CREDENTIAL_VERIFIED, credential_id=1)),
        ({"certificate_cn": "pump"}, {"cn": "Pump", "password": ""}, deny(Reason.CREDENTIAL_MISSING)),
        ({"certificate_cn": "pump"}, {"cn": "pump ", "password": "wrong"}, deny(Reason.CREDENTIAL_WRONG)),
        ({"certificate_cn": "pump"}, {"cn": "", "password": ""}, deny(Reason.CREDENTIAL_MISSING)),
        # a device without a CN is not the device of a connection without one
        ({"certificate_cn": ""}, {"cn": "", "password": ""}, deny(Reason.CREDENTIAL_MISSING)),
        ({"certificate_cn": ""}, {"cn": "pump-17", "password": ""}, deny(Reason.CREDENTIAL_MISSING)),
        # a device that needs no credential is admitted whatever it sends
        ({"credential_required": False}, {"password": ""}, allow(Reason.NO_CREDENTIAL_REQUIRED)),
        ({"credential_required": False}, {"password": "wrong"}, allow(Reason.NO_CREDENTIAL_REQUIRED)),
        ({"credential_required": False}, {"password": TOKEN}, allow(Reason.NO_CREDENTIAL_REQUIRED)),
        ({"credential_required": False, "credentials": ()}, {}, allow(Reason.NO_CREDENTIAL_REQUIRED)),
        # no password
        ({"credentials": ()}, {"password": ""}, deny(Reason.CREDENTIAL_MISSING)),
        # nothing to compare with
        ({"credentials": ()}, {}, deny(Reason.NO_LIVE_CREDENTIAL)),
        ({"credentials": (password(enabled=False),)}, {}, deny(Reason.NO_LIVE_CREDENTIAL)),
        ({"credentials": (password(expires_at=NOW),)}, {}, deny(Reason.NO_LIVE_CREDENTIAL)),
        ({"credentials": (token(enabled=False),)}, {"password": TOKEN}, deny(Reason.NO_LIVE_CREDENTIAL)),
    ],
)
def test_what_stands_in_for_a_credential(device, client, decision):
    assert authenticate(connecting(**client), replace(DEVICE, **device), NOW, spell_out) == decision


OLD, NEW = password(1, "old secret"), password(2, "new secret")
FOUND = {id: allow(Reason.CREDENTIAL_VERIFIED, credential_id=id) for id in (1, 2, 3, 4)}
WRONG = deny(Reason.CREDENTIAL_WRONG)


@pytest.mark.parametrize(
    ("credentials", "secret", "decision"),
    [
        # several live at once: each of them admits, and the decision says which
        ((OLD, NEW), "old secret", FOUND[1]),
        ((OLD, NEW), "new secret", FOUND[2]),
        ((OLD, NEW), "other", WRONG),
        ((OLD, NEW, token(3), token(4, OTHER_TOKEN)), TOKEN, FOUND[3]),
        ((OLD, NEW, token(3), token(4, OTHER_TOKEN)), OTHER_TOKEN, FOUND[4]),
        ((OLD, NEW, token(3), token(4, OTHER_TOKEN)), "new secret", FOUND[2]),
        ((OLD, NEW, token(3), token(4, OTHER_TOKEN)), "exh_" + "c" * 32, WRONG),
        # one that is off or over is as good as gone
        ((replace(OLD, enabled=False), NEW), "old secret", WRONG),
        ((replace(OLD, expires_at=NOW), NEW), "old secret", WRONG),
        ((replace(OLD, expires_at=NOW + 0.001), NEW), "old secret", FOUND[1]),
        ((token(3, enabled=False), NEW), TOKEN, WRONG),
        ((token(3, expires_at=NOW), NEW), TOKEN, WRONG),
        # the same secret stored twice: the dead one does not hide the living one
        ((replace(OLD, enabled=False), password(2, "old secret")), "old secret", FOUND[2]),
        ((token(3, enabled=False), token(4)), TOKEN, FOUND[4]),
        # an imported token need not look like one of ours
        ((token(3, "old style"),), "old style", FOUND[3]),
        ((token(3, "old style"), OLD), "old secret", FOUND[1]),
        # a token is not a password and the other way round
        ((PrincipalCredential(1, CredentialKind.PASSWORD, encode_token("x")),), "x", WRONG),
        ((PrincipalCredential(1, CredentialKind.TOKEN, "hash of x"),), "x", WRONG),
    ],
)
def test_every_live_credential_and_no_other_admits(credentials, secret, decision):
    client, device = connecting(password=secret), replace(DEVICE, credentials=credentials)
    assert authenticate(client, device, NOW, spell_out) == decision


@pytest.mark.parametrize(
    ("answers", "decision"),
    [
        ((True,), FOUND[1]),
        ((False,), WRONG),
        ((None,), None),
        ((False, True), FOUND[2]),
        ((True, False), FOUND[1]),
        ((False, False), WRONG),
        # one that cannot be told without a slow hash leaves the matter open ...
        ((None, False), None),
        ((False, None), None),
        ((None, None), None),
        # ... unless another one settles it
        ((None, True), FOUND[2]),
        ((True, None), FOUND[1]),
    ],
)
def test_a_verifier_may_know_or_not(answers, decision):
    device = replace(DEVICE, credentials=tuple(password(id) for id, _ in enumerate(answers, 1)))
    verdicts = dict(enumerate(answers, 1))
    assert authenticate(CLIENT, device, NOW, lambda credential, _: verdicts[credential.id]) == decision


@pytest.mark.parametrize(
    "credentials", [(password(),), (password(), token(secret=OTHER_TOKEN)), (token(secret=OTHER_TOKEN),)]
)
def test_what_looks_like_a_token_never_costs_a_slow_hash(credentials):
    client, device = connecting(password=TOKEN), replace(DEVICE, credentials=credentials)
    assert authenticate(client, device, NOW, never_asked) == WRONG


def test_a_right_token_is_admitted_without_a_slow_hash():
    device = replace(DEVICE, credentials=(password(), token()))
    assert authenticate(connecting(password=TOKEN), device, NOW, never_asked) == FOUND[2]


@pytest.mark.parametrize(
    ("credentials", "asked"),
    [
        ((password(1), token(2), password(3)), [1, 3]),
        ((password(1, enabled=False), password(2, expires_at=NOW), password(3)), [3]),
        ((token(1), token(2)), []),
    ],
)
def test_the_verifier_is_asked_about_live_passwords_only(credentials, asked):
    seen = []

    def refuse(credential, secret):
        seen.append(credential.id)
        assert secret == "wrong"
        return False

    client, device = connecting(password="wrong"), replace(DEVICE, credentials=credentials)
    assert authenticate(client, device, NOW, refuse) == WRONG
    assert seen == asked


def test_the_verifier_is_not_asked_again_once_a_password_is_right():
    seen = []

    def accept(credential, secret):
        seen.append(credential.id)
        return True

    assert authenticate(CLIENT, replace(DEVICE, credentials=(OLD, NEW)), NOW, accept) == FOUND[1]
    assert seen == [1]


@pytest.mark.parametrize("reason", [reason for reason in FAILURES if reason != Reason.CREDENTIAL_WRONG])
def test_a_refusal_for_another_reason_is_known_at_once(reason):
    of_device, of_client = FAILURES[reason]
    device, client = replace(DEVICE, **of_device), connecting(**of_client)
    decision = authenticate(client, device, NOW, never_asked, throttled=reason is Reason.THROTTLED)
    assert decision == deny(reason)


any_text = st.text(st.characters(), max_size=40)
stored = st.builds(
    PrincipalCredential,
    id=st.integers(1, 9),
    kind=st.sampled_from(CredentialKind),
    encoded=any_text | st.just("sha256$$") | any_text.map("sha256$salt${}".format),
    enabled=st.booleans(),
    expires_at=st.none() | st.floats(0, 4e9),
)


@given(
    secret=any_text,
    credentials=st.lists(stored, max_size=4).map(tuple),
    answer=st.sampled_from([True, False, None]),
)
def test_no_stored_value_and_no_secret_raise(secret, credentials, answer):
    client, device = connecting(password=secret), replace(DEVICE, credentials=credentials)
    decision = authenticate(client, device, NOW, lambda *_: answer)
    if decision is None:
        assert answer is None
    elif decision.allow:
        assert answer is True
        assert any(each.id == decision.credential_id and each.live(NOW) for each in credentials)


@given(credentials=st.lists(stored, max_size=4).map(tuple), now=st.floats(0, 4e9))
def test_only_a_live_credential_ever_admits(credentials, now):
    device = replace(DEVICE, credentials=credentials)
    decision = authenticate(CLIENT, device, now, lambda *_: True)
    assert decision is not None
    if decision.allow:
        assert any(each.id == decision.credential_id and each.live(now) for each in credentials)
    else:
        assert not any(each.live(now) and each.kind is CredentialKind.PASSWORD for each in credentials)


@given(secret=any_text, cn=any_text, certificate_cn=any_text)
def test_nobody_is_admitted_on_emptiness(secret, cn, certificate_cn):
    """Without a credential, and with the wrong certificate or none, there is no way in."""
    client = connecting(password=secret, cn=cn)
    device = replace(DEVICE, credentials=(), certificate_cn=certificate_cn)
    decision = authenticate(client, device, NOW, lambda *_: True)
    assert decision is not None
    assert decision.allow is (cn == certificate_cn != "")
