"""Tables and files of other brokers: mqtt_acl, ban list, Mosquitto, mosquitto-go-auth, VerneMQ."""

import json
from datetime import UTC, datetime

import pytest

from accounts.core.binding import Binding
from accounts.passwords import password_matches
from exhookadmin.fleet.records import Kind
from tests.fleet.reading import devices, errors, findings, reading, rules, shown
from tests.fleet.vectors import BCRYPT, VECTORS

BY_NAME = {vector.name: vector for vector in VECTORS}
HEADER = "id,allow,ipaddr,username,clientid,access,topic\n"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1,1,,$all,,1,$SYS/#", "everyone: allow subscribe $SYS/#"),
        ("1,0,NULL,$all,NULL,3,eq #", "everyone: deny all eq #"),
        ("1,1,127.0.0.1,,,3,#", "everyone: allow all # from 127.0.0.1/32"),
        ("1,1,10.0.0.5/8,\\N,,2,a", "everyone: allow publish a from 10.0.0.0/8"),
        ("1,1,,u1,,3,dev/%u/%c/#", "device u1: allow all dev/${username}/${clientid}/#"),
        ("1,0,,,c1,2,a", "client id c1: deny publish a"),
        ("1,0,10.0.0.0/8,u1,c1,2,a", "device u1 and client id c1: deny publish a from 10.0.0.0/8"),
        # $all wins over everything else in its row, as in EMQX 4
        ("1,0,10.0.0.0/8,$all,c1,2,a", "everyone: deny publish a"),
    ],
)
def test_mqtt_acl(row, expected):
    found = reading("emqx-mqtt-acl-csv", HEADER + row + "\n")
    assert findings(found) == []
    assert [shown(rule) for rule in rules(found)] == [expected]


def test_mqtt_acl_is_a_list_in_which_the_first_match_decides():
    rows = HEADER + "".join(f"{number},1,,u{number},,3,t\n" for number in range(3))
    assert [
        (rule.line, rule.priority) for rule in rules(reading("emqx-mqtt-acl-csv", rows, priority=10))
    ] == [
        (2, 10),
        (3, 9),
        (4, 8),
    ]


def test_mqtt_acl_as_json():
    row = {
        "id": 1,
        "allow": 0,
        "ipaddr": None,
        "username": "$all",
        "clientid": None,
        "access": 1,
        "topic": "eq #",
    }
    found = reading("emqx-mqtt-acl-json", json.dumps([row]))
    assert [shown(rule) for rule in rules(found)] == ["everyone: deny subscribe eq #"]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("1,2,,$all,,1,a", "allow"),
        ("1,,,$all,,1,a", "allow"),
        ("1,1,,$all,,4,a", "access"),
        ("1,1,,,,1,a", "username"),
        ("1,1,here,,,1,a", "ipaddr"),
        ("1,1,,$all,,1,a#", "topic"),
        ("1,1,,$all,,1,", "topic"),
    ],
)
def test_mqtt_acl_refuses(row, field):
    [(line, text)] = errors(reading("emqx-mqtt-acl-csv", HEADER + row + "\n"))
    assert (line, text.partition(":")[0]) == (2, field)


def test_a_placeholder_of_emqx_5_is_plain_text_in_mqtt_acl():
    found = reading("emqx-mqtt-acl-csv", HEADER + "1,0,,$all,,1,a/${clientid}/b\n")
    [wider] = findings(found, Kind.DENY_WIDER)
    assert [shown(rule) for rule in wider.instead] == ["everyone: deny subscribe a/+/b"]


BANS = "as,who,reason,at,until,by\n"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "row",
    [
        "username,u1,bad,2026-01-01T00:00:00Z,infinity,admin",
        "username,u1,bad,2026-01-01T00:00:00+01:00,,admin",
        "username,u1,,,,",
    ],
)
def test_a_username_that_is_banned_for_ever_is_disabled(row):
    [device] = devices(reading("emqx-banned-csv", BANS + row + "\n", now=NOON))
    assert (device.username, device.values, device.must_exist) == ("u1", {"enabled": False}, True)


@pytest.mark.parametrize("kind", ["username", "clientid", "peerhost"])
def test_a_ban_that_is_over_is_left_out(kind):
    found = reading(
        "emqx-banned-csv", BANS + f"{kind},u1,bad,2026-01-01T00:00:00Z,2026-03-01T12:00:00Z,a\n", now=NOON
    )
    assert [one.kind for one in findings(found)] == [Kind.REMARK]
    assert devices(found) == []


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("clientid,c1,,,infinity,", "as"),
        ("peerhost,192.0.2.7,,,infinity,", "as"),
        ("clientid_re,^x,,,infinity,", "as"),
        ("username_re,^x,,,infinity,", "as"),
        ("peerhost_net,192.0.2.0/24,,,infinity,", "as"),
        ("username,u1,,,2027-01-01T00:00:00Z,", "until"),
        ("username,u1,,2027-01-01T00:00:00Z,infinity,", "until"),
        ("user,u1,,,infinity,", "as"),
        ("username,,,,infinity,", "who"),
        ("username,u1,,,never,", "until"),
        ("username,u1,,,2027-01-01,", "until"),
        ("username,u1,,,2027-01-01T00:00:00,", "until"),
    ],
)
def test_a_ban_that_cannot_be_kept_is_an_error_and_stays_in_emqx(row, field):
    [(line, text)] = errors(reading("emqx-banned-csv", BANS + row + "\n", now=NOON))
    assert (line, text.partition(":")[0]) == (2, field)


@pytest.mark.parametrize(
    "name", ["mosquitto sha512", "mosquitto pbkdf2", "argon2id", "go-auth pbkdf2", "emqx bcrypt"]
)
def test_a_password_file(name):
    vector = BY_NAME[name]
    [device] = devices(reading("mosquitto-passwords", f"# comment\n\nalice:{vector.encoded}\n"))
    assert (device.line, device.username) == (3, "alice")
    assert device.credentials[0].encoded == vector.encoded
    assert password_matches(device.credentials[0].encoded, vector.password)
    assert vector.encoded not in repr(device)


def test_a_salt_that_is_text_by_go_auths_configuration():
    line = "alice:PBKDF2$sha256$1000$plainsalt$J4y2od7dpE/VnyRjLjiUzpVxK1vHHka6BC6e534UEfM=\n"
    [device] = devices(reading("mosquitto-passwords", line, salt_encoding="utf-8"))
    assert password_matches(device.credentials[0].encoded, "password")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alice:", "no password"),
        ("alice:secret", "mosquitto_passwd -U"),
        ("alice:$7$101$QUFB", "cut off"),
        ("alice:$2b$31$" + "a" * 53, "would stall"),
    ],
)
def test_a_password_file_refuses_a_row_and_reads_the_others(line, reason):
    found = reading("mosquitto-passwords", f"{line}\nbob:{BCRYPT}\n")
    [refused] = findings(found, Kind.REFUSED)
    assert refused.line == 1
    assert reason in refused.reason
    assert "secret" not in refused.reason
    assert [device.username for device in devices(found)] == ["bob"]


@pytest.mark.parametrize("line", ["alice", ":$7$x", "just words"])
def test_a_password_file_that_is_none(line):
    assert errors(reading("mosquitto-passwords", f"bob:{BCRYPT}\n{line}\n"))[0][0] == 2


MOSQUITTO_ACL = """\
# for nobody in particular
topic read $SYS/#
user alice
topic a/#
topic  write  b/c d/+
topic deny a/secret
user bob the builder
topic read ${x}/y
pattern readwrite dev/%u/%c/#
pattern deny dev/+/+/private
topic deny %c
"""


def test_a_mosquitto_acl_file():
    found = reading("mosquitto-acl", MOSQUITTO_ACL)
    assert [(rule.line, rule.priority, shown(rule)) for rule in rules(found)] == [
        (4, -1, "device alice: allow all a/#"),
        (5, -1, "device alice: allow publish b/c d/+"),
        (6, 0, "device alice: deny all a/secret"),
        (9, -3, "everyone: allow all dev/${username}/${clientid}/#"),
        (10, -2, "everyone: deny all dev/+/+/private"),
        (11, 0, "device bob the builder: deny all %c"),
    ]
    assert [(one.kind, one.line) for one in findings(found)] == [(Kind.ALLOW_LOST, 2), (Kind.ALLOW_LOST, 8)]


def test_a_deny_for_clients_without_a_name_can_only_be_for_everyone():
    [wider] = findings(reading("mosquitto-acl", "topic deny a/#\n"))
    assert wider.kind == Kind.DENY_WIDER
    assert [shown(rule) for rule in wider.instead] == ["everyone: deny all a/#"]


@pytest.mark.parametrize(
    "line", ["topic", "user", "pattern", "topics a", "allow a", "topic maybe a", "topic a/#/b"]
)
def test_what_mosquitto_would_not_read_is_an_error(line):
    assert errors(reading("mosquitto-acl", f"user a\n{line}\n"))[0][0] == 2


def test_go_auth_users():
    vector = BY_NAME["go-auth pbkdf2"]
    content = (
        f"username,password_hash,is_admin\nu1,{vector.encoded},1\nu2,{vector.encoded},f\nu3,nonsense,0\n"
    )
    found = reading("go-auth-users-csv", content, binding=Binding.ANY)
    assert [(device.username, dict(device.values)) for device in devices(found)] == [
        ("u1", {"superuser": True, "client_id_binding": "any"}),
        ("u2", {"superuser": False, "client_id_binding": "any"}),
    ]
    assert [one.line for one in findings(found, Kind.REFUSED)] == [4]


def test_go_auth_acls_allow_a_subscription_where_reading_and_subscribing_meet():
    content = "username,topic,rw\nu,a,1\nu,b,2\nu,c/%u,3\nu,a,4\nv,a,4\nu,d,1\nu,d,1\n"
    found = reading("go-auth-acls-csv", content)
    assert [shown(rule) for rule in rules(found)] == [
        "device u: allow publish b",
        "device u: allow all c/${username}",
        "device u: allow subscribe a",
    ]
    assert [(one.kind, one.line) for one in findings(found)] == [(Kind.ALLOW_LOST, 6), (Kind.ALLOW_LOST, 8)]


@pytest.mark.parametrize("row", ["u,a,5", "u,a,", ",a,1", "u,a#,1"])
def test_go_auth_acls_refuse(row):
    assert errors(reading("go-auth-acls-csv", f"username,topic,rw\n{row}\n"))[0][0] == 2


VERNEMQ = {
    "mountpoint": "m1",
    "client_id": "c1",
    "username": "u1",
    "password": BCRYPT,
    "publish_acl": [
        {"pattern": "a/+"},
        {"pattern": "%m/%u/%c/#", "max_qos": 2, "allowed_retain": True},
        {"pattern": "a/+", "max_qos": 1, "allowed_retain": False, "modifiers": {"topic": "b"}},
    ],
    "subscribe_acl": [{"pattern": "b/#"}],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [("vernemq-json", json.dumps([VERNEMQ])), ("vernemq-jsonl", json.dumps(VERNEMQ) + "\n")],
)
def test_vernemq(name, content):
    found = reading(name, content)
    [device] = devices(found)
    assert device.values == {"client_id_binding": "exact", "client_id": "c1"}
    assert device.credentials[0].encoded == BCRYPT
    assert [shown(rule) for rule in rules(found)] == [
        "device u1: allow publish a/+",
        "device u1: allow publish m1/${username}/${clientid}/#",
        "device u1: allow subscribe b/#",
    ]
    [lost] = findings(found)
    assert (lost.kind, lost.field) == (Kind.ALLOW_LOST, "publish_acl[2]")
    for words in ("max_qos 1", "allowed_retain false", "modifiers"):
        assert words in lost.reason


@pytest.mark.parametrize(
    ("client_id", "values"),
    [
        ("u1", {"client_id_binding": "equals_username", "client_id": ""}),
        ("*", {"client_id_binding": "any"}),
        ("c1", {"client_id_binding": "exact", "client_id": "c1"}),
    ],
)
def test_vernemq_binds_the_device_to_its_client_id(client_id, values):
    row = {"client_id": client_id, "username": "u1"}
    [device] = devices(reading("vernemq-json", json.dumps([row]), binding=Binding.ANY))
    assert device.values == values


@pytest.mark.parametrize(
    "changed",
    [
        {"username": ""},
        {"client_id": None},
        {"publish_acl": 5},
        {"publish_acl": [5]},
        {"publish_acl": [{}]},
        {"publish_acl": [{"pattern": "a#"}]},
        {"publish_acl": [{"pattern": "a", "max_qos": "1"}]},
        {"publish_acl": [{"pattern": "a", "surprise": 1}]},
        {"surprise": 1},
    ],
    ids=str,
)
def test_vernemq_refuses_another_shape(changed):
    assert len(errors(reading("vernemq-json", json.dumps([VERNEMQ | changed])))) == 1
