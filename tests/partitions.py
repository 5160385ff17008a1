"""Partitions outlive a test, where rows do not."""

from collections.abc import Iterator

import pytest
from django.db import connection

from audit import partitions_postgresql as postgresql
from audit.models import Event
from audit.retention import KindGroup


@pytest.fixture
def same_partitions_afterwards(transactional_db: None) -> Iterator[None]:
    """Those that a test made or dropped are put right again: emptying all tables takes longer with each."""
    if connection.vendor != "postgresql":
        yield
        return
    before = {group: postgresql.partitions(group) for group in KindGroup}
    yield
    if before == {group: postgresql.partitions(group) for group in KindGroup}:
        return
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
