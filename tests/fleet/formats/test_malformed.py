"""Whatever is wrong with a file, of whatever format: one error with its line, and nothing else raises."""

import gzip
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhookadmin.fleet.formats.known import FORMATS, read
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.text_lines import LINE_BYTES
from exhookadmin.fleet.records import Finding, Kind
from tests.fleet.reading import BEYOND_ANY_LINE, devices, errors, reading

SALTED = "b6c743545a7817ae8c8f624371d5f5f0373234bb0ff36b8ffbf19bce0e06ab75"
MOSQUITTO = "$7$101$MDEyMzQ1Njc4OWFi$" + "QUFB" * 21 + "QQ=="
GOOD = {
    "devices-csv": "username,enabled,attr.site\npump-1,true,berlin\npump-2,false,\n",
    "fleet-jsonl": '{"type": "group", "name": "pumps"}\n{"type": "device", "username": "pump-1"}\n',
    "emqx-users-csv": f"user_id,password_hash,salt,is_superuser\nu1,{SALTED},s,true\nu2,{SALTED},s,false\n",
    "emqx-users-json": f'[\n{{"user_id": "u1", "password_hash": "{SALTED}", "salt": "s"}},\n'
    f'{{"user_id": "u2", "password_hash": "{SALTED}"}}\n]\n',
    "emqx-rules-json": '[\n{"username": "u1", "rules": [\n'
    '{"permission": "allow", "action": "publish", "topic": "a/#"}]}\n]\n',
    "emqx-cloud-csv": "username,topic,action,access\nu1,a/#,pub,allow\nu1,#,pubsub,deny\n",
    "emqx-acl-conf": '%% rules\n{allow, {username, "u1"}, publish,\n  ["a/#"]}.\n{deny, all}.\n',
    "emqx-mqtt-acl-csv": "allow,ipaddr,username,clientid,access,topic\n1,,u1,,3,a/#\n0,,$all,,3,#\n",
    "emqx-mqtt-acl-json": '[\n{"allow": 1, "ipaddr": null, "username": "$all", "clientid": null, '
    '"access": 1, "topic": "a/%c"}\n]\n',
    "emqx-banned-csv": "as,who,reason,at,until,by\nusername,u1,bad,2025-01-01T00:00:00Z,infinity,admin\n",
    "mosquitto-passwords": f"u1:{MOSQUITTO}\nu2:{MOSQUITTO}\n",
    "mosquitto-acl": "# rules\nuser u1\ntopic readwrite a/#\npattern write dev/%c/#\n",
    "mosquitto-dynamic-security": '{"clients": [\n{"username": "u1", "roles": [{"rolename": "r"}]}],\n'
    '"roles": [{"rolename": "r", "acls": '
    '[{"acltype": "publishClientSend", "topic": "a/#", "allow": true}]}]}\n',
    "go-auth-users-csv": f"username,password_hash,is_admin\nu1,{MOSQUITTO},false\n",
    "go-auth-acls-csv": "username,topic,rw\nu1,a/#,3\n",
    "vernemq-json": '[\n{"client_id": "c1", "username": "u1", "publish_acl": [{"pattern": "a/+"}]}\n]\n',
    "vernemq-jsonl": '{"client_id": "c1", "username": "u1", "subscribe_acl": [{"pattern": "a/+"}]}\n',
}
OPTIONS: dict[str, Any] = {"algorithm": "sha256", "now": 1_800_000_000.0}
JSON = [name for name in FORMATS if name.endswith(("-json", "security"))]
CSV = [name for name in FORMATS if name.endswith("-csv")]
JSON_LINES = [name for name in FORMATS if name.endswith("-jsonl")]


def test_every_format_is_tried_here():
    assert GOOD.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_good_file_has_no_error(name):
    found = reading(name, GOOD[name], **OPTIONS)
    assert found
    assert errors(found) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(name):
    changed = b"\xef\xbb\xbf" + GOOD[name].replace("\n", "\r\n").encode()
    assert reading(name, changed, **OPTIONS) == reading(name, GOOD[name], **OPTIONS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_line_end_at_the_end_changes_nothing(name):
    assert reading(name, GOOD[name].rstrip("\n"), **OPTIONS) == reading(name, GOOD[name], **OPTIONS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda good: good.encode("utf-16"), "UTF-16"),
        (lambda good: good.encode("utf-32"), "UTF-32"),
        (lambda good: gzip.compress(good.encode()), "gzip"),
        (lambda good: b"PK\x03\x04" + good.encode(), "ZIP"),
    ],
    ids=["utf-16", "utf-32", "gzip", "zip"],
)
def test_another_encoding_is_named(name, changed, reason):
    [(line, text)] = errors(reading(name, changed(GOOD[name]), **OPTIONS))
    assert line == 1
    assert reason in text


@pytest.mark.parametrize("name", FORMATS)
def test_latin_1_is_refused_at_its_line(name):
    good = GOOD[name]
    second = good.index("\n") + 1
    changed = good[:second].encode() + "größe".encode("latin-1") + good[second:].encode()
    [(line, text)] = errors(reading(name, changed, **OPTIONS))
    assert line == 2
    assert "UTF-8" in text


@pytest.mark.parametrize("name", FORMATS)
def test_nul_is_refused(name):
    good = GOOD[name]
    [(line, _)] = errors(reading(name, good + "\0\n", **OPTIONS))
    assert 1 <= line <= good.count("\n") + 1


# A policy is one line of fleet-jsonl with all its rules; tests/fleet/test_backup.py has a long one.
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in (*JSON, "fleet-jsonl")])
def test_a_line_of_a_megabyte_is_refused_at_its_line(name):
    good = GOOD[name]
    found = errors(reading(name, good + "x" * BEYOND_ANY_LINE, **OPTIONS))
    [(line, text)] = found
    assert line == good.count("\n") + 1
    assert text.startswith(f": the line is longer than {LINE_BYTES:,} bytes")


@pytest.mark.parametrize("name", JSON)
def test_a_huge_value_is_refused_at_its_line(name):
    huge = GOOD[name].replace('"u1"', '"u' + "1" * 5_000_000 + '"').replace("$all", "x" * 5_000_000)
    [(line, text)] = errors(reading(name, huge, **OPTIONS))
    assert line <= 2
    assert "longer than" in text


@pytest.mark.parametrize("name", [*JSON, *JSON_LINES, "emqx-acl-conf"])
def test_a_file_that_was_cut_off_is_an_error(name):
    good = GOOD[name].rstrip()
    for end in range(len(good) - 1, 0, -3):
        # At the end of a line, JSON Lines and acl.conf are whole files again.
        if good[end - 1] in ".}" and name not in JSON:
            continue
        if good[:end].rstrip().endswith(("\n", "%% rules")) or good[end - 1] == "\n":
            continue
        if name == "emqx-acl-conf" and good[:end].lstrip("%").strip() in ("rule", "rul", "ru", "r", ""):
            continue
        found = errors(reading(name, good[:end], **OPTIONS))
        assert len(found) == 1, good[:end]
        assert 1 <= found[0][0] <= good.count("\n") + 1


@pytest.mark.parametrize("name", CSV)
@pytest.mark.parametrize(
    ("changed", "line", "reason"),
    [
        (lambda good: good + "only one cell\n", -1, "cells and the header has"),
        (lambda good: good + '"never closed\n', -1, "not CSV"),
        (lambda good: good + '"closed"too soon,x\n', -1, "not CSV"),
        (lambda good: "surprise," + good, 1, "is not known"),
        (lambda good: "id,other\n1,2\n", 1, "missing"),
        (lambda good: "", 1, "must name the columns"),
        (lambda good: good.replace(good.split(",")[0], good.split(",")[1], 1), 1, "twice"),
    ],
    ids=[
        "a cell too few",
        "quote not closed",
        "text after quote",
        "unknown column",
        "no header",
        "empty",
        "twice",
    ],
)
def test_a_csv_file_that_is_none_is_refused_at_its_line(name, changed, line, reason):
    content = changed(GOOD[name])
    [(at, text)] = errors(reading(name, content, **OPTIONS))
    assert at == (content.count("\n") if line < 0 else line)
    assert reason in text


FORMULAS = [
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    '=HYPERLINK("http://x")',
    "\t=1",
]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("name", CSV)
def test_a_formula_for_whoever_opens_the_file_next_is_refused(name, formula):
    cell = "u1" if "u1" in GOOD[name] else "pump-1"
    quoted = '"' + formula.replace('"', '""') + '"'
    changed = GOOD[name].replace(cell, quoted)
    [(line, text)] = errors(reading(name, changed, **OPTIONS))
    assert line == 2
    assert "formula" in text


@pytest.mark.parametrize("harmless", ["+49 170 1234567", "-", "+", "-7", "a=b", "pump@site", "+49", "x-1+2"])
def test_what_only_looks_a_little_like_a_formula_is_a_name(harmless):
    found = reading("devices-csv", f"username\n{harmless}\n")
    assert [device.username for device in devices(found)] == [harmless]


@pytest.mark.parametrize("name", JSON + JSON_LINES)
def test_a_name_that_an_object_has_twice_is_refused(name):
    key = next(key for key in ("username", "user_id") if f'"{key}"' in GOOD[name])
    twice = GOOD[name].replace(f'"{key}": ', f'"{key}": "x", "{key}": ', 1)
    [(line, text)] = errors(reading(name, twice, **OPTIONS))
    assert line <= 2
    assert "have the same name" in text


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "must begin with"),
        ("   \n ", "must begin with"),
        ("nothing", "must begin with"),
        ("[] []", "after the end"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[" + "9" * 5000 + "]", "absurdly large"),
        ("[" * 100_000, "too deeply"),
        ('{"a" 1}', "expected"),
        ("{1: 2}", "double quotes"),
        ('{"clients": [], "clients": []}', "members 1 and 2 of one object have the same name"),
        ('["\x01"]', "Invalid control character"),
    ],
)
def test_a_json_file_that_is_none_is_refused(name, content, reason):
    [(line, text)] = errors(reading(name, content, **OPTIONS))
    assert line >= 1
    assert reason in text


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("name", JSON)
def test_json_is_read_alike_in_chunks_of_any_size(name, chunk, monkeypatch):
    whole = reading(name, GOOD[name], **OPTIONS)
    monkeypatch.setattr("exhookadmin.fleet.formats.json_items.CHUNK_BYTES", chunk)
    assert reading(name, GOOD[name], **OPTIONS) == whole
    assert reading(name, GOOD[name].replace("u1", "ü€𝄞"), **OPTIONS)


@pytest.mark.parametrize("name", FORMATS)
@given(
    rubbish=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.text("[]{}\",:.%\\'<>$#+/ \n\t0123456789abcdeftrue", max_size=200).map(str.encode),
    ),
    place=st.integers(0, 300),
    length=st.integers(0, 40),
)
def test_rubbish_gives_findings_with_lines_and_nothing_else(name, rubbish, place, length):
    good = GOOD[name].encode()
    place %= len(good)
    for content in (rubbish, good[:place] + rubbish + good[place + length :]):
        found = list(read(FORMATS[name], io.BytesIO(content), Options(name="test", **OPTIONS)))
        bad = [one for one in found if isinstance(one, Finding) and one.kind == Kind.ERROR]
        lines = content.count(b"\n") + 1
        assert all(1 <= one.line <= lines for one in bad), bad
        assert all(one.reason for one in bad)
