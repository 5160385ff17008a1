from dataclasses import replace
from ipaddress import ip_network
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.admission import CHECKS, is_still_valid, is_yet_valid, refusal
from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.decision import Reason
from accounts.core.principal import Principal

NOW = 1_800_000_000.0
SENT: dict[str, Any] = {"client_id": "pump-17", "username": "pump-17", "address": "192.0.2.1"}
CLIENT = Client(**SENT)
DEVICE = Principal(id=1, username="pump-17")

# In the order in which the first that fails denies.
FAILURES: dict[Reason, dict[str, Any]] = {
    Reason.DEVICE_DISABLED: {"enabled": False},
    Reason.NOT_YET_VALID: {"valid_from": NOW + 1},
    Reason.NO_LONGER_VALID: {"valid_until": NOW - 1},
    Reason.CLIENT_ID_NOT_BOUND: {"binding": Binding.EXACT, "bound_client_id": "pump-18"},
    Reason.ADDRESS_NOT_ALLOWED: {"networks": (ip_network("198.51.100.0/24"),)},
}


def test_the_checks_are_made_in_the_order_of_the_specification():
    assert [reason for _, reason in CHECKS] == list(FAILURES)


def test_nobody_is_refused_first_of_all():
    assert refusal(CLIENT, None, NOW) is Reason.UNKNOWN_DEVICE


@pytest.mark.parametrize("failing", list(product([False, True], repeat=len(FAILURES))))
def test_the_first_check_that_fails_gives_the_reason(failing):
    reasons = [reason for reason, fails in zip(FAILURES, failing, strict=True) if fails]
    device = DEVICE
    for reason in reasons:
        device = replace(device, **FAILURES[reason])
    assert refusal(CLIENT, device, NOW) is (reasons[0] if reasons else None)


@pytest.mark.parametrize("reason", FAILURES)
def test_a_superuser_is_checked_like_any_device(reason):
    assert refusal(CLIENT, replace(DEVICE, superuser=True, **FAILURES[reason]), NOW) is reason


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "reason"),
    [
        (None, None, None),
        # the first instant is inside, the last one outside
        (NOW, None, None),
        (NOW + 0.001, None, Reason.NOT_YET_VALID),
        (NOW - 0.001, None, None),
        (None, NOW, Reason.NO_LONGER_VALID),
        (None, NOW + 0.001, None),
        (None, NOW - 0.001, Reason.NO_LONGER_VALID),
        (NOW, NOW + 0.001, None),
        (NOW - 10, NOW + 10, None),
        (NOW - 10, NOW - 5, Reason.NO_LONGER_VALID),
        (NOW + 5, NOW + 10, Reason.NOT_YET_VALID),
        # windows that no form lets pass are closed
        (NOW, NOW, Reason.NO_LONGER_VALID),
        (NOW + 10, NOW - 10, Reason.NOT_YET_VALID),
        # 1970 is a time, not “nothing”
        (0.0, None, None),
        (None, 0.0, Reason.NO_LONGER_VALID),
        (-1.0, None, None),
    ],
)
def test_the_validity_window_holds_at_its_edges(valid_from, valid_until, reason):
    assert refusal(CLIENT, replace(DEVICE, valid_from=valid_from, valid_until=valid_until), NOW) is reason


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.floats(0, 4e9))
def test_windows_that_meet_have_no_gap_and_no_overlap(start, middle, now):
    start, middle = sorted((start, middle))
    first = replace(DEVICE, valid_from=start, valid_until=middle)
    second = replace(DEVICE, valid_from=middle)
    inside = [
        is_yet_valid(CLIENT, device, now) and is_still_valid(CLIENT, device, now)
        for device in (first, second)
    ]
    assert sum(inside) == (now >= start)


@pytest.mark.parametrize(
    ("change", "client", "reason"),
    [
        ({}, {}, None),
        ({}, {"client_id": "pump-18"}, Reason.CLIENT_ID_NOT_BOUND),
        ({}, {"client_id": ""}, Reason.CLIENT_ID_NOT_BOUND),
        # the binding is to the device's name, not to what the client sent as username
        ({}, {"username": "other"}, None),
        ({}, {"username": "other", "client_id": "other"}, Reason.CLIENT_ID_NOT_BOUND),
        ({"networks": (ip_network("192.0.2.0/24"),)}, {}, None),
        ({"networks": (ip_network("192.0.2.0/24"),)}, {"address": ""}, Reason.ADDRESS_NOT_ALLOWED),
        ({"networks": (ip_network("192.0.2.0/24"),)}, {"address": "::ffff:192.0.2.1"}, None),
        ({"networks": (ip_network("2001:db8::/32"),)}, {}, Reason.ADDRESS_NOT_ALLOWED),
        ({"networks": (ip_network("2001:db8::/32"), ip_network("192.0.2.0/24"))}, {}, None),
    ],
)
def test_client_id_and_address_are_those_of_the_connection(change, client, reason):
    assert refusal(Client(**(SENT | client)), replace(DEVICE, **change), NOW) is reason


@given(
    client=st.builds(
        Client, client_id=st.text(max_size=5), username=st.text(max_size=5), address=st.text(max_size=9)
    ),
    binding=st.sampled_from(Binding),
    bound=st.text(max_size=5),
)
def test_no_client_breaks_the_checks(client, binding, bound):
    device = replace(DEVICE, binding=binding, bound_client_id=bound, networks=(ip_network("192.0.2.0/24"),))
    assert refusal(client, device, NOW) in {None, *FAILURES}
