"""A real ``manage.py run_exhook`` process for tests, working on the test database.

    def test_it(start_endpoint):
        ...
        with start_endpoint() as endpoint:
            ...  # endpoint.address is where it listens

What is stored before ``start_endpoint()`` is known to it from its first answer on; what is stored
later arrives with the change feed. Facts are in the database a little later than the reply, and at
the latest when the block has ended.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from exhookadmin.exhook.demo.endpoint import Endpoint, end_of, running_endpoint
from exhookadmin.models import Revision

StartEndpoint = Callable[..., AbstractContextManager[Endpoint]]


def database_url() -> str:
    """The test database, as another process can be told of it."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(str(database['NAME']))}"
    account = f"{quote(database['USER'], safe='')}:{quote(database['PASSWORD'], safe='')}"
    return f"postgres://{account}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


def child_environment(var: Path) -> dict[str, str]:
    """What makes a manage.py process work on the test database and keep its files apart."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_RUN": os.environ["TEST_RUN"],
        "DATABASE_URL": database_url(),
        "VAR_DIR": str(var),
    }


def wait_until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    """For what another process does in its own time. Fails the test when it does not come true."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come true within {seconds:g} s")
        time.sleep(0.05)


@pytest.fixture
def patient_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker in this process and its devices wait longer than real ones: others need the machine."""
    monkeypatch.setattr("exhookadmin.exhook.demo.bridge.REQUEST_SECONDS", 60.0)
    monkeypatch.setattr("exhookadmin.exhook.demo.devices.ANSWER_SECONDS", 60.0)


@pytest.fixture
def start_endpoint(
    transactional_db: None, same_partitions_afterwards: None, tmp_path: Path
) -> Iterator[StartEndpoint]:
    """Starts an endpoint as a context manager, with one worker unless it is told otherwise.

    Its log is part of the report of a test that fails.
    """
    # A transactional test empties every table when it ends, the one row of this one included.
    Revision.objects.get_or_create(pk=1)
    logs: list[Path] = []

    def start(*arguments: str, **environment: str) -> AbstractContextManager[Endpoint]:
        var = tmp_path / f"endpoint-{len(logs)}"
        var.mkdir()
        logs.append(var / "log")
        return running_endpoint(
            logs[-1], ["--workers", "1", *arguments], child_environment(var) | environment
        )

    yield start
    # pytest shows what was printed only where a test failed.
    for log in logs:
        print(f"{log.parent.name}, the end of its log:\n{end_of(log)}")
