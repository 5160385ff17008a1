"""The devices that somebody who was refused may have meant to be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.db.models.functions import Lower

from accounts.core.binding import Binding, binding_holds
from accounts.core.decision import Reason
from accounts.models import Device
from exhookadmin.console.strangers import Stranger

MOST = 3
"""Of one stranger."""
MOST_DEVICES = 1_000

FIELDS = ("pk", "username", "enabled", "client_id_binding", "client_id", "certificate_cn")


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A device, and in which way it is the one and is not."""

    device_id: int
    device: str
    text: str


def near_misses(strangers: Sequence[Stranger]) -> list[list[NearMiss]]:
    """For each of them, with two queries however many they are."""
    names = {name for stranger in strangers for name in _names(stranger)}
    common_names = {stranger.cn for stranger in strangers} - {""}
    devices = Device.objects.only(*FIELDS)
    found: list[Device] = []
    if names:
        # As they are too: SQLite knows the case of ASCII letters only.
        namesakes = Q(username__in=names) | Q(lowered__in={_lowered(name) for name in names})
        found += devices.annotate(lowered=Lower("username")).filter(namesakes)[:MOST_DEVICES]
    if common_names:
        # As the index has it, which knows no empty ones.
        found += devices.filter(~Q(certificate_cn=""), certificate_cn__in=common_names)[:MOST_DEVICES]
    by_name: dict[str, dict[int, Device]] = {}
    for device in found:
        by_name.setdefault(_lowered(device.username), {})[device.pk] = device
    by_cn = {device.certificate_cn: device for device in found if device.certificate_cn}
    return [_of(stranger, by_name, by_cn) for stranger in strangers]


def _names(stranger: Stranger) -> Iterable[str]:
    return (stranger.identity, *stranger.client_ids)


def _lowered(name: str) -> str:
    return name.strip().lower()


def _of(
    stranger: Stranger, by_name: Mapping[str, Mapping[int, Device]], by_cn: Mapping[str, Device]
) -> list[NearMiss]:
    known: dict[int, NearMiss] = {}

    def add(device: Device, text: str) -> None:
        known.setdefault(device.pk, NearMiss(device.pk, device.username, text))

    namesakes = by_name.get(_lowered(stranger.identity), {}).values()
    for device in sorted(namesakes, key=lambda device: device.username != stranger.identity):
        add(device, how_near(stranger, device))
    for client_id in stranger.client_ids:
        for device in by_name.get(_lowered(client_id), {}).values():
            if device.username == client_id:
                add(device, "is named like its client id: it should send that as its username")
    if stranger.cn in by_cn:
        add(by_cn[stranger.cn], "has the CN of its certificate: it should send this device’s username")
    return list(known.values())[:MOST]


def how_near(stranger: Stranger, device: Device) -> str:
    """What stands between them, in words that go on after the device's name. Names differ at most by
    case and spaces."""
    if device.username != stranger.identity:
        differs = "by case" if device.username.lower() == stranger.identity.lower() else "by spaces or case"
        return f"exists: the name differs {differs}" + ("" if device.enabled else ", and it is disabled")
    if not device.enabled:
        return "exists but is disabled"
    unbound = [client_id for client_id in stranger.client_ids if not _bound(device, client_id)]
    if unbound:
        return f"exists: client id “{unbound[0]}” is not bound to it"
    if stranger.reason == Reason.UNKNOWN_DEVICE:
        return "exists now: it was added since"
    return "exists"


def _bound(device: Device, client_id: str) -> bool:
    return binding_holds(Binding(device.client_id_binding), device.client_id, device.username, client_id)
