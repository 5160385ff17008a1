"""A fleet that comes as a file: the file, and what storing its rows takes by import and by plain bulk insert.

``python -m benchmarks.importer import FILE COUNT`` and ``… insert COUNT`` empty the fleet's tables, store so
many devices with a token each, and print the seconds it took by the clock and in CPU time of this process
and of PostgreSQL's together.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from accounts.core.tokens import encode_token
from benchmarks import processes
from benchmarks.databases import Database
from benchmarks.devices import METERS, SITE, token_of
from benchmarks.load import Sample

FORMAT = "fleet-jsonl"
BATCH = 500
"""Devices a transaction, as many as the import's."""


def write_fleet(file: Path, first: int, count: int) -> Path:
    """The file with so many devices, beginning with this number."""
    with file.open("w", encoding="utf-8") as out:
        for username, encoded in fleet(first, count):
            device = {
                "type": "device",
                "username": username,
                "attributes": {"site": SITE},
                "credentials": [{"kind": METERS.secret, "encoded": encoded}],
            }
            out.write(json.dumps(device) + "\n")
    return file


def fleet(first: int, count: int) -> Iterator[tuple[str, str]]:
    """Usernames with the stored forms of their tokens."""
    for number in range(first, first + count):
        username = METERS.device(number)
        yield username, encode_token(token_of(username))


def import_once(database: Database, file: Path, count: int) -> Sample:
    """Imports the file into empty tables, in a process of its own."""
    return _stored(database, ["import", str(file), str(count)], count)


def insert_once(database: Database, count: int) -> Sample:
    """Stores such rows as the file has by Django's bulk_create and nothing else."""
    return _stored(database, ["insert", str(count)], count)


def _stored(database: Database, arguments: list[str], count: int) -> Sample:
    said = processes.run(["-m", "benchmarks.importer", *arguments], database.environment)
    seconds, cpu = json.loads(said.splitlines()[-1])
    return Sample(count, seconds, cpu)


def main(arguments: list[str]) -> None:
    """Raises RuntimeError where not every row was stored."""
    import django

    django.setup()
    from django.db import connection

    from accounts.models import Credential, Device

    how, *file, count = arguments
    connection.ensure_connection()
    backend: int = connection.connection.info.backend_pid

    def spent() -> tuple[float, float]:
        return time.perf_counter(), time.process_time() + processes.cpu_seconds_of(backend)

    _empty()
    store = _import(file[0]) if how == "import" else _insert(int(count))
    began, cpu = spent()
    store()
    ended, cpu_then = spent()
    if (Device.objects.count(), Credential.objects.count()) != (int(count), int(count)):
        raise RuntimeError(f"{how} did not store {count} devices with a token each")
    print(json.dumps([ended - began, cpu_then - cpu]))


def _empty() -> None:
    from django.db import connection

    from accounts.models import Device
    from audit.models import Event
    from exhookadmin.fleet.models import ImportRun
    from exhookadmin.staff.models import RecordedChange

    tables = ", ".join(model._meta.db_table for model in (Device, ImportRun, RecordedChange, Event))
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} CASCADE")
        cursor.execute("CHECKPOINT")


def _import(file: str) -> Callable[[], object]:
    from django.core.management import call_command

    return partial(call_command, "import", FORMAT, file)


def _insert(count: int) -> Callable[[], None]:
    from django.db import transaction

    from accounts.models import Credential, Device

    # As the file has its hashes ready.
    rows = list(fleet(0, count))

    def insert() -> None:
        left = iter(rows)
        while batch := list(islice(left, BATCH)):
            with transaction.atomic():
                devices = Device.objects.bulk_create(
                    [Device(username=username, attributes={"site": SITE}) for username, _ in batch]
                )
                Credential.objects.bulk_create(
                    [
                        Credential(device=device, kind=METERS.secret, encoded=encoded)
                        for device, (_, encoded) in zip(devices, batch, strict=True)
                    ]
                )

    return insert


if __name__ == "__main__":
    main(sys.argv[1:])
