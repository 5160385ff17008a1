"""A file of secrets that comes as another format, or has a cell in the wrong column: the report says what is
wrong and where, and repeats nothing of it."""

import io
import json
import logging
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import services
from exhookadmin.fleet.formats.known import FORMATS
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.importing import Choices, ImportRefused, import_fleet
from exhookadmin.fleet.records import Finding, Kind
from exhookadmin.fleet.report import Report
from tests.fleet.formats.test_malformed import GOOD, OPTIONS
from tests.fleet.reading import reading

PASSWORD = "Uw9oorah4kXiePh7"
SALT = "Zai5ohGh6teiJ1ee"
DIGEST = "d7c743545a7817ae8c8f624371d5f5f0373234bb0ff36b8ffbf19bce0e06ab99"
MOSQUITTO = "$7$101$VGhlU2FsdE9mSXQx$" + "V1hZ" * 21 + "Wg=="
BCRYPT = "$2b$12$kQx3h20mUjjmeaClpqZVvehyw7F.V78F3rbK2xDkCzRTMi6pmfUB6"
SECRETS = (PASSWORD, SALT, DIGEST, "VGhlU2FsdE9mSXQx", "V1hZ" * 4, BCRYPT[7:])
PEM = "-----BEGIN PRIVATE KEY-----\nTWlJRXZRSUJBREFOQmdr\n-----END PRIVATE KEY-----\n"
SECRETS_OF_PEM = ("TWlJRXZRSUJBREFOQmdr",)
USERS = [{"user_id": "u1", "password_hash": DIGEST, "salt": SALT, "is_superuser": False}]
ROWS = [{"mountpoint": "", "client_id": "c1", "username": "u1", "password": BCRYPT, "publish_acl": []}]
DYNAMIC = {"clients": [{"username": "u1", "password": "V1hZ" * 21 + "Wg==", "salt": SALT, "iterations": 101}]}
DEVICE = {"type": "device", "username": "u1", "credentials": [{"kind": "password", "password": PASSWORD}]}

FILES = {
    "devices-csv": f"username,password,credential\nu1,{PASSWORD},\nu2,,{MOSQUITTO}\n",
    "fleet-jsonl": json.dumps(DEVICE) + "\n",
    "emqx-users-csv": f"user_id,password_hash,salt,is_superuser\nu1,{DIGEST},{SALT},false\n",
    "emqx-users-csv, plain": f"user_id,password,is_superuser\nu1,{PASSWORD},false\n",
    "emqx-users-json": json.dumps(USERS),
    "emqx-users-json, indented": json.dumps(USERS, indent=2),
    "mosquitto-passwords": f"u1:{MOSQUITTO}\nu2:{MOSQUITTO}\n",
    "mosquitto-passwords, in clear": f"u1:{PASSWORD}\n",
    "mosquitto-dynamic-security": json.dumps(DYNAMIC),
    "mosquitto-dynamic-security, indented": json.dumps(DYNAMIC, indent="\t"),
    "go-auth-users-csv": f"username,password_hash,is_admin\nu1,{BCRYPT},false\n",
    "vernemq-json": json.dumps(ROWS),
    "vernemq-jsonl": json.dumps(ROWS[0]) + "\n",
    "passwords, one a line": f"{PASSWORD}\n{SALT}\n",
    "password and name": f"{PASSWORD} u1\n",
    "name and password": f"u1 {PASSWORD}\n",
    "name, tab and password": f"u1\t{PASSWORD}\n",
    "names and passwords in CSV without a header": f"u1,{PASSWORD}\n",
    "a header and a password for a column": f"username,user_id,topic,{PASSWORD}\nu1,u1,a,x\n",
    "a map in JSON": json.dumps({"u1": PASSWORD, PASSWORD: DIGEST}),
    "a map by secret": json.dumps({PASSWORD: "u1"}),
    "maps by secret": json.dumps([{PASSWORD: "u1"}]),
    "a secret twice": json.dumps({PASSWORD: 1})[:-1] + f', "{PASSWORD}": 2}}',
    "a secret twice, inside": f'[{{"{PASSWORD}": 1, "{PASSWORD}": 2}}]',
    "a secret twice, one a line": f'{{"{PASSWORD}": 1, "{PASSWORD}": 2}}\n',
    "texts in JSON": json.dumps([PASSWORD, DIGEST]),
    "text in JSON": json.dumps(PASSWORD),
    "broken JSON": f'[{{"username": "{PASSWORD}" "x"}}]',
    "quotes never closed": f"\"{PASSWORD}\n'{PASSWORD}\n",
    "quoted, then more": f'username,password\n"{PASSWORD}"{SALT},x\n',
    "Erlang terms": f'{{allow, {{{PASSWORD[0].lower()}{PASSWORD[1:]}, "{PASSWORD}"}}, all, ["a"]}}.\n',
    "an Erlang term without an end": f'{{allow, all}} "{PASSWORD}" {DIGEST}.\n',
    "an Erlang term without a comma": f'{{allow "{PASSWORD}"}}.\n',
    "an atom": f"'{PASSWORD}'.\n",
    "an address": f'{{allow, {{ipaddr, "{PASSWORD}"}}, all, ["a"]}}.\n',
    "an ACL": f"topic {PASSWORD} a/#\n",
    "an ACL without a topic": f"user u1\n{PASSWORD}\n",
    "an environment": f"DB_PASSWORD={PASSWORD}\nexport SECRET='{SALT}'\n",
    "a configuration": f"connection cloud\nremote_password {PASSWORD}\npassword: {SALT}\n",
    "a key": PEM,
    "a formula": f"username,description\nu1,=1+{PASSWORD}\n",
}


def traces(text: str, *secrets: str, size: int = 6) -> set[str]:
    """Every piece of a secret, of so many characters, that stands in the text in any case of letters."""
    told = text.lower()
    pieces = {
        secret[at : at + size].lower() for secret in secrets for at in range(max(1, len(secret) - size + 1))
    }
    return {piece for piece in pieces if piece in told}


def test_the_search_finds_what_it_looks_for():
    assert traces(f"x{PASSWORD[3:9].upper()}…", PASSWORD) == {PASSWORD[3:9].lower()}
    assert not traces("nothing", *SECRETS, *SECRETS_OF_PEM)


def test_there_is_a_file_for_each_format_that_holds_secrets():
    assert {name.partition(",")[0] for name in FILES} >= {
        name for name, good in GOOD.items() if re.search("password|hash|salt", good)
    } - {"vernemq-json", "vernemq-jsonl"}
    for name, content in FILES.items():
        assert traces(content, *SECRETS, *SECRETS_OF_PEM), name


def imported(format_name: str, content: str, **options: Any) -> str:
    """Everything that the import said, and what it keeps of the import itself."""
    report = Report(io.StringIO())
    try:
        given = Options(name="test", **OPTIONS, **options)
        import_fleet(format_name, io.BytesIO(content.encode()), given, Choices(dry_run=True), report)
    except ImportRefused as refused:
        report.outcomes[repr(refused)] = 1
    assert isinstance(report.file, io.StringIO)
    return f"{report.file.getvalue()}\n{report.findings!r}\n{report.outcomes}"


@pytest.mark.django_db
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_secrets_that_is_sent_as_this_format_is_not_repeated(name, caplog):
    with caplog.at_level(logging.DEBUG):
        for file, content in FILES.items():
            for options in ({}, {"widen_denies": True}, {"plain": True}):
                said = imported(name, content, **options) + caplog.text
                assert not traces(said, *SECRETS, *SECRETS_OF_PEM), (file, said)


# Where a format has a name, a topic or an attribute of a rule or device that can be imported as it is, the
# report may speak of it: these stand in the database and on its pages.
WORD = re.compile(r"[A-Za-z0-9_$./#+-]+")


@pytest.mark.parametrize("name", FORMATS)
def test_no_error_repeats_a_word_of_the_file_whichever_place_it_stands_in(name):
    good = GOOD[name]
    for place in WORD.finditer(good):
        for secret in (PASSWORD, MOSQUITTO, PASSWORD[0].lower() + PASSWORD[1:], f"${{{PASSWORD}}}"):
            changed = good[: place.start()] + secret + good[place.end() :]
            found = [one for one in reading(name, changed, **OPTIONS) if isinstance(one, Finding)]
            wrong = [one for one in found if one.kind in (Kind.ERROR, Kind.REFUSED, Kind.REMARK)]
            assert not traces(repr([(one.field, one.reason) for one in wrong]), *SECRETS), (changed, wrong)


ROW = {
    "client_id_binding": PASSWORD,
    "networks": [PASSWORD],
    "valid_from": PASSWORD,
    "valid_until": PASSWORD,
    "attributes": {f"{PASSWORD} x": "berlin"},
    "description": PASSWORD * 20,
    "certificate_cn": PASSWORD * 40,
    "policies": [PASSWORD],
    "credentials": [{"kind": "password", "encoded": BCRYPT, "expires_at": PASSWORD}],
}


@pytest.mark.django_db
@pytest.mark.parametrize("field", ROW)
def test_a_device_that_is_refused_is_not_repeated(field):
    said = imported("fleet-jsonl", json.dumps({"type": "device", "username": "u1", field: ROW[field]}))
    assert "refused" in said
    assert "u1" in said
    assert not traces(said, PASSWORD), said


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["client_id_binding", "networks", "valid_from", "enabled", "attr.a b"])
def test_a_cell_in_the_wrong_column_is_not_repeated(column):
    said = imported("devices-csv", f"username,{column}\nu1,{PASSWORD}\n")
    assert "refused" in said or "error" in said
    assert not traces(said, PASSWORD), said


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("mosquitto-acl", f"user u1\nu1:{MOSQUITTO}\n", 2, ("topic, user or pattern", "such as")),
        ("emqx-acl-conf", f"%% x\nu1:{MOSQUITTO}\n", 2, ("Erlang", "column 3", "{allow, ")),
        ("go-auth-users-csv", f"{PASSWORD},x\n", 1, ("“username” is missing", "such as")),
        ("devices-csv", f"username,{PASSWORD}\n", 1, ("column 2", "certificate_cn")),
        ("fleet-jsonl", f'{{"type": "group", "name": "a", "{PASSWORD}": 1}}\n', 1, ("member 3", "known")),
        ("vernemq-json", f'[{{"a": 1,\n"{PASSWORD}": 1, "{PASSWORD}": 2}}]', 1, ("2 and 3", "same name")),
    ],
)
def test_an_error_names_the_format_the_place_what_is_expected_and_an_example(name, content, line, words):
    [error] = [one for one in reading(name, content, **OPTIONS) if isinstance(one, Finding)]
    assert (error.kind, error.line) == (Kind.ERROR, line)
    for word in (*words, FORMATS[name].title, FORMATS[name].example):
        assert word in str(error), str(error)


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_of_an_error_can_be_read(name):
    example = FORMATS[name].example
    found = reading(name, example.replace(" ⏎ ", "\n"), **OPTIONS)
    wrong = [one.kind for one in found if isinstance(one, Finding) and one.kind is not Kind.REMARK]
    # Only the hash that is too long to show cannot be read.
    assert found
    assert wrong == ([Kind.REFUSED] if "…" in example else [])


@pytest.mark.django_db
def test_the_command_repeats_nothing_and_keeps_nothing(tmp_path, caplog):
    file = tmp_path / "passwd"
    file.write_text(FILES["mosquitto-passwords"])
    services.create_device("u1")
    out = io.StringIO()
    report = tmp_path / "report.csv"
    with caplog.at_level(logging.DEBUG), pytest.raises(CommandError) as refused:
        call_command("import", "mosquitto-acl", str(file), report=str(report), stdout=out, stderr=out)
    said = out.getvalue() + report.read_text() + str(refused.value) + caplog.text
    assert "line 1" in said
    assert "ACL file of Mosquitto" in said
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            said += repr(cursor.fetchall())
    assert not traces(said, *SECRETS)
