"""Refusals are gathered by identity and reason."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.core.identity import IdentitySource
from audit.fact import Kind
from exhookadmin.console.dismissals import is_dismissed
from exhookadmin.console.models import Dismissal
from exhookadmin.console.strangers import MOST_KEPT, Refusal, Stranger, gather

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def refusal(minutes: float = 0, **fields: Any) -> Refusal:
    """So many minutes after noon."""
    known: dict[str, Any] = {
        "kind": Kind.AUTHENTICATE.value, "time": NOON + timedelta(minutes=minutes), "last_time": None,
        "reason": "unknown_device", "detail": "", "repeats": 0, "username": "", "client_id": "", "cn": "",
        "address": "192.0.2.7", "device_id": None,
    }  # fmt: skip
    return Refusal(**known | fields)


@pytest.mark.parametrize(
    ("sent", "source", "identity"),
    [
        ({"username": "u", "client_id": "c", "cn": "n"}, IdentitySource.USERNAME, "u"),
        ({"client_id": "c", "cn": "n"}, IdentitySource.CLIENT_ID, "c"),
        ({"cn": "n"}, IdentitySource.CERTIFICATE_CN, "n"),
    ],
    ids=["username", "client id", "CN"],
)
def test_an_identity_is_what_names_the_client_best(sent: dict[str, Any], source: str, identity: str):
    [stranger] = gather([refusal(**sent)])
    assert (stranger.source, stranger.identity) == (source, identity)


def test_one_for_each_identity_and_reason_the_latest_first():
    found = gather(
        [
            refusal(9, username="b"),
            refusal(5, username="a", reason="credential_wrong"),
            refusal(4, username="a"),
            refusal(3, client_id="a"),
            refusal(2, username="a", repeats=10, last_time=NOON + timedelta(minutes=20)),
        ]
    )
    assert [(stranger.source.value, stranger.identity, stranger.reason) for stranger in found] == [
        ("username", "a", "unknown_device"),
        ("username", "b", "unknown_device"),
        ("username", "a", "credential_wrong"),
        ("client_id", "a", "unknown_device"),
    ]
    assert found[0].count == 12
    assert (found[0].first, found[0].last) == (NOON + timedelta(minutes=2), NOON + timedelta(minutes=20))


def test_only_some_of_what_a_stranger_chooses_is_kept():
    [stranger] = gather(
        [refusal(username="a", client_id=f"c{number}", address=f"192.0.2.{number}") for number in range(50)]
    )
    assert stranger.count == 50
    assert list(stranger.client_ids) == [f"c{number}" for number in range(MOST_KEPT)]
    assert len(stranger.addresses) == MOST_KEPT
    assert stranger.only_client_id is None


def test_who_says_nothing_of_itself_is_left_out():
    assert gather([refusal(), refusal(kind=Kind.CONNACK.value, reason="", detail="protocol_error")]) == []


@pytest.mark.parametrize(
    ("detail", "login", "reasons"),
    [
        ("not_authorized", "a", ["unknown_device"]),
        ("not_authorized", "other", ["not_authorized", "unknown_device"]),
        ("banned", "a", ["banned", "unknown_device"]),
    ],
    ids=["an echo of our refusal", "refused by somebody else", "the broker's own refusal"],
)
def test_the_broker_s_echo_of_a_refusal_is_not_another_one(detail: str, login: str, reasons: list[str]):
    found = gather(
        [
            refusal(2, kind=Kind.CONNACK.value, reason="", detail=detail, username="a"),
            refusal(1, username=login),
        ]
    )
    assert [stranger.reason for stranger in found] == reasons
    assert [stranger.by_broker for stranger in found] == [reason != "unknown_device" for reason in reasons]


@pytest.mark.parametrize(
    ("dismissed", "until", "hidden"),
    [
        pytest.param(None, None, False, id="never dismissed"),
        pytest.param(10, None, True, id="did not come again"),
        pytest.param(-10, None, False, id="came again"),
        pytest.param(-10, 60, True, id="for a while"),
        pytest.param(-10, 20, False, id="the while is over"),
        pytest.param(10, 20, True, id="the while is over, did not come again"),
    ],
)
def test_a_stranger_stays_away_until_it_comes_again(
    dismissed: float | None, until: float | None, hidden: bool
):
    stranger = Stranger(IdentitySource.USERNAME, "a", "unknown_device", NOON, NOON)
    row = None
    if dismissed is not None:
        row = Dismissal(
            dismissed_at=NOON + timedelta(minutes=dismissed),
            until=None if until is None else NOON + timedelta(minutes=until),
        )
    assert is_dismissed(stranger, row, NOON + timedelta(minutes=30)) is hidden
