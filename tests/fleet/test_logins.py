"""Every imported hash at the real endpoint: it logs in without conversion, and is upgraded by that."""

from typing import Any

import pytest

from accounts.models import Credential, Device
from accounts.passwords import is_ours, password_matches
from tests.exhook.server import running_endpoint
from tests.fleet.vectors import BCRYPT, VECTORS

pytestmark = pytest.mark.django_db(transaction=True)


def imported() -> None:
    for number, vector in enumerate(VECTORS):
        device = Device.objects.create(username=f"u{number}")
        Credential.objects.create(device=device, kind="password", encoded=vector.encoded)


def test_all_verified_hashes_log_in_and_are_upgraded():
    imported()
    with running_endpoint() as endpoint:
        for number, vector in enumerate(VECTORS):
            client: dict[str, Any] = {"username": f"u{number}", "clientid": f"u{number}"}
            # One of them takes a quarter of a second each time.
            if vector.encoded != BCRYPT:
                assert not endpoint.admits(password=vector.password + "x", **client), vector.name
            assert endpoint.admits(password=vector.password, **client), vector.name
    for number, vector in enumerate(VECTORS):
        encoded = Credential.objects.get(device__username=f"u{number}").encoded
        assert is_ours(encoded), vector.name
        assert password_matches(encoded, vector.password), vector.name
