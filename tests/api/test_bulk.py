"""Many devices at once: what each line came to, what a key needs for it, and what is never shown."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts import services
from accounts.core.tokens import encode_token, generate_token
from accounts.models import Credential, Device
from acl import services as acl_services
from acl.models import Rule
from exhookadmin.api import json_lines
from exhookadmin.api.scopes import Scope
from exhookadmin.fleet.models import ImportRun
from exhookadmin.staff.models import RecordedChange
from tests.api.conftest import NewCaller
from tests.fleet.test_files_of_secrets import FILES, SECRETS, SECRETS_OF_PEM, traces

pytestmark = pytest.mark.django_db
TOKEN = {"kind": "token", "encoded": encode_token(generate_token())}


def post(key: str, *lines: Any, media_type: str = "application/jsonl", **headers: str) -> Any:
    body = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return Client().post(
        "/api/v1/bulk/devices/",
        body,
        content_type=media_type,
        headers={"Authorization": f"Bearer {key}", **headers},
    )


def lines_of(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/jsonl"
    assert answer["Cache-Control"] == "no-store"
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def device(username: str, **members: Any) -> dict[str, Any]:
    return {"type": "device", "username": username, **members}


@pytest.fixture
def key(caller_with: NewCaller) -> str:
    return caller_with(*Scope).key


def test_each_line_has_its_outcome_and_sent_again_nothing_changes(key):
    services.create_device("there", description="old")
    sent = (
        device("new", groups=["pumps"], credentials=[TOKEN]),
        device("there", description="new"),
        device("wrong", networks=["10.0.0.7/8"]),
        device("broken", credentials=[{"kind": "password", "encoded": "!"}]),
    )
    first = {line["username"] or line["line"]: line for line in lines_of(post(key, *sent))}
    assert {name: line["status"] for name, line in first.items()} == {
        "new": "created",
        "there": "updated",
        "wrong": "refused",
        4: "refused",
    }
    assert (first["wrong"]["line"], first["wrong"]["field"]) == (3, "networks")
    again = [line["status"] for line in lines_of(post(key, *sent))]
    assert sorted(again) == ["refused", "refused", "unchanged", "unchanged"]
    assert Credential.objects.count() == 1
    assert not ImportRun.objects.exists()
    assert set(RecordedChange.objects.exclude(actor="").values_list("actor", flat=True)) >= {"key key 1"}


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson", "text/plain"])
def test_media_types(key, media_type):
    assert lines_of(post(key, device("p1"), media_type=media_type))[0]["status"] == "created"


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ([device("p1"), "{"], "line 2"),
        ([device("p1"), device("p1")], "line 2, device"),
        ([device("p1"), {"type": "group", "name": "g"}], "line 2"),
        ([device(f"p{n}", credentials=[{"password": "x" * 9}]) for n in range(101)], "line 101"),
    ],
    ids=["not JSON", "twice", "a group", "too many passwords"],
)
def test_a_body_that_cannot_be_read_changes_nothing(key, sent, field):
    answer = post(key, *sent)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert list(answer.json()["errors"]) == [field]
    assert not Device.objects.exists()


def test_a_body_is_bounded(key, monkeypatch):
    monkeypatch.setattr(json_lines, "LARGEST_BODY", 100)
    answer = post(key, device("p" * 100))
    assert (answer.status_code, "At most 100 bytes" in answer.json()["detail"]) == (400, True)
    assert post(key, device("p1"), **{"Idempotency-Key": "x"}).status_code == 400
    assert lines_of(post(key)) == []


@pytest.mark.parametrize(
    ("member", "scope"),
    [
        ({"credentials": [TOKEN]}, Scope.CREDENTIALS_WRITE),
        ({"policies": []}, Scope.POLICIES_WRITE),
        ({"rules": [{"effect": "allow", "action": "all", "topic_filter": "a"}]}, Scope.POLICIES_WRITE),
        ({"superuser": True}, Scope.OPEN_EVERYTHING),
    ],
    ids=["credentials", "policies", "rules", "superuser"],
)
def test_scopes(caller_with, member, scope):
    sent = device("p1", **member)
    assert post(caller_with(Scope.DEVICES_WRITE).key, sent).status_code == 403
    assert not Device.objects.exists()
    assert lines_of(post(caller_with(Scope.DEVICES_WRITE, scope).key, sent))[0]["status"] == "created"


def test_reading_gives_what_can_be_sent_and_never_a_credential(caller_with):
    made = services.create_device("p1", attributes={"site": "berlin"})
    services.create_token(made)
    acl_services.create_rule(made, "allow", "publish", "a")
    services.create_device("off", enabled=False)

    def read(query: str, *scopes: Scope) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {caller_with(*scopes).key}"}
        return lines_of(Client().get(f"/api/v1/bulk/devices/{query}", headers=headers))

    [one] = read("?enabled=true", Scope.DEVICES_READ)
    assert (one["username"], one["attributes"]) == ("p1", {"site": "berlin"})
    assert not {"credentials", "rules"} & one.keys()
    with_rules = read("", Scope.DEVICES_READ, Scope.POLICIES_READ)
    assert [line["username"] for line in with_rules] == ["p1", "off"]
    assert with_rules[0]["rules"][0]["topic_filter"] == "a"
    assert Credential.objects.get().encoded not in json.dumps(with_rules)
    writer = caller_with(Scope.DEVICES_WRITE, Scope.POLICIES_WRITE).key
    assert {line["status"] for line in lines_of(post(writer, *with_rules))} == {"unchanged"}
    assert Rule.objects.count() == Credential.objects.count() == 1


def test_a_file_of_secrets_that_is_sent_by_mistake_is_not_repeated(key):
    wrong = [device("u1", networks=[SECRETS[0]]), device("u2", **{SECRETS[0]: 1})]
    for content in (*FILES.values(), *map(json.dumps, wrong)):
        answer = post(key, content)
        said = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert said
        assert not traces(said.decode(), *SECRETS, *SECRETS_OF_PEM), said
