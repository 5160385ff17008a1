"""What the tests of the endpoint share: databases that threads can see, a running endpoint, an outage."""

from collections.abc import Iterator
from typing import Any

import pytest

from exhookadmin.models import Revision
from tests.exhook.server import TRANSPORTS, Endpoint, running_endpoint
from tests.outage import Outage


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    return str(request.param)


@pytest.fixture
def database(transactional_db: None) -> None:
    """A database whose rows other threads see. Emptying it took the revision row too."""
    Revision.objects.get_or_create(pk=1)


@pytest.fixture
def endpoint(transport: str, database: None) -> Iterator[Endpoint]:
    """A running endpoint of the test's own, with the test's own database."""
    with running_endpoint(transport) as running:
        yield running


@pytest.fixture(scope="module", params=TRANSPORTS)
def shared_endpoint(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Endpoint]:
    """One endpoint for all tests of a module, over an empty database that they only read."""
    with django_db_blocker.unblock(), running_endpoint(request.param) as running:
        yield running


@pytest.fixture
def outage(database: None) -> Iterator[Outage]:
    """The database goes away with ``begin()`` and comes back with ``end()``, at the latest after the test."""
    outage = Outage()
    yield outage
    outage.end()
