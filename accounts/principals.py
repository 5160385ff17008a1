"""From rows to principals: how the database's devices become values that are decided upon."""

from collections.abc import Iterable
from types import MappingProxyType

from accounts.core.binding import Binding
from accounts.core.identity import IdentitySource
from accounts.core.networks import parse_networks
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.models import Device


def find_device(source: IdentitySource, value: str) -> Device | None:
    """The device known by this name; None when there is none. Costs up to three queries."""
    if "\x00" in value:
        return None  # No stored name holds NUL, and PostgreSQL refuses to be asked.
    devices = Device.objects.for_decisions()
    if source == IdentitySource.CERTIFICATE_CN:
        return devices.filter(certificate_cn=value).first()
    return devices.filter(username=value).first()


def principal_of(device: Device) -> Principal:
    """The device as decisions see it. Uses prefetched credentials and groups."""
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
        attributes=MappingProxyType(dict(device.attributes)),
        group_ids=frozenset(group.pk for group in device.groups.all()),
        credentials=tuple(_credentials(device)),
    )


def _credentials(device: Device) -> Iterable[PrincipalCredential]:
    for row in device.credentials.all():
        yield PrincipalCredential(
            id=row.pk,
            kind=CredentialKind(row.kind),
            encoded=row.encoded,
            enabled=row.enabled,
            expires_at=row.expires_at.timestamp() if row.expires_at else None,
        )
