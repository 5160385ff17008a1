"""How many queries a page costs, and which."""

import re
from collections.abc import Iterable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext


def queries_of(client: Client, url: str) -> list[str]:
    """The SQL of a GET, which must succeed. The first request of a test also reads the session's user."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    assert response.status_code == 200
    return [query["sql"] for query in captured.captured_queries]


_LOGIN = re.compile(r"django_session|otp_|^(RELEASE )?SAVEPOINT")


def besides_the_login(queries: Iterable[dict[str, str]]) -> list[str]:
    """The SQL that is the page's own: a login is read, and prolonged, with each request."""
    return [query["sql"] for query in queries if not _LOGIN.search(query["sql"])]
