"""How long what is kept, and what counts as which."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.fact import Kind
from audit.retention import Horizons, KindGroup, group_of, horizons, kinds_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_in_one_group(kind: Kind) -> None:
    assert [group for group in KindGroup if kind in kinds_of(group)] == [group_of(kind)]


@pytest.mark.parametrize(
    ("group", "kinds"),
    [
        (KindGroup.DECISIONS, {"client.authenticate", "client.authorize", "client.connack"}),
        (
            KindGroup.PRESENCE,
            {
                "client.connected",
                "client.disconnected",
                "provider.loaded",
                "provider.unloaded",
                "endpoint.back",
            },
        ),
    ],
)
def test_who_decided_and_who_was_there(group: KindGroup, kinds: set[str]) -> None:
    assert set(kinds_of(group)) == kinds


def set_days(settings: Any, decisions: int, presence: int, activity: int) -> Horizons:
    settings.EXHOOK_RETENTION_DECISIONS_DAYS = decisions
    settings.EXHOOK_RETENTION_PRESENCE_DAYS = presence
    settings.EXHOOK_RETENTION_ACTIVITY_DAYS = activity
    return horizons(NOW)


def test_each_group_has_a_horizon_of_its_own(settings: Any) -> None:
    found = set_days(settings, 100, 10, 1)
    assert found.of_groups == {
        KindGroup.DECISIONS: NOW - 100 * DAY,
        KindGroup.PRESENCE: NOW - 10 * DAY,
        KindGroup.ACTIVITY: NOW - DAY,
    }
    assert found.of_sessions == NOW - 10 * DAY
    assert found.of_everything == NOW - 100 * DAY


def test_zero_is_for_ever(settings: Any) -> None:
    found = set_days(settings, 0, 10, 1)
    assert found.of_groups[KindGroup.DECISIONS] is None
    assert found.of_everything is None
    assert set_days(settings, 100, 0, 1).of_sessions is None


def test_the_longest_retention_there_is_can_be_counted_back(settings: Any) -> None:
    assert set_days(settings, 36_500, 36_500, 36_500).of_everything == NOW - 36_500 * DAY
