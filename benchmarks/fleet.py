"""Fills a database: ``python -m benchmarks.fleet FAMILY=COUNT …`` after migrating it.

The million is copied inside the database from one row of each table; everything else goes
the way of Django's models.
"""

import sys
from collections.abc import Sequence

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402

from accounts.core.tokens import encode_token  # noqa: E402
from accounts.models import Credential, Device, DeviceGroup  # noqa: E402
from accounts.passwords import encode_password  # noqa: E402
from acl.models import Policy, Rule  # noqa: E402
from benchmarks.devices import (  # noqa: E402
    FAMILIES,
    PASSWORD,
    RULES,
    SENSORS,
    SITE,
    Family,
    rule_filter,
    token_of,
)

BATCH = 5000

FLEET_RULES = (
    ("allow", "publish", "site/${attr.site}/${clientid}/+"),
    ("allow", "publish", "status/${clientid}"),
    ("allow", "publish", "log/${clientid}/#"),
    ("allow", "subscribe", "command/${clientid}/#"),
    ("allow", "subscribe", "config/${clientid}"),
    ("allow", "subscribe", "broadcast/${attr.site}/#"),
    ("allow", "subscribe", "broadcast/all/#"),
    ("allow", "all", "sync/${clientid}/+/state"),
    ("deny", "publish", "site/+/+/locked"),
    ("deny", "all", "admin/#"),
)


def fill(counts: dict[str, int]) -> None:
    """Migrates, and stores so many devices of each family with the policy of their group.

    What is there already stays: a database can be filled further.
    """
    call_command("migrate", verbosity=0)
    password = encode_password(PASSWORD)
    for name, count in counts.items():
        family = FAMILIES[name]
        with transaction.atomic():
            group = _group(family)
            if family is SENSORS:
                _store_devices(family, range(1), group, password)
                _copy_first(family, count)
            else:
                _store_devices(family, range(count), group, password)


def _group(family: Family) -> DeviceGroup:
    """The family's group, with its policy."""
    group, is_new = DeviceGroup.objects.get_or_create(name=family.group)
    if is_new:
        policy = Policy.objects.create(name=family.group)
        policy.groups.add(group)
        Rule.objects.bulk_create(
            [
                Rule(policy=policy, effect=effect, action=action, topic_filter=topic_filter)
                for effect, action, topic_filter in _rules(family)
            ],
            batch_size=BATCH,
        )
    return group


def _rules(family: Family) -> Sequence[tuple[str, str, str]]:
    if family not in RULES:
        return FLEET_RULES
    return [("allow", "publish", rule_filter(number)) for number in range(RULES[family])]


def _store_devices(family: Family, numbers: Sequence[int], group: DeviceGroup, password: str) -> None:
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        devices = Device.objects.bulk_create(
            [Device(username=family.device(number), attributes={"site": SITE}) for number in batch]
        )
        Credential.objects.bulk_create(
            [
                Credential(
                    device=device,
                    kind=family.secret,
                    # One hash for all: computing each would take longer than everything else.
                    encoded=encode_token(token_of(device.username)) if family.secret == "token" else password,
                )
                for device in devices
            ]
        )
        membership = Device.groups.through
        membership.objects.bulk_create(
            [membership(device_id=device.pk, devicegroup_id=group.pk) for device in devices]
        )


def _copy_first(family: Family, count: int) -> None:
    """The first device of the family, so often that there are ``count``."""
    name = f"'{family.name}-' || " + (
        "printf('%07d', n.i)" if connection.vendor == "sqlite" else "lpad(n.i::text, 7, '0')"
    )
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
        if connection.vendor == "sqlite"
        else f"WITH n(i) AS (SELECT generate_series(1, {count - 1})) "
    )
    first = Device.objects.get(username=family.device(0))
    copied = f"d.username LIKE '{family.name}-%' AND d.id <> {first.pk}"
    _insert(Device, numbers, {"username": name}, "n, {table} t", f"t.id = {first.pk}")
    for model in (Credential, Device.groups.through):
        _insert(model, "", {"device_id": "d.id"}, "accounts_device d, {table} t",
                f"t.device_id = {first.pk} AND {copied}")  # fmt: skip


def _insert(
    model: type[models.Model], prefix: str, values: dict[str, str], source: str, condition: str
) -> None:
    table = model._meta.db_table
    columns = [str(field.column) for field in model._meta.concrete_fields if not field.primary_key]
    selected = ", ".join(values.get(column, f"t.{column}") for column in columns)
    # WITH stands before INSERT on both databases.
    statement = (
        f"{prefix}INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {selected} FROM {source.format(table=table)} WHERE {condition}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)


if __name__ == "__main__":
    fill({name: int(count) for name, _, count in (argument.partition("=") for argument in sys.argv[1:])})
