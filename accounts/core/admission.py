"""The checks that concern the device itself, in the order in which the first failure denies.

Authentication makes them once; authorization makes them again on every request, so that
disabling a device bites at its next publish even while its connection lives.
"""

from collections.abc import Callable

from accounts.core.binding import binding_holds
from accounts.core.client import Client
from accounts.core.decision import Reason
from accounts.core.networks import address_allowed
from accounts.core.principal import Principal


def is_enabled(client: Client, principal: Principal, now: float) -> bool:
    """The device is switched on."""
    return principal.enabled


def is_yet_valid(client: Client, principal: Principal, now: float) -> bool:
    """The validity window has begun."""
    return principal.valid_from is None or now >= principal.valid_from


def is_still_valid(client: Client, principal: Principal, now: float) -> bool:
    """The validity window has not ended; its last instant is already outside."""
    return principal.valid_until is None or now < principal.valid_until


def has_its_client_id(client: Client, principal: Principal, now: float) -> bool:
    """The client id is one that this device is bound to."""
    return binding_holds(principal.binding, principal.bound_client_id, principal.username, client.client_id)


def has_allowed_address(client: Client, principal: Principal, now: float) -> bool:
    """The connection comes from one of the device's networks."""
    return address_allowed(principal.networks, client.address)


Check = Callable[[Client, Principal, float], bool]

CHECKS: tuple[tuple[Check, Reason], ...] = (
    (is_enabled, Reason.DEVICE_DISABLED),
    (is_yet_valid, Reason.NOT_YET_VALID),
    (is_still_valid, Reason.NO_LONGER_VALID),
    (has_its_client_id, Reason.CLIENT_ID_NOT_BOUND),
    (has_allowed_address, Reason.ADDRESS_NOT_ALLOWED),
)


def refusal(client: Client, principal: Principal | None, now: float) -> Reason | None:
    """Why this device may not be served to this client at this time; None when it may.

    ``now`` is seconds since the epoch, here and everywhere in the cores.
    """
    if principal is None:
        return Reason.UNKNOWN_DEVICE
    for check, reason in CHECKS:
        if not check(client, principal, now):
            return reason
    return None
