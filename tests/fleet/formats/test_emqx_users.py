"""EMQX's own files of users, hash and plain, CSV and JSON."""

import json

import pytest

from accounts.core.binding import Binding
from accounts.passwords import password_matches
from exhookadmin.fleet.records import Kind
from tests.fleet.reading import devices, errors, findings, reading

CSV_HASH = """\
user_id,password_hash,salt,is_superuser
myuser3,b6c743545a7817ae8c8f624371d5f5f0373234bb0ff36b8ffbf19bce0e06ab75,de1024f462fb83910fd13151bd4bd235,true
myuser4,ee68c985a69208b6eda8c6c9b4c7c2d2b15ee2352cdd64a903171710a99182e8,ad773b5be9dd0613fe6c2f4d8c403139,false
"""
JSON_HASH = """\
[ {"user_id":"myuser1","password_hash":"c5e46903df45e5dc096dc74657610dbee8deaacae656df88a1788f1847390242",
   "salt":"e378187547bf2d6f0545a3f441aa4d8a","is_superuser":true} ]
"""
CSV_PLAIN = "user_id,password,is_superuser\nmyuser3,password3,true\n"
JSON_PLAIN = '[ {"user_id":"user1","password":"password1","is_superuser":true} ]'
DIGEST = "ab" * 32


def test_csv_with_hashes():
    read = devices(reading("emqx-users-csv", CSV_HASH, algorithm="sha256"))
    assert [(device.line, device.username, device.values["superuser"]) for device in read] == [
        (2, "myuser3", True),
        (3, "myuser4", False),
    ]
    for device, password in zip(read, ("mypassword3", "mypassword4"), strict=True):
        [credential] = device.credentials
        assert password_matches(credential.encoded, password)


def test_json_with_hashes():
    [device] = devices(reading("emqx-users-json", JSON_HASH, algorithm="sha256"))
    assert (device.line, device.username, device.values["superuser"]) == (1, "myuser1", True)
    assert password_matches(device.credentials[0].encoded, "mypassword1")


@pytest.mark.parametrize(
    ("name", "content", "username", "password"),
    [
        ("emqx-users-csv", CSV_PLAIN, "myuser3", "password3"),
        ("emqx-users-json", JSON_PLAIN, "user1", "password1"),
    ],
)
def test_plain_passwords_are_taken_to_be_hashed_here(name, content, username, password):
    [device] = devices(reading(name, content, plain=True))
    [credential] = device.credentials
    assert (device.username, device.values["superuser"]) == (username, True)
    assert (credential.plain, credential.encoded) == (password, "")
    assert password not in repr(device)


def test_columns_come_in_any_order_and_a_salt_may_be_missing():
    content = f"is_superuser,password_hash,user_id\ntrue,{DIGEST},u1\n"
    [device] = devices(reading("emqx-users-csv", content, algorithm="sha256", salt_position="disable"))
    assert device.credentials[0].encoded == f"emqx$sha256$disable$${DIGEST}"


@pytest.mark.parametrize(
    ("text", "superuser"),
    [("true", True), ("false", False), ("", False), ("True", False), ("1", False), ("yes", False)],
)
def test_only_the_word_true_makes_a_superuser_in_csv(text, superuser):
    content = f"user_id,password_hash,salt,is_superuser\nu1,{DIGEST},s,{text}\n"
    [device] = devices(reading("emqx-users-csv", content, algorithm="sha256"))
    assert device.values["superuser"] is superuser


@pytest.mark.parametrize(
    ("value", "superuser"),
    [(True, True), ("true", True), (False, False), (1, False), ("1", False), (None, False)],
)
def test_only_true_makes_a_superuser_in_json(value, superuser):
    content = json.dumps([{"user_id": "u1", "password_hash": DIGEST, "is_superuser": value}])
    [device] = devices(reading("emqx-users-json", content, algorithm="sha256"))
    assert device.values["superuser"] is superuser


def test_a_namespace_is_refused_for_this_row_and_the_others_are_read():
    content = (
        "user_id,password_hash,salt,is_superuser,namespace\n"
        f"u1,{DIGEST},s,true,ns1\nmyuser6,{DIGEST},s,false,ns1\nu3,{DIGEST},s,false,\n"
    )
    found = reading("emqx-users-csv", content, algorithm="sha256")
    assert [(one.line, one.field) for one in findings(found, Kind.REFUSED)] == [
        (2, "is_superuser"),
        (3, "namespace"),
    ]
    assert [device.username for device in devices(found)] == ["u3"]


def test_the_algorithm_must_be_given_because_no_file_carries_it():
    for name, content in (("emqx-users-csv", CSV_HASH), ("emqx-users-json", JSON_HASH)):
        [(_, text)] = errors(reading(name, content))
        assert "algorithm" in text


@pytest.mark.parametrize(
    ("options", "digest", "reason"),
    [
        ({"algorithm": "md5"}, DIGEST, "is the algorithm right?"),
        ({"algorithm": "bcrypt"}, DIGEST, "no hash that is known"),
        ({"algorithm": "bcrypt"}, "$2b$31$" + "a" * 53, "would stall"),
        ({"algorithm": "pbkdf2", "mac": "sha256", "iterations": 10**9}, DIGEST, "would stall"),
        ({"algorithm": "plain"}, "password", "no part of the stored text"),
    ],
)
def test_a_hash_that_no_login_could_verify_is_refused_with_its_line(options, digest, reason):
    content = f"user_id,password_hash,salt\nu1,{digest},s\n"
    found = reading("emqx-users-csv", content, **options)
    [refused] = findings(found, Kind.REFUSED)
    assert (refused.line, refused.field) == (2, "password_hash")
    assert reason in refused.reason
    assert devices(found) == []


def test_the_algorithm_plain_is_turned_into_a_password():
    content = "user_id,password_hash,salt\nu1,saltsecret,salt\n"
    [device] = devices(reading("emqx-users-csv", content, algorithm="plain", salt_position="prefix"))
    assert device.credentials[0].plain == "secret"


def test_the_binding_is_the_operators_choice():
    [device] = devices(reading("emqx-users-json", JSON_HASH, algorithm="sha256", binding=Binding.ANY))
    assert device.values["client_id_binding"] == "any"
    [device] = devices(reading("emqx-users-json", JSON_HASH, algorithm="sha256"))
    assert "client_id_binding" not in device.values


@pytest.mark.parametrize(
    ("user", "field"),
    [
        ({"password_hash": DIGEST}, "user_id"),
        ({"user_id": "", "password_hash": DIGEST}, "user_id"),
        ({"user_id": 7, "password_hash": DIGEST}, "user_id"),
        ({"user_id": "u1"}, "password_hash"),
        ({"user_id": "u1", "password_hash": ["x"]}, "password_hash"),
        ({"user_id": "u1", "password_hash": DIGEST, "salt": 5}, "salt"),
        ({"user_id": "\ud800", "password_hash": DIGEST}, "user_id"),
    ],
)
def test_a_field_of_another_type_is_an_error_with_its_name(user, field):
    found = reading("emqx-users-json", "[\n" + json.dumps(user) + "]", algorithm="sha256")
    [(line, text)] = errors(found)
    assert line == 2
    assert text.startswith(f"{field}: ")
