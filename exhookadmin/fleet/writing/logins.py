"""Which devices may log in where a file is used, and with what: never more than may here."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import TypeVar

from accounts.core.binding import Binding
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord, Kind
from exhookadmin.fleet.writing.fleet import WriteOptions
from exhookadmin.fleet.writing.unsaid import Unsaid

Form = TypeVar("Form")


def login(
    device: DeviceRecord,
    options: WriteOptions,
    form: Callable[[CredentialRecord], Form | None],
    *,
    wanted: str,
    binds: Collection[Binding] = (),
) -> Iterator[Form | Unsaid]:
    """The one credential to write, or why the device is left out; and what else of its login is lost.

    ``form`` gives a credential as the target has it; None where it cannot. ``wanted`` names that form, and
    ``binds`` the bindings that the target keeps.
    """
    username, values = device.username, device.values
    if not values["enabled"] or _past(values["valid_until"], options.now):
        yield Unsaid(Kind.REMARK, username, "enabled", "it may not connect now, so it is left out")
        return
    problem = _restriction(device, options, binds)
    if problem is not None:
        yield problem
        return
    if values["certificate_cn"]:
        yield Unsaid(Kind.ALLOW_LOST, username, "certificate_cn", "a certificate will not be enough there")
    usable = [one for one in device.credentials if one.enabled and not _past(one.expires_at, options.now)]
    made = None
    for credential in usable:
        if credential.expires_at is not None:
            reason = "a credential that expires would never expire there"
        elif made is not None:
            reason = "there is room for one credential; the others"
        elif (made := form(credential)) is not None:
            yield made
            continue
        else:
            reason = f"a credential is not {wanted} and"
        yield Unsaid(Kind.ALLOW_LOST, username, "credentials", f"{reason} would be left out")
    if made is None:
        yield Unsaid(Kind.REFUSED, username, "credentials", f"it has no credential that is {wanted}")


def _restriction(device: DeviceRecord, options: WriteOptions, binds: Collection[Binding]) -> Unsaid | None:
    values = device.values
    if values["valid_from"] and not _past(values["valid_from"], options.now):
        return Unsaid(Kind.REFUSED, device.username, "valid_from", "it could connect at once there")
    if values["valid_until"]:
        return Unsaid(Kind.REFUSED, device.username, "valid_until", "it could connect for ever there")
    if values["networks"]:
        return Unsaid(Kind.REFUSED, device.username, "networks", "it could connect from anywhere there")
    if not values["credential_required"]:
        reason = "it may connect without a credential, which the file cannot say"
        return Unsaid(Kind.REFUSED, device.username, "credential_required", reason)
    binding = Binding(values["client_id_binding"])
    if binding is not Binding.ANY and binding not in binds and not options.any_client_id:
        reason = "it could use any client id there; accept that with --any-client-id"
        return Unsaid(Kind.REFUSED, device.username, "client_id_binding", reason)
    return None


def _past(moment: str | None, now: float) -> bool:
    return moment is not None and datetime.fromisoformat(moment).timestamp() <= now
