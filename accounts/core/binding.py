"""Client id binding: which client ids a device may connect with.

Without a binding, any device that knows its own password can take over another one's
session by presenting that one's client id (MQTT 5, 3.1.4-3: the server closes the older).
"""

from enum import StrEnum

from accounts.core.text import quoted

SEPARATORS = "-_:./|@~"


class Binding(StrEnum):
    """How the client id must relate to the device."""

    EQUALS_USERNAME = "equals_username"
    EXACT = "exact"
    PREFIX = "prefix"
    ANY = "any"


def binding_problem(binding: Binding, bound_client_id: str) -> str | None:
    """Why this pair cannot be saved, in words for a form; None when it can."""
    if binding in (Binding.EXACT, Binding.PREFIX) and not bound_client_id:
        return "Enter the client id this device is bound to, for example “pump-17”."
    if binding in (Binding.EQUALS_USERNAME, Binding.ANY) and bound_client_id:
        return "Leave this empty, or choose “exactly this client id” or “this prefix”."
    if binding == Binding.PREFIX and (
        bound_client_id[-1] not in SEPARATORS or bound_client_id.strip(SEPARATORS) == ""
    ):
        stem = bound_client_id.strip(SEPARATORS) or "fleet1"
        return (
            "A bare prefix would also claim other devices’ ids (“fleet1” claims “fleet10”): "
            f"end it with a separator, one of {' '.join(SEPARATORS)}, for example {quoted(f'{stem}-')}."
        )
    return None


def binding_holds(binding: Binding, bound_client_id: str, username: str, client_id: str) -> bool:
    """True when the device (with this username) may use this client id.

    After a prefix there must be something, and not the separator again: ``fleet1-``
    covers ``fleet1-7`` but not ``fleet1-eu-7``, which belongs to ``fleet1-eu-``.
    """
    if binding == Binding.EQUALS_USERNAME:
        return client_id == username
    if binding == Binding.EXACT:
        return bool(bound_client_id) and client_id == bound_client_id
    if binding == Binding.PREFIX:
        rest = client_id[len(bound_client_id) :]
        return (
            binding_problem(binding, bound_client_id) is None
            and client_id.startswith(bound_client_id)
            and rest != ""
            and bound_client_id[-1] not in rest
        )
    return binding == Binding.ANY


def prescribed_client_id(binding: Binding, bound_client_id: str, username: str) -> str:
    """The one client id that the device may use; empty where it may choose among several."""
    if binding == Binding.EQUALS_USERNAME:
        return username
    return bound_client_id if binding == Binding.EXACT else ""
