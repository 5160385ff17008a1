from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.binding import Binding
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("enabled", "expires_at", "live"),
    [
        (True, None, True),
        (True, NOW + 1, True),
        (True, NOW + 0.000_001, True),
        (True, NOW, False),  # the last instant is already outside
        (True, NOW - 1, False),
        (True, 0.0, False),
        (False, None, False),
        (False, NOW + 1, False),
        (False, NOW - 1, False),
    ],
)
def test_a_credential_lives_until_it_expires_or_is_switched_off(enabled, expires_at, live):
    credential = PrincipalCredential(1, CredentialKind.TOKEN, "x", enabled, expires_at)
    assert credential.live(NOW) is live


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.floats(0, 4e9))
def test_what_has_expired_stays_expired(expires_at, now, later):
    credential = PrincipalCredential(1, CredentialKind.TOKEN, "x", expires_at=expires_at)
    if not credential.live(now):
        assert not credential.live(max(now, later))


def test_a_principal_is_shown_without_stored_secrets():
    credential = PrincipalCredential(1, CredentialKind.PASSWORD, "bcrypt_sha256$$2b$04$stored")
    principal = Principal(id=1, username="pump", credentials=(credential,))
    assert "stored" not in repr(principal) + str(principal) + repr(credential)
    assert "pump" in repr(principal)


def test_a_new_principal_is_bound_to_its_name_and_may_nothing_special():
    principal = Principal(id=1, username="pump")
    assert principal.binding is Binding.EQUALS_USERNAME
    assert principal.credential_required
    assert not principal.superuser
    assert not principal.credentials
    assert not principal.certificate_cn


def test_a_principal_does_not_change():
    principal = Principal(id=1, username="pump")
    with pytest.raises(FrozenInstanceError):
        principal.superuser = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        principal.attributes["site"] = "berlin"  # type: ignore[index]
