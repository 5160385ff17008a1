"""From rows to principals: how the database's devices become values that are decided upon."""

from collections.abc import Iterable
from types import MappingProxyType

from accounts.core.binding import Binding
from accounts.core.identity import IdentitySource
from accounts.core.networks import parse_networks
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.core.text import text_problem
from accounts.models import Device


def find_device(source: IdentitySource, value: str) -> Device | None:
    """The device known by this name; None when there is none. Costs up to three queries."""
    return find_devices([(source, value)]).get((source, value))


def find_devices(
    names: Iterable[tuple[IdentitySource, str]],
) -> dict[tuple[IdentitySource, str], Device]:
    """The devices known by these names, as far as there are any. Costs up to six queries,
    however many names."""
    usernames: set[str] = set()
    common_names: set[str] = set()
    for source, value in names:
        # Empty means “no CN” in a row, and a database refuses to be asked for what none can hold.
        if value and not text_problem(value):
            (common_names if source == IdentitySource.CERTIFICATE_CN else usernames).add(value)
    devices = Device.objects.for_decisions()
    found = {}
    for device in devices.filter(username__in=usernames) if usernames else ():
        found[IdentitySource.USERNAME, device.username] = device
        found[IdentitySource.CLIENT_ID, device.username] = device
    for device in devices.filter(certificate_cn__in=common_names) if common_names else ():
        found[IdentitySource.CERTIFICATE_CN, device.certificate_cn] = device
    return found


def principal_of(device: Device) -> Principal:
    """The device as decisions see it. Uses prefetched credentials and groups.

    Raises ValueError for networks that cannot be read: without them everywhere would be allowed.
    Attributes that are no text are left out, and a rule that needs one then takes the strict side.
    """
    return Principal(
        id=device.pk,
        username=device.username,
        enabled=device.enabled,
        superuser=device.superuser,
        binding=Binding(device.client_id_binding),
        bound_client_id=device.client_id,
        networks=parse_networks(device.networks.splitlines()),
        valid_from=device.valid_from.timestamp() if device.valid_from else None,
        valid_until=device.valid_until.timestamp() if device.valid_until else None,
        certificate_cn=device.certificate_cn,
        credential_required=device.credential_required,
        attributes=MappingProxyType(_attributes(device)),
        group_ids=frozenset(group.pk for group in device.groups.all()),
        credentials=tuple(_credentials(device)),
    )


def _attributes(device: Device) -> dict[str, str]:
    stored = device.attributes if isinstance(device.attributes, dict) else {}
    return {name: text for name, text in stored.items() if isinstance(text, str)}


def _credentials(device: Device) -> Iterable[PrincipalCredential]:
    for row in device.credentials.all():
        yield PrincipalCredential(
            id=row.pk,
            kind=CredentialKind(row.kind),
            encoded=row.encoded,
            enabled=row.enabled,
            expires_at=row.expires_at.timestamp() if row.expires_at else None,
        )
