"""Every endpoint × every scope: a key does what its scopes say, and nothing else."""

from typing import Any
from uuid import uuid4

import pytest
from django.urls import URLPattern
from django.utils import timezone

from accounts import services
from accounts.models import DeviceGroup
from acl import services as acl_services
from audit.fact import Kind
from audit.models import Event, Session
from exhookadmin.api.audit import UUID_FORM
from exhookadmin.api.scopes import MEANINGS, Scope
from exhookadmin.api.urls import router
from exhookadmin.api.views import NUMBER
from tests.api.conftest import Caller, NewCaller

pytestmark = pytest.mark.django_db

WRITES = {"post", "put", "patch", "delete"}


def endpoints() -> list[tuple[str, str, Scope]]:
    """Method, path, and the scope that it is documented to need."""
    found = []
    for pattern in router.urls:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback
        path = str(pattern.pattern).lstrip("^").rstrip("$")
        for group in (f"(?P<device_pk>{NUMBER})", f"(?P<pk>{NUMBER})", f"(?P<pk>{UUID_FORM})"):
            path = path.replace(group, "{}")
        for method, action in view.actions.items():  # type: ignore[attr-defined]
            if path != "enrol/":  # which has keys of its own
                found.append((method, path, view.cls.scopes[action]))  # type: ignore[attr-defined]
    return found


ENDPOINTS = endpoints()


@pytest.fixture
def rows() -> dict[str, Any]:
    """One of everything, by the beginning of its path."""
    device = services.create_device("pump-17")
    credential, _ = services.create_token(device)
    policy = acl_services.create_policy("fleet")
    return {
        "devices": device.pk,
        "credentials": credential.pk,
        "groups": services.save_group(DeviceGroup(name="pumps")).pk,
        "policies": policy.pk,
        "events": Event.objects.create(id=uuid4(), time=timezone.now(), kind=Kind.CONNECTED).pk,
        "sessions": Session.objects.create(client_id="pump-17", connected_at=timezone.now()).pk,
        "rules": acl_services.create_rule(policy, "allow", "all", "a/b").pk,
    }


def address(path: str, rows: dict[str, Any]) -> str:
    parts = path.split("/")
    return "/".join(str(rows[parts[at - 1]]) if part == "{}" else part for at, part in enumerate(parts))


def test_every_endpoint_is_found():
    assert len(ENDPOINTS) > 30
    assert {scope for _, _, scope in ENDPOINTS} <= set(Scope)
    assert set(MEANINGS) == set(Scope)


def test_writing_needs_a_scope_for_writing():
    for method, path, scope in ENDPOINTS:
        if path != "check/":
            assert (method in WRITES) == scope.endswith(":write"), (method, path, scope)


@pytest.mark.parametrize("scope", list(Scope), ids=str)
def test_a_key_may_call_what_its_one_scope_is_for(scope: Scope, caller_with: NewCaller, rows: dict[str, Any]):
    caller = caller_with(scope)
    for method, path, needed in ENDPOINTS:
        answer = caller(method, address(path, rows), {} if method in WRITES else None)
        if scope == needed:
            assert answer.status_code not in (401, 403), (method, path)
        else:
            assert answer.status_code == 403, (method, path)
            assert str(needed) in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS, ids=lambda value: str(value))
def test_nobody_calls_without_a_key(method: str, path: str, scope: Scope, rows: dict[str, Any]):
    answer = Caller("")(method, address(path, rows), {} if method in WRITES else None)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("devices/", {"username": "root", "superuser": True}, id="a superuser device"),
        pytest.param(
            "rules/",
            {"policy": "everything", "effect": "allow", "action": "all", "topic_filter": "+/#"},
            id="a rule that opens everything",
        ),
        pytest.param(
            "devices/", {"username": "new", "policies": ["everything"]}, id="attaching a policy that does"
        ),
    ],
)
def test_opening_everything_needs_its_own_scope(path: str, body: dict, caller_with: NewCaller):
    acl_services.create_rule(acl_services.create_policy("everything"), "allow", "all", "#")
    writing = [scope for scope in Scope if scope.endswith(":write")]
    refused = caller_with(*writing)("post", path, body)
    assert (refused.status_code, "open-everything" in refused.json()["detail"]) == (403, True)
    assert caller_with(*writing, Scope.OPEN_EVERYTHING)("post", path, body).status_code == 201
