"""What the devices that rules apply to can fill in, for the remarks on placeholders."""

from collections import Counter
from collections.abc import Iterable

from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.principal import Principal
from accounts.models import Device, DeviceQuerySet
from acl.core.lint import ATTRIBUTE, Fleet, attributes_in
from acl.core.placeholders import Placeholder
from acl.core.rules import Rule

LOOKED_AT = 5_000
"""So many devices at most: remarks appear while one types."""


def fleet_of(devices: DeviceQuerySet, rules: Iterable[Rule]) -> Fleet:
    """What these devices can fill in, as far as the rules need it. Costs one query, or none."""
    rules = tuple(rules)
    names = attributes_in(rules)
    if not names and not any("${clientid}" in rule.topic_filter for rule in rules):
        return Fleet(0)
    rows = devices.order_by().values_list("attributes", "client_id_binding")[:LOOKED_AT]
    with_value: Counter[str] = Counter()
    count = choosing = 0
    for attributes, binding in rows:
        count += 1
        choosing += binding == Binding.ANY
        device = Principal(0, "", attributes=_texts(attributes))
        with_value.update(name for name in names if _placeholder(name).value(_NOBODY, device) is not None)
    return Fleet(count, with_value, choosing)


def fleet_of_device(device: Device) -> Fleet:
    """What a single device can fill in."""
    attributes = _texts(device.attributes)
    principal = Principal(0, "", attributes=attributes)
    usable = {name: 1 for name in attributes if _placeholder(name).value(_NOBODY, principal) is not None}
    return Fleet(1, usable, int(device.client_id_binding == Binding.ANY))


_NOBODY = Client()


def _placeholder(name: str) -> Placeholder:
    return Placeholder(f"{ATTRIBUTE}{name}", leads=False)


def _texts(attributes: object) -> dict[str, str]:
    stored = attributes if isinstance(attributes, dict) else {}
    return {name: text for name, text in stored.items() if isinstance(text, str)}
