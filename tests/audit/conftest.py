"""What the tests of the audit log share: a database that the writer's thread can see, and an outage."""

from collections.abc import Iterator

import pytest
from django.db import connection

from audit import partitions_postgresql as postgresql
from audit.models import Event
from audit.retention import KindGroup
from tests.outage import Outage


@pytest.fixture
def outage(transactional_db: None) -> Iterator[Outage]:
    """The database goes away with ``begin()`` and comes back with ``end()``, at the latest after the test."""
    outage = Outage()
    yield outage
    outage.end()


@pytest.fixture
def same_partitions_afterwards(transactional_db: None) -> Iterator[None]:
    """Tables outlive a test where rows do not: those that it made or dropped are put right again."""
    if connection.vendor != "postgresql":
        yield
        return
    before = {group: postgresql.partitions(group) for group in KindGroup}
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {Event._meta.db_table}")
    for group in KindGroup:
        now = postgresql.partitions(group)
        for one in now:
            if one not in before[group]:
                postgresql.drop(group, one)
        for one in before[group]:
            if one not in now:
                postgresql.attach(group, one.span, lambda _: None)
