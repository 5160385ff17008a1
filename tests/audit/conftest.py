"""What the tests of the audit log share: a database that the writer's thread can see, and an outage."""

from collections.abc import Iterator

import pytest

from tests.outage import Outage


@pytest.fixture
def outage(transactional_db: None) -> Iterator[Outage]:
    """The database goes away with ``begin()`` and comes back with ``end()``, at the latest after the test."""
    outage = Outage()
    yield outage
    outage.end()
