"""Who still uses a credential, as the device's page tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.credential_use import Use, use_of
from accounts.models import Credential
from accounts.services import create_device, create_token, switch_credential

NOON = datetime(2098, 11, 1, 12, tzinfo=UTC)


def at(days: float) -> datetime:
    return NOON + timedelta(days=days)


MINUTE = 1 / 24 / 60
IN_USE = Use(
    "last used 3 minutes ago", "expires in 6 days", "Still in use although it has been replaced.", True
)
BUSY = "Still in use although it has been replaced."
IDLE = "Nobody has logged in with it since it was replaced."
ALONE = "Nothing takes its place yet: rotate it in time."


@pytest.mark.parametrize(
    ("fields", "replaced", "expected"),
    [
        pytest.param({}, None, Use("never used"), id="never used"),
        pytest.param({"last_used_at": -0.5 * MINUTE}, None, Use("last used just now"), id="just now"),
        pytest.param({"last_used_at": 1}, None, Use("last used just now"), id="clocks that differ"),
        pytest.param(
            {"last_used_at": -3 * MINUTE, "expires_at": 6.5},
            -1,
            Use("last used 3 minutes ago", "expires in 6 days", BUSY, True),
            id="replaced, in use",
        ),
        pytest.param(
            {"last_used_at": -2, "expires_at": 6.5},
            -1,
            Use("last used 2 days ago", "expires in 6 days", IDLE),
            id="replaced, changed over",
        ),
        pytest.param({"expires_at": 6.5}, -1, Use("never used", "expires in 6 days", IDLE), id="replaced"),
        pytest.param(
            {"expires_at": 6.5}, None, Use("never used", "expires in 6 days", ALONE, True), id="ends soon"
        ),
        pytest.param({"expires_at": 90}, None, Use("never used", "expires in 2 months"), id="ends far ahead"),
        pytest.param(
            {"expires_at": -2, "last_used_at": -3},
            -9,
            Use("last used 3 days ago", "expired 2 days ago"),
            id="expired",
        ),
        pytest.param(
            {"expires_at": 0.3 * MINUTE},
            -1,
            Use("never used", "expires in less than a minute", IDLE),
            id="about to end",
        ),
        pytest.param({"expires_at": 6, "enabled": False}, None, Use("never used"), id="revoked"),
    ],
)
def test_use(fields: dict[str, float], replaced: float | None, expected: Use) -> None:
    moments = {name: at(value) for name, value in fields.items() if name.endswith("_at")}
    credential = Credential(enabled=bool(fields.get("enabled", True)), **moments)
    assert use_of(credential, None if replaced is None else at(replaced), NOON) == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("later", "replaced"),
    [
        pytest.param({}, True, id="for ever"),
        pytest.param({"expires_at": 8}, True, id="longer"),
        pytest.param({"expires_at": 5}, False, id="ends before"),
        pytest.param({"enabled": False}, False, id="revoked"),
    ],
)
def test_what_takes_a_credential_s_place(later: dict[str, Any], replaced: bool) -> None:
    device, other = create_device("pump-17"), create_device("other")
    create_token(other)
    old, _ = create_token(device, expires_at=at(6))
    new, _ = create_token(device, expires_at=at(later["expires_at"]) if "expires_at" in later else None)
    create_token(other)
    if "enabled" in later:
        switch_credential(new, enabled=False)
    found: dict[int, Any] = Credential.objects.with_successors().in_bulk()
    assert found[old.pk].replaced_at == (new.created_at if replaced else None)
    assert found[new.pk].replaced_at is None
