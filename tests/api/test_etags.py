"""Of two who change the same thing, the second is told (RFC 9110, 13.1.1)."""

import pytest

from accounts import services
from accounts.models import Device
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(db: None) -> str:
    return f"devices/{services.create_device('pump-17').pk}/"


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_change_of_another_state_is_refused(method: str, path: str, call: Caller):
    tag = call("get", path)["ETag"]
    assert call("patch", path, {"description": "mine"}, if_match=tag).status_code == 200
    late = call(method, path, {"username": "pump-17", "description": "yours"}, if_match=tag)
    assert (late.status_code, late.json()["status"]) == (412, 412)
    assert Device.objects.get().description == "mine"


@pytest.mark.parametrize("tag", ["*", "", '"something", {tag}', "W/{tag}"])
def test_a_change_of_this_state_is_made(tag: str, path: str, call: Caller):
    named = tag.format(tag=call("get", path)["ETag"])
    assert call("patch", path, {"description": "mine"}, if_match=named).status_code == 200


def test_the_tag_changes_with_the_thing_and_not_with_its_use(path: str, call: Caller):
    first = call("get", path)["ETag"]
    Device.objects.update(last_seen_at="2026-01-01T00:00:00Z")
    assert call("get", path)["ETag"] == first
    changed = call("patch", path, {"description": "x"})
    assert changed["ETag"] != first
    assert call("get", path)["ETag"] == changed["ETag"]
