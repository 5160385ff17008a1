"""Devices and groups over HTTP: what is sent is what the admin shows, and nothing is lost on the way."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts import services
from accounts.models import Device, DeviceGroup
from acl import services as acl_services
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db

PUMP: dict[str, Any] = {
    "username": "pump-17",
    "description": "in the cellar",
    "enabled": True,
    "superuser": False,
    "groups": ["pumps"],
    "policies": ["fleet"],
    "client_id_binding": "exact",
    "client_id": "p17",
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_until": "2027-01-01T00:00:00Z",
    "certificate_cn": "pump-17.example",
    "credential_required": True,
    "attributes": {"site": "berlin"},
}
MADE = {"id", "last_seen_at", "created_at", "updated_at"}


@pytest.fixture(autouse=True)
def surroundings(db: None) -> None:
    services.save_group(DeviceGroup(name="pumps"))
    acl_services.create_policy("fleet")


def test_what_is_created_is_read_again(call: Caller):
    made = call("post", "devices/", PUMP)
    assert made.status_code == 201
    read = call("get", f"devices/{made.json()['id']}/")
    assert read.json() == made.json()
    assert {name: value for name, value in read.json().items() if name not in MADE} == PUMP
    device = Device.objects.get()
    assert device.networks == "192.0.2.0/24\n2001:db8::/32"
    assert device.valid_until == datetime(2027, 1, 1, tzinfo=UTC)


def test_what_is_left_out_is_the_default(call: Caller):
    made = call("post", "devices/", {"username": "pump-1"}).json()
    fresh = Device(username="pump-1")
    for name in ("enabled", "superuser", "client_id_binding", "credential_required", "description"):
        assert made[name] == getattr(fresh, name)
    assert (made["groups"], made["policies"], made["networks"], made["attributes"]) == ([], [], [], {})


def test_patch_changes_what_it_names_and_put_all(call: Caller):
    path = f"devices/{call('post', 'devices/', PUMP).json()['id']}/"
    assert call("patch", path, {"enabled": False}).json() | {"updated_at": 0} == call("get", path).json() | {
        "updated_at": 0
    }
    assert Device.objects.get().groups.count() == 1
    replaced = call("put", path, {"username": "pump-17"}).json()
    assert (replaced["groups"], replaced["policies"], replaced["networks"]) == ([], [], [])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        pytest.param("username", "", "blank", id="no name"),
        pytest.param("username", "a\x00b", "NUL", id="NUL"),
        pytest.param("networks", ["10.0.0.7/8"], "10.0.0.0/8", id="host bits"),
        pytest.param("networks", "10.0.0.0/8", "list", id="networks as a text"),
        pytest.param("groups", ["nobody"], "nobody", id="a group that is not there"),
        pytest.param("groups", [7], "name", id="a number for a name"),
        pytest.param("valid_until", "yesterday", "format", id="no time"),
        pytest.param("attributes", {"a b": "x"}, "a b", id="an attribute that no placeholder can name"),
        pytest.param("client_id_binding", "perhaps", "perhaps", id="an unknown binding"),
        pytest.param("client_id_binding", "prefix", "", id="a prefix without its client id"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(field: str, value: Any, words: str, call: Caller):
    answer = call("post", "devices/", {"username": "pump-1", field: value})
    problem = answer.json()
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    [(named, [text, *_])] = problem["errors"].items()
    assert named in (field, "client_id")
    assert words in text
    assert not Device.objects.exists()


def test_a_name_that_is_taken_is_refused(call: Caller):
    call("post", "devices/", {"username": "pump-1"})
    answer = call("post", "devices/", {"username": "pump-1"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["username"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("username=pump-1", ["pump-1"]),
        ("username=pump", []),
        ("group=pumps", ["pump-2"]),
        ("enabled=false", ["pump-3"]),
        ("enabled=true", ["pump-1", "pump-2"]),
        ("", ["pump-1", "pump-2", "pump-3"]),
    ],
)
def test_the_list_can_be_narrowed(query: str, found: list[str], call: Caller):
    services.create_device("pump-1")
    services.create_device("pump-2", groups=DeviceGroup.objects.all())
    services.create_device("pump-3", enabled=False)
    listed = call("get", f"devices/?{query}").json()["results"]
    assert [device["username"] for device in listed] == found


def test_pages_lead_from_one_to_the_next(call: Caller, django_assert_max_num_queries: Any):
    for number in range(7):
        services.create_device(f"pump-{number}")
    path: str | None = "devices/?page_size=3"
    names: list[str] = []
    with django_assert_max_num_queries(21):
        while path:
            page = call("get", path).json()
            names += [device["username"] for device in page["results"]]
            path = page["next"] and page["next"].partition("/api/v1/")[2]
    assert names == [f"pump-{number}" for number in range(7)]


def test_deleting_is_for_good(call: Caller):
    path = f"devices/{call('post', 'devices/', PUMP).json()['id']}/"
    assert call("delete", path).status_code == 204
    gone = call("get", path)
    assert (gone.status_code, gone.json()["title"]) == (404, "Not Found")


def test_groups(call: Caller):
    made = call("post", "groups/", {"name": "fans", "description": "x"}).json()
    assert call("patch", f"groups/{made['id']}/", {"description": "y"}).json() == made | {"description": "y"}
    assert [group["name"] for group in call("get", "groups/").json()["results"]] == ["pumps", "fans"]
    assert call("delete", f"groups/{made['id']}/").status_code == 204
    assert not DeviceGroup.objects.filter(name="fans").exists()
