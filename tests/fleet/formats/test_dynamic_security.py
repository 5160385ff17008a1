"""Mosquitto's dynamic-security.json."""

import json

import pytest

from accounts.passwords import password_matches
from exhookadmin.fleet.records import GroupRecord, Kind, PolicyRecord
from tests.fleet.reading import devices, errors, findings, reading, rules, shown

SALT, KEY = (
    "MDEyMzQ1Njc4OWFi",
    "EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==",
)
ALL_TYPES = [
    {"acltype": "publishClientSend", "topic": "up/%u/#", "priority": 0, "allow": True},
    {"acltype": "publishClientSend", "topic": "up/+/secret", "priority": 5, "allow": False},
    {"acltype": "publishClientReceive", "topic": "down/#", "priority": 0, "allow": True},
    {"acltype": "subscribeLiteral", "topic": "down/#", "priority": -1, "allow": True},
    {"acltype": "subscribePattern", "topic": "down/%c/#", "priority": 3, "allow": True},
    {"acltype": "unsubscribeLiteral", "topic": "#", "priority": 0, "allow": True},
    {"acltype": "unsubscribePattern", "topic": "#", "priority": 0, "allow": True},
]
NO_DEFAULTS = {
    "publishClientSend": False,
    "publishClientReceive": True,
    "subscribe": False,
    "unsubscribe": True,
}
EXAMPLE = {
    "defaultACLAccess": NO_DEFAULTS,
    "clients": [
        {
            "username": "alice",
            "clientid": "a-1",
            "textname": "Alice",
            "textdescription": "works here",
            "password": KEY,
            "salt": SALT,
            "iterations": 101,
            "roles": [{"rolename": "special", "priority": 1}],
            "groups": [{"groupname": "staff", "priority": 2}],
        },
        {"username": "bob", "disabled": True, "roles": []},
    ],
    "groups": [
        {
            "groupname": "staff",
            "roles": [{"rolename": "common", "priority": 1}],
            "clients": [{"username": "bob"}],
        }
    ],
    "roles": [
        {"rolename": "common", "acls": ALL_TYPES},
        {"rolename": "special", "acls": [{"acltype": "publishClientSend", "topic": "x", "allow": True}]},
    ],
}


def read(document, **options):
    return reading("mosquitto-dynamic-security", json.dumps(document), **options)


def test_clients_are_devices():
    found = read(EXAMPLE)
    assert errors(found) == []
    alice, bob = devices(found)
    assert alice.values == {
        "enabled": True,
        "description": "Alice – works here",
        "client_id_binding": "exact",
        "client_id": "a-1",
    }
    assert (alice.groups, bob.groups) == (("staff",), ("staff",))
    assert password_matches(alice.credentials[0].encoded, "secret")
    assert (bob.values, bob.credentials) == ({"enabled": False}, ())
    assert [one.name for one in found if isinstance(one, GroupRecord)] == ["staff"]


def test_roles_are_policies_with_their_rules_in_mosquittos_order():
    found = read(EXAMPLE)
    policies = {one.name: one for one in found if isinstance(one, PolicyRecord)}
    assert (policies["test: common"].groups, policies["test: common"].devices) == (("staff",), ())
    assert (policies["test: special"].groups, policies["test: special"].devices) == ((), ("alice",))
    assert not any(policy.everyone for policy in policies.values())
    common = [rule for rule in rules(found) if rule.subject.policy == "test: common"]
    in_order = sorted(common, key=lambda rule: -rule.priority)
    assert [shown(rule).partition(": ")[2].partition(": ")[2] for rule in in_order] == [
        "allow subscribe eq down/#",
        "deny publish up/+/secret",
        "allow subscribe down/${clientid}/#",
        "allow publish up/${username}/#",
    ]
    assert findings(found, Kind.ALLOW_LOST, Kind.DENY_WIDER, Kind.ERROR) == []


def clashing(first, second):
    """Two clients who have two roles, which allow and deny, in these orders."""
    allow = {"rolename": "yes", "acls": [{"acltype": "publishClientSend", "topic": "a", "allow": True}]}
    deny = {"rolename": "no", "acls": [{"acltype": "publishClientSend", "topic": "#", "allow": False}]}
    clients = [
        {
            "username": f"u{number}",
            "roles": [{"rolename": name, "priority": -place} for place, name in enumerate(order)],
        }
        for number, order in enumerate((first, second))
    ]
    return {"clients": clients, "roles": [allow, deny]}


@pytest.mark.parametrize("order", [("yes", "no"), ("no", "yes")])
def test_roles_get_the_order_that_every_client_has(order):
    by_role = {rule.subject.policy: rule.priority for rule in rules(read(clashing(order, order)))}
    first, second = (f"test: {name}" for name in order)
    assert by_role[first] > by_role[second]


def test_roles_that_clients_have_in_different_order_are_refused_when_it_matters():
    [(_, text)] = errors(read(clashing(("yes", "no"), ("no", "yes"))))
    assert "roles[0] and roles[1] allow and deny" in text


def test_the_order_of_roles_that_only_allow_does_not_matter():
    document = clashing(("yes", "no"), ("no", "yes"))
    document["roles"][1]["acls"][0]["allow"] = True
    assert errors(read(document)) == []


def test_a_clients_own_roles_come_before_those_of_his_groups_whatever_their_priority():
    document = clashing(("yes",), ())
    document["clients"][0]["groups"] = [{"groupname": "g", "priority": 100}]
    document["groups"] = [{"groupname": "g", "roles": [{"rolename": "no", "priority": 100}]}]
    by_role = {rule.subject.policy: rule.priority for rule in rules(read(document))}
    assert by_role["test: yes"] > by_role["test: no"]


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({}, []),
        ({"publishClientReceive": True}, []),
        ({"publishClientSend": True}, ["allow publish #"]),
        ({"subscribe": True, "publishClientReceive": True}, ["allow subscribe #"]),
        ({"subscribe": True, "publishClientReceive": False}, []),
    ],
)
def test_default_access_is_the_last_rule_of_all(defaults, expected):
    found = read({"defaultACLAccess": defaults, "roles": EXAMPLE["roles"]})
    everyone = [one.name for one in found if isinstance(one, PolicyRecord) and one.everyone]
    assert everyone == (["test: default access"] if expected else [])
    last = [rule for rule in rules(found) if rule.subject.policy in everyone]
    assert [shown(rule).split(": ")[-1] for rule in last] == expected
    assert all(rule.priority < min(r.priority for r in rules(found) if r not in last) for rule in last)


def role(**acl):
    return {"roles": [{"rolename": "r", "acls": [{"topic": "a/#", **acl}]}], "defaultACLAccess": NO_DEFAULTS}


def test_a_denied_delivery_can_only_become_a_denied_subscription():
    [wider] = findings(read(role(acltype="publishClientReceive", allow=False)))
    assert wider.kind == Kind.DENY_WIDER
    assert [shown(rule) for rule in wider.instead] == ["policy test: r: deny subscribe a/#"]
    assert wider.instead[0].priority == 1


def test_a_denied_unsubscribe_cannot_be_kept_in_any_way():
    [(_, text)] = errors(read(role(acltype="unsubscribePattern", allow=False)))
    assert "unsubscribe" in text


def test_a_subscription_whose_messages_would_not_be_delivered_is_not_allowed():
    document = role(acltype="subscribePattern", allow=True) | {"defaultACLAccess": {}}
    [lost] = findings(read(document))
    assert lost.kind == Kind.ALLOW_LOST
    document["roles"][0]["acls"].append({"acltype": "publishClientReceive", "topic": "a/#", "allow": True})
    assert findings(read(document)) == []


def test_wildcards_that_a_role_may_not_subscribe_to_are_not_allowed():
    document = role(acltype="subscribePattern", allow=True)
    document["roles"][0]["allowwildcardsubs"] = False
    [lost] = findings(read(document))
    assert "allowwildcardsubs" in lost.reason


def test_the_anonymous_group_is_remarked_upon():
    [remark] = findings(read(EXAMPLE | {"clients": [], "anonymousGroup": "staff"}))
    assert (remark.kind, remark.field) == (Kind.REMARK, "anonymousGroup")


@pytest.mark.parametrize(
    "document",
    [
        {"surprise": [1]},
        {"clients": [{"username": ""}]},
        {"clients": [5]},
        {"clients": [{"username": "u", "roles": [{"rolename": "missing"}]}]},
        {"clients": [{"username": "u", "groups": [{"groupname": "missing"}]}]},
        {"clients": [{"username": "u", "disabled": "yes"}]},
        {"groups": [{"groupname": "g", "roles": [{"rolename": "missing"}]}]},
        {"groups": [{"groupname": "g"}, {"groupname": "g"}]},
        {"roles": [{"rolename": "r"}, {"rolename": "r"}]},
        {"roles": [{"rolename": "r", "acls": [{"acltype": "publish", "topic": "a"}]}]},
        {"roles": [{"rolename": "r", "acls": [{"acltype": "subscribePattern", "topic": "a#"}]}]},
        {"defaultACLAccess": {"subscribe": "yes"}},
    ],
    ids=str,
)
def test_what_is_no_dynamic_security_file_is_an_error(document):
    assert len(errors(read(document))) == 1


def test_a_hash_that_no_login_could_verify_refuses_the_client():
    client = {"username": "u", "password": KEY, "salt": SALT, "iterations": 10**9}
    found = read({"clients": [client, {"username": "v"}]})
    assert [one.line for one in findings(found, Kind.REFUSED)] == [1]
    assert [device.username for device in devices(found)] == ["v"]
