"""The demo's devices, groups and policies: made and removed through the same services as anybody's.

All names begin with ``demo-`` and all descriptions say where they come from. What has such a
name without that description belongs to somebody else and is left alone.
"""

from dataclasses import dataclass, field
from itertools import chain

from django.db import transaction
from django.db.models import Model, QuerySet

from accounts.models import Device, DeviceGroup, DeviceQuerySet
from accounts.services import create_device, create_token, delete_devices, delete_groups, save_group
from acl.models import Policy
from acl.services import create_policy, create_rule, delete_policies

MARK = "Made by manage.py demo; manage.py demo --clean removes it."

SENSORS = ("demo-sensor-1", "demo-sensor-2")
GATEWAY = "demo-gateway"
FORGETFUL = "demo-forgetful"
RETIRED = "demo-retired"
MEDDLER = "demo-meddler"
CURIOUS = "demo-curious"
DEVICES = (*SENSORS, GATEWAY, FORGETFUL, RETIRED, MEDDLER, CURIOUS)
GROUPS = ("demo-sensors", "demo-everybody")
POLICIES = ("demo-measuring", "demo-watching", "demo-secrets")

PLAN = "demo/secret/plan"
"""A topic that nobody in the demo may publish to."""


class NameTaken(Exception):
    """A name that the demo uses belongs to something it did not make."""


@dataclass(frozen=True)
class Fleet:
    """The tokens, by device. They live in memory only, for as long as the demo runs."""

    tokens: dict[str, str] = field(repr=False)


def temperature_of(sensor: str) -> str:
    """The topic that a sensor publishes to."""
    return f"demo/site/{sensor}/temperature"


@transaction.atomic
def make_fleet() -> Fleet:
    """The demo's devices as on its first day, whatever became of earlier ones. Raises NameTaken."""
    remove_fleet()
    taken: Model | None = next(chain(*_named()), None)
    if taken is not None:
        raise NameTaken(
            f"There is a {taken._meta.verbose_name} “{taken}” that the demo did not make. "
            f"Rename it, or run the demo on a database of its own (DATABASE_URL)."
        )
    sensors, everybody = (save_group(DeviceGroup(name=name, description=MARK)) for name in GROUPS)
    tokens = {}
    for name in DEVICES:
        groups = [sensors, everybody] if name in SENSORS else [everybody]
        device = create_device(name, description=MARK, groups=groups, enabled=name != RETIRED)
        _, tokens[name] = create_token(device, label="this run of the demo")
    measuring = create_policy("demo-measuring", description=MARK, groups=[sensors])
    create_rule(
        measuring, "allow", "publish", "demo/site/${clientid}/temperature", note="Only under its own name."
    )
    watching = create_policy(
        "demo-watching", description=MARK, devices=Device.objects.filter(username__in=[GATEWAY, CURIOUS])
    )
    create_rule(watching, "allow", "subscribe", "demo/site/+/temperature")
    create_rule(watching, "allow", "all", "demo/notes/#")
    secrets = create_policy("demo-secrets", description=MARK, groups=[everybody])
    create_rule(secrets, "deny", "all", "demo/secret/#", priority=100, note="Tried before every other rule.")
    return Fleet(tokens)


@transaction.atomic
def remove_fleet() -> int:
    """Removes what the demo made. Answers how many devices, groups and policies."""
    devices, groups, policies = _named()
    return (
        delete_policies(policies.filter(description=MARK))
        + delete_devices(devices.filter(description=MARK))
        + delete_groups(groups.filter(description=MARK))
    )


def _named() -> tuple[DeviceQuerySet, QuerySet[DeviceGroup], QuerySet[Policy]]:
    """Everything that has one of the demo's names, whoever made it."""
    return (
        Device.objects.filter(username__in=DEVICES),
        DeviceGroup.objects.filter(name__in=GROUPS),
        Policy.objects.filter(name__in=POLICIES),
    )
