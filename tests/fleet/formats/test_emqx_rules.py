"""EMQX's built-in database: rules of users, client ids and everyone, as its REST API has them."""

import json

import pytest

from exhookadmin.fleet.records import Kind, SubjectRules
from tests.fleet.reading import errors, findings, reading, rules, shown

USERS = """\
[ {"username":"user1","rules":[
    {"permission":"allow","action":"publish","topic":"sensors/${username}/#","qos":["0","1"],"retain":"all"},
    {"permission":"deny","action":"all","topic":"eq test/#",
     "ipaddr":"192.168.5.0/24","clientid_re":"^dev-[0-9]+$"}
]} ]
"""


def read(content, **options):
    text = content if isinstance(content, str) else json.dumps(content)
    return reading("emqx-rules-json", text, **options)


def one(rule):
    return read([{"username": "u", "rules": [{"permission": "deny", "action": "all", "topic": "t"} | rule]}])


def test_the_example_loses_a_condition_in_both_rules():
    found = read(USERS)
    assert errors(found) == []
    assert rules(found) == []
    lost, wider = findings(found)
    assert (lost.kind, lost.line, lost.field) == (Kind.ALLOW_LOST, 1, "rules[0]")
    assert "QoS 0 or 1" in lost.reason
    assert (wider.kind, wider.line, wider.field) == (Kind.DENY_WIDER, 1, "rules[1]")
    assert "“^dev-[0-9]+$”" in wider.reason
    assert [shown(rule) for rule in wider.instead] == ["device user1: deny all eq test/# from 192.168.5.0/24"]


def test_lists_of_client_ids_come_before_those_of_users_before_that_of_everyone():
    """emqx_authz_mnesia: the rules of the client id, then those of the username, then all."""
    rule = {"permission": "allow", "action": "all", "topic": "t"}
    users = rules(read([{"username": "u", "rules": [rule, rule]}]))
    clients = rules(read([{"clientid": "c", "rules": [rule, rule]}]))
    everyone = rules(read({"rules": [rule, rule]}))
    assert [shown(one) for one in (users[0], clients[0], everyone[0])] == [
        "device u: allow all t",
        "client id c: allow all t",
        "everyone: allow all t",
    ]
    assert [one.priority for one in (*clients, *users, *everyone)] == [
        200_000,
        199_999,
        100_000,
        99_999,
        0,
        -1,
    ]


def test_a_list_is_one_record():
    rule = {"permission": "allow", "action": "all", "topics": ["a", "eq b/#"]}
    [both] = read([{"username": "u", "rules": [rule, rule]}])
    assert isinstance(both, SubjectRules)
    assert len(both.rules) == 4
    [everyone] = read({"rules": [rule, rule]})
    assert isinstance(everyone, SubjectRules)
    assert len(everyone.rules) == 4


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "device u: deny all t"),
        ({"permission": "allow"}, "device u: allow all t"),
        ({"action": "publish"}, "device u: deny publish t"),
        ({"action": "pub"}, "device u: deny publish t"),
        ({"action": "subscribe"}, "device u: deny subscribe t"),
        ({"action": "sub"}, "device u: deny subscribe t"),
        ({"topic": ["t"]}, "device u: deny all t"),
        ({"topic": "eq a/#"}, "device u: deny all eq a/#"),
        (
            {"topic": "${clientid}/${username}/${cert_common_name}"},
            "device u: deny all ${clientid}/${username}/${cn}",
        ),
        ({"qos": None}, "device u: deny all t"),
        ({"qos": [0, 1, 2]}, "device u: deny all t"),
        ({"qos": "0,1,2"}, "device u: deny all t"),
        ({"retain": None}, "device u: deny all t"),
        ({"retain": "all"}, "device u: deny all t"),
        ({"action": "sub", "retain": True}, "device u: deny subscribe t"),
        ({"ipaddr": "10.0.0.0/8"}, "device u: deny all t from 10.0.0.0/8"),
        ({"username_re": "^u$"}, "device u: deny all t"),
        ({"clientid_re": "^c$"}, "device u and client id c: deny all t"),
        ({"username_re": None, "zone": None}, "device u: deny all t"),
    ],
    ids=str,
)
def test_rule(rule, expected):
    found = one(rule)
    assert errors(found) == []
    assert [shown(rule) for rule in rules(found)] == [expected]


@pytest.mark.parametrize(
    ("rule", "lost"),
    [
        ({"qos": 0}, "QoS 0"),
        ({"qos": "1"}, "QoS 1"),
        ({"qos": "0,1"}, "QoS 0 or 1"),
        ({"qos": [0, "2"]}, "QoS 0 or 2"),
        ({"retain": True}, "retain true"),
        ({"retain": "false"}, "retain false"),
        ({"retain": 1}, "retain true"),
        ({"retain": "0"}, "retain false"),
        ({"username_re": "^dev-"}, "username pattern"),
        ({"clientid_re": "^dev-"}, "client id pattern"),
        ({"zone": "z"}, "zone “z”"),
        ({"zone_re": "^z"}, "zone_re “^z”"),
        ({"listener": "tcp:default"}, "listener “tcp:default”"),
        ({"listener_re": "^tcp"}, "listener_re “^tcp”"),
        ({"topic": "${client_attrs.site}/x"}, "“${client_attrs.site}”"),
        ({"topic": "${zone}/x"}, "“${zone}”"),
    ],
    ids=str,
)
def test_what_cannot_be_kept(rule, lost):
    [wider] = findings(one(rule))
    assert wider.kind == Kind.DENY_WIDER
    assert lost in wider.reason
    [left] = findings(one(rule | {"permission": "allow"}))
    assert (left.kind, left.instead) == (Kind.ALLOW_LOST, ())


def test_a_pattern_that_contradicts_the_user_never_matches():
    assert rules(one({"username_re": "^other$"})) == []


@pytest.mark.parametrize("key", ["username", "clientid", "Topic", "peer"])
def test_a_key_that_emqx_ignores_is_remarked_upon(key):
    found = one({key: "x"})
    [remark] = findings(found)
    assert (remark.kind, remark.field) == (Kind.REMARK, "rules[0]")
    assert "ignores member 4 of this rule" in remark.reason
    assert [shown(rule) for rule in rules(found)] == ["device u: deny all t"]


def test_the_old_shape_only_allows():
    old = {"pub": ["a/#"], "sub": ["b/#"], "all": ["c"]}
    expected = ["allow publish a/#", "allow subscribe b/#", "allow all c"]
    for document, subject in [
        ([{"username": "u", "rules": old}], "device u"),
        ({"rules": old}, "everyone"),
        (old, "everyone"),
    ]:
        assert [shown(rule) for rule in rules(read(document))] == [f"{subject}: {text}" for text in expected]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"permission": "maybe"}, "rules[0].permission"),
        ({"permission": ""}, "rules[0].permission"),
        ({"action": "write"}, "rules[0].action"),
        ({"topic": None}, "rules[0].topic"),
        ({"topic": 5}, "rules[0].topic"),
        ({"topic": "a/#/b"}, "rules[0].topic"),
        ({"topic": "$queue/a"}, "rules[0].topic"),
        ({"qos": 3}, "rules[0].qos"),
        ({"qos": "0;1"}, "rules[0].qos"),
        ({"qos": True}, "rules[0].qos"),
        ({"retain": "maybe"}, "rules[0].retain"),
        ({"retain": 2}, "rules[0].retain"),
        ({"ipaddr": "10.0.0.0/99"}, "rules[0].ipaddr"),
        ({"zone": 4}, "rules[0].zone"),
    ],
    ids=str,
)
def test_a_wrong_value_is_an_error_with_its_field(rule, field):
    [(line, text)] = errors(one(rule))
    assert line == 1
    assert text.startswith(field + ": ")


@pytest.mark.parametrize(
    "document",
    [
        [{"rules": []}],
        [{"username": "u"}],
        [{"username": "u", "clientid": "c", "rules": []}],
        [{"username": "", "rules": []}],
        [{"username": "u", "rules": 5}],
        [{"username": "u", "rules": [5]}],
        [{"username": "u", "rules": {"pubs": []}}],
        {"user": [1]},
        [5],
    ],
    ids=str,
)
def test_another_shape_is_an_error(document):
    assert len(errors(read(document))) == 1


CLOUD = "{},topic,action,access\nu1,a/#,pub,allow\nu1,b,sub,deny\nu2,eq c/#,pubsub,allow\n"


@pytest.mark.parametrize(("column", "subject"), [("username", "device"), ("clientid", "client id")])
def test_emqx_cloud(column, subject):
    read = rules(reading("emqx-cloud-csv", CLOUD.format(column)))
    assert [(rule.priority, shown(rule)) for rule in read] == [
        (0, f"{subject} u1: allow publish a/#"),
        (-1, f"{subject} u1: deny subscribe b"),
        (-2, f"{subject} u2: allow all eq c/#"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "topic,action,access\na,pub,allow\n",
        "clientid,username,topic,action,access\na,b,c,pub,allow\n",
        "username,topic,action,access\nu,a,publish,allow\n",
        "username,topic,action,access\nu,a,pub,yes\n",
        "username,topic,action,access\n,a,pub,allow\n",
        "username,topic,action,access\nu,a#,pub,allow\n",
    ],
)
def test_emqx_cloud_refuses(content):
    assert len(errors(reading("emqx-cloud-csv", content))) == 1
