"""This program's own files."""

import hashlib
import json

import pytest

from accounts.core.principal import CredentialKind
from accounts.core.tokens import token_matches
from exhookadmin.fleet.records import GroupRecord, Kind, PolicyRecord
from tests.fleet.reading import devices, errors, findings, reading, rules, shown
from tests.fleet.vectors import BCRYPT

TOKEN = "exh_" + "a" * 32
ENCODED = "sha256$0123456789abcdef$" + hashlib.sha256(f"0123456789abcdef{TOKEN}".encode()).hexdigest()


def test_csv_says_everything_about_a_device():
    columns = (
        "username,description,enabled,superuser,groups,client_id_binding,client_id,networks,valid_from,"
        "valid_until,certificate_cn,credential_required,attr.site,attr.floor,credential,credential_kind,"
        "credential_label"
    )
    row = (
        "pump-1,the first,true,false,pumps; berlin ,"
        "exact,c-1,10.0.0.0/8;192.0.2.7,2026-01-01T00:00:00Z,,cn-1,"
        f"no,berlin,,{ENCODED},token,installed 2026"
    )
    [device] = devices(reading("devices-csv", f"{columns}\n{row}\n"))
    assert device.values == {
        "description": "the first",
        "client_id_binding": "exact",
        "client_id": "c-1",
        "certificate_cn": "cn-1",
        "enabled": True,
        "superuser": False,
        "credential_required": False,
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": None,
        "networks": "10.0.0.0/8\n192.0.2.7",
        "attributes": {"site": "berlin"},
    }
    assert device.groups == ("pumps", "berlin")
    [credential] = device.credentials
    assert (credential.kind, credential.label) == (CredentialKind.TOKEN, "installed 2026")
    assert token_matches(credential.encoded, TOKEN)


def test_csv_leaves_alone_what_it_has_no_column_for():
    [device] = devices(reading("devices-csv", "username\npump-1\n"))
    assert (device.values, device.groups, device.credentials, device.rules) == ({}, None, (), None)


def test_csv_empties_what_has_an_empty_cell_but_switches_nothing():
    content = "username,description,enabled,groups,client_id_binding,valid_until\npump-1,,,,,\n"
    [device] = devices(reading("devices-csv", content))
    assert (device.values, device.groups) == ({"description": "", "valid_until": None}, ())


@pytest.mark.parametrize(
    ("credential", "kind", "problem"),
    [
        (ENCODED, "token", None),
        (BCRYPT, "password", None),
        (BCRYPT, "", None),
        (BCRYPT, "token", "no stored token"),
        (ENCODED, "password", "no hash that is known"),
        ("sha256$short$" + "a" * 64, "token", "no stored token"),
    ],
)
def test_a_credential_is_checked(credential, kind, problem):
    content = f"username,credential,credential_kind\npump-1,{credential},{kind}\n"
    found = reading("devices-csv", content)
    assert [one.reason.startswith("it") and problem in one.reason for one in findings(found)] == (
        [True] if problem else []
    )
    assert len(devices(found)) == (0 if problem else 1)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('username\n""\n', "username"),
        ("username,enabled\np,maybe\n", "enabled"),
        ("username,credential_kind\np,certificate\n", "credential_kind"),
    ],
)
def test_csv_refuses(content, field):
    assert [(line, text.partition(":")[0]) for line, text in errors(reading("devices-csv", content))] == [
        (2, field)
    ]


def lines(*objects):
    return "".join(json.dumps(one) + "\n" for one in objects)


RULE = {
    "effect": "deny",
    "action": "publish",
    "topic_filter": "a/${attr.site}/#",
    "literal": False,
    "networks": ["10.0.0.0/8"],
    "priority": 7,
    "enabled": False,
    "note": "why",
}


def test_json_lines_say_everything_about_a_fleet():
    found = reading(
        "fleet-jsonl",
        lines(
            {"type": "group", "name": "pumps", "description": "all of them"},
            {"type": "policy", "name": "base", "everyone": True, "groups": ["pumps"], "rules": [RULE]},
            {
                "type": "device",
                "username": "pump-1",
                "enabled": False,
                "attributes": {"site": "berlin"},
                "groups": ["pumps"],
                "credentials": [
                    {"kind": "token", "encoded": ENCODED, "label": "new"},
                    {"password": "secret", "expires_at": "2027-01-01T00:00:00Z", "enabled": False},
                ],
                "rules": [RULE],
            },
        ),
    )
    assert errors(found) == []
    assert found[0] == GroupRecord(1, "pumps", "all of them")
    assert found[1] == PolicyRecord(2, "base", everyone=True, groups=("pumps",))
    [device] = devices(found)
    assert device.values == {"enabled": False, "attributes": {"site": "berlin"}}
    assert [(one.kind, one.enabled) for one in device.credentials] == [("token", True), ("password", False)]
    assert "secret" not in repr(device)
    assert [shown(rule) for rule in rules(found)] == [
        "policy base: deny publish a/${attr.site}/# from 10.0.0.0/8",
        "device pump-1: deny publish a/${attr.site}/# from 10.0.0.0/8",
    ]
    assert all((rule.priority, rule.enabled, rule.note) == (7, False, "why") for rule in rules(found))


@pytest.mark.parametrize(
    "line",
    [
        {"username": "p"},
        {"type": "thing"},
        {"type": "device"},
        {"type": "device", "username": "p", "surprise": 1},
        {"type": "device", "username": "p", "enabled": "yes"},
        {"type": "device", "username": "p", "groups": "pumps"},
        {"type": "device", "username": "p", "attributes": []},
        {"type": "device", "username": "p", "credentials": [{}]},
        {"type": "device", "username": "p", "credentials": [{"encoded": BCRYPT, "password": "x"}]},
        {"type": "device", "username": "p", "rules": [RULE | {"effect": "maybe"}]},
        {"type": "device", "username": "p", "rules": [RULE | {"action": "write"}]},
        {"type": "device", "username": "p", "rules": [RULE | {"topic_filter": "a/#/b"}]},
        {"type": "device", "username": "p", "rules": [RULE | {"networks": ["10.0.0.7/8"]}]},
        {"type": "device", "username": "p", "rules": [RULE | {"priority": "high"}]},
        {"type": "group"},
        {"type": "policy", "name": "x", "rules": 5},
    ],
    ids=str,
)
def test_json_lines_refuse(line):
    [(at, _)] = errors(reading("fleet-jsonl", lines({"type": "group", "name": "g"}, line)))
    assert at == 2


def test_a_credential_that_no_login_could_verify_refuses_the_device_only():
    bad = {"type": "device", "username": "p", "credentials": [{"encoded": "$2b$31$" + "a" * 53}]}
    found = reading("fleet-jsonl", lines(bad, {"type": "device", "username": "q"}))
    assert [(one.line, one.field) for one in findings(found, Kind.REFUSED)] == [(1, "credentials[0]")]
    assert [device.username for device in devices(found)] == ["q"]
