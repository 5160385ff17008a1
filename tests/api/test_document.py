"""The OpenAPI document: complete, true, and served without foreign assets.

Schemathesis sends what the document allows and what it does not; every answer must be one that
is documented, and none a server error.
"""

import re

import pytest
import schemathesis
from django.core.management import call_command
from django.db import connection
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from pytest_django.live_server_helper import LiveServer
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from accounts import services
from accounts.models import DeviceGroup
from acl import services as acl_services
from exhookadmin.api.keys import create_key
from exhookadmin.api.scopes import Scope

DOCUMENT = SchemaGenerator().get_schema(request=None, public=True)
schema = schemathesis.openapi.from_dict(DOCUMENT)
# What the document allows is the same on every database: the walk along each of its edges, which
# takes most of the time, is made on SQLite alone.
schema.config.phases.coverage.enabled = connection.vendor == "sqlite"
# Lines are text; Schemathesis knows no media type for them.
schemathesis.serializer.alias("application/jsonl", "text/plain")


@pytest.fixture
def key(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that may do everything, as often as it likes, where there is something to find."""
    monkeypatch.setattr("exhookadmin.api.throttling.KeyThrottle.allow_request", lambda *_: True)
    services.create_token(services.create_device("pump-17"))
    services.save_group(DeviceGroup(name="pumps"))
    acl_services.create_rule(acl_services.create_policy("fleet"), "allow", "all", "a/b")
    return create_key("schemathesis", list(Scope))[1]


@schema.parametrize()
@settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: schemathesis.Case, key: str, live_server: LiveServer):
    case.call_and_validate(
        base_url=live_server.url,
        headers={"Authorization": f"Bearer {key}"},
        # What a database refuses, such as a name that is taken, no schema can say.
        excluded_checks=[positive_data_acceptance, negative_data_rejection],
    )


def test_the_document_is_valid(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_operation_tells_its_scope_and_its_problems():
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(operations) > 30
    for operation in operations:
        if operation["operationId"] == "v1_enrol_create":  # which has keys of its own
            continue
        assert re.search(r"Needs the scope `[a-z:-]+`", operation["description"]), operation["operationId"]
        assert operation["summary"]
        assert {"400", "401", "403", "429"} <= operation["responses"].keys()


def test_the_pages_load_nothing_from_elsewhere(admin_client: Client):
    page = admin_client.get("/api/docs/").content.decode()
    assert "swagger-ui" in page
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page)
    assert Client().get("/api/docs/").status_code == 302
    assert Client().get("/api/v1/schema/").status_code == 200
