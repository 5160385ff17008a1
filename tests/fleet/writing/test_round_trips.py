"""What is written is read as what it was, for everything that a format can hold."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.principal import CredentialKind
from accounts.core.tokens import encode_token, generate_token
from accounts.stored_hashes import emqx_hash, read_hash
from acl.core.rules import Action, Effect, rule_filter_problem
from exhookadmin.fleet.records import (
    CredentialRecord,
    DeviceRecord,
    Finding,
    GroupRecord,
    Kind,
    PolicyRecord,
    Record,
    RuleRecord,
    Subject,
    SubjectRules,
)
from exhookadmin.fleet.writing.known import TARGETS
from tests.fleet.reading import devices, findings, rules, shown
from tests.fleet.vectors import BCRYPT
from tests.fleet.writing.fleets import device, fleet, lost, read_again, rule, written

SALTED = hashlib.sha256(b"sword").hexdigest()
EMQX = CredentialRecord(encoded=f"emqx$sha256$prefix$s${SALTED}")
PBKDF2 = "$7$101$MDEyMzQ1Njc4OWFi$" + "QUFB" * 21 + "QQ=="
MOSQUITTO = CredentialRecord(encoded=PBKDF2)
RULES = [
    rule("deny publish secret/#", priority=5),
    rule("allow publish up/+/x", priority=4),
    rule("allow subscribe down/#", priority=3),
    rule("allow all both", priority=2),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NAME = TEXT.filter(bool)
FILTER = st.one_of(
    st.sampled_from(["#", "+/a", "up/${clientid}/#", "${attr.site}/x", "$SYS/#", "ü/\u2028"]),
    st.lists(NAME.filter(lambda text: not set(text) & set("/+#$")), min_size=1, max_size=3).map("/".join),
).filter(lambda text: rule_filter_problem(text) is None)


def some_rules(subject: Subject) -> st.SearchStrategy[tuple[RuleRecord, ...]]:
    one = st.builds(
        RuleRecord,
        line=st.just(0),
        subject=st.just(subject),
        effect=st.sampled_from(Effect),
        action=st.sampled_from(Action),
        topic_filter=FILTER,
        literal=st.booleans(),
        networks=st.sampled_from([(), ("10.0.0.0/8",), ("192.0.2.7/32", "2001:db8::/32")]),
        priority=st.integers(-9, 9),
        enabled=st.booleans(),
        note=TEXT,
    )
    return st.lists(one, max_size=3).map(tuple)


def without_lines(one: Any) -> Any:
    """The record as if it had no place in a file."""
    if isinstance(one, DeviceRecord):
        one = dataclasses.replace(one, rules=tuple(map(without_lines, one.rules or ())))
    if isinstance(one, SubjectRules):
        one = dataclasses.replace(one, rules=tuple(map(without_lines, one.rules)))
    return dataclasses.replace(one, line=0)


@given(
    name=NAME,
    description=TEXT,
    attributes=st.dictionaries(st.sampled_from(["a", "b"]), TEXT),
    groups=st.lists(NAME, max_size=2).map(tuple),
    own=some_rules(Subject(username="p1")),
    shared=some_rules(Subject(policy="base")),
)
def test_own_lines(name, description, attributes, groups, own, shared):
    token = CredentialRecord(CredentialKind.TOKEN, encode_token("exh_" + "a" * 32), label=description)
    late = dataclasses.replace(EMQX, enabled=False, expires_at="2030-01-01T00:00:00Z")
    made = dataclasses.replace(
        device("p1", token, late, description=description, attributes=attributes, groups=groups), rules=own
    )
    before: list[Record] = [
        GroupRecord(0, name, description),
        PolicyRecord(0, "base", description, enabled=True, everyone=False, groups=groups),
        SubjectRules(0, Subject(policy="base"), shared),
    ]
    content, unsaid = written("fleet-jsonl", fleet(made, shared=before))
    again = read_again("fleet-jsonl", content)
    assert [without_lines(one) for one in again] == [*before, made]
    assert unsaid == []


@given(
    description=TEXT,
    attributes=st.dictionaries(st.sampled_from(["a", "b"]), NAME),
    groups=st.lists(NAME, max_size=2).map(tuple),
)
def test_own_csv_is_read_as_it_was_or_the_device_is_left_out(description, attributes, groups):
    made = device("p1", EMQX, description=description, attributes=attributes, groups=groups)
    content, unsaid = written("devices-csv", fleet(made))
    again = read_again("devices-csv", content)
    if unsaid:
        assert [one.kind for one in unsaid] == [Kind.REFUSED]
        assert again == []
        return
    [read] = devices(again)
    expected = (
        dict(made.values) if attributes else {k: v for k, v in made.values.items() if k != "attributes"}
    )
    assert (dict(read.values), read.groups, read.credentials) == (expected, groups, made.credentials)


@pytest.mark.parametrize("name", ["emqx-users-csv", "emqx-users-json"])
@pytest.mark.parametrize(
    ("encoded", "options"),
    [
        (EMQX.encoded, {"algorithm": "sha256"}),
        (
            emqx_hash("md5", "ab" * 16, 's$,"', salt_position="suffix"),
            {"algorithm": "md5", "salt_position": "suffix"},
        ),
        (
            emqx_hash("sha512", "ab" * 64, salt_position="disable"),
            {"algorithm": "sha512", "salt_position": "disable"},
        ),
        (BCRYPT, {"algorithm": "bcrypt"}),
        (
            emqx_hash("pbkdf2", "ab" * 20, "s", mac="sha", iterations=2),
            {"algorithm": "pbkdf2", "mac": "sha", "iterations": 2},
        ),
    ],
    ids=["sha256", "md5", "sha512", "bcrypt", "pbkdf2"],
)
def test_emqx_users(name, encoded, options):
    made = device("p,1", CredentialRecord(encoded=encoded), client_id_binding="any", superuser=True)
    content, unsaid = written(name, fleet(made, device("off", enabled=False)), **options)
    [read] = devices(read_again(name, content, **options))
    assert (read.username, read.credentials[0].encoded) == ("p,1", encoded)
    assert read.values == {"superuser": True}
    assert lost(unsaid) == []


def test_a_token_is_a_hash_of_emqx():
    token = generate_token()
    made = device("p1", CredentialRecord(CredentialKind.TOKEN, encode_token(token)), client_id_binding="any")
    content, _ = written("emqx-users-json", fleet(made), algorithm="sha256")
    [read] = devices(read_again("emqx-users-json", content, algorithm="sha256"))
    assert read_hash(read.credentials[0].encoded)(token.encode())


@pytest.mark.parametrize("name", ["emqx-rules-json", "emqx-acl-conf", "mosquitto-acl"])
def test_rules_come_back_in_the_order_in_which_they_are_tried(name):
    own = RULES if name != "mosquitto-acl" else [rule("deny all secret/#", priority=5), *RULES[1:]]
    content, unsaid = written(name, fleet(device(rules=own)))
    again = sorted(rules(read_again(name, content)), key=lambda one: -one.priority)
    expected = [shown(one) for one in own]
    if name == "emqx-acl-conf":
        expected.append("everyone: deny all #")
    assert [shown(one) for one in again] == expected
    assert lost(unsaid) == []


def test_emqx_keeps_literals_networks_and_characters():
    own = [
        rule("deny subscribe eq #", priority=3),
        rule('allow all ü"\\/x', priority=2, networks=("10.0.0.0/8", "2001:db8::/32")),
    ]
    for name in ("emqx-rules-json", "emqx-acl-conf"):
        content, unsaid = written(name, fleet(device("p1", rules=own)))
        again = [shown(one) for one in rules(read_again(name, content)) if one.subject.username]
        assert again[0] == "device p1: deny subscribe eq #"
        assert all(one.startswith('device p1: allow all ü"\\/x from ') for one in again[1:])
        assert "".join(again).count("10.0.0.0/8") == "".join(again).count("2001:db8::/32") == 1
        assert lost(unsaid) == []


def test_mosquitto_passwords():
    content, unsaid = written("mosquitto-passwords", fleet(device("p1", MOSQUITTO, client_id_binding="any")))
    assert content == f"p1:{PBKDF2}\n".encode()
    [read] = devices(read_again("mosquitto-passwords", content))
    assert (read.credentials[0].encoded, unsaid) == (PBKDF2, [])


def test_dynamic_security_binds_and_lets_through():
    own = [rule("allow publish up/${clientid}/#"), rule("allow subscribe down/#")]
    content, unsaid = written("mosquitto-dynamic-security", fleet(device("p1", MOSQUITTO, rules=own)))
    again = read_again("mosquitto-dynamic-security", content)
    [read] = devices(again)
    assert (read.values["client_id_binding"], read.values["client_id"]) == ("equals_username", "")
    assert {shown(one).partition(": ")[2].split(": ")[-1] for one in rules(again)} == {
        "allow publish up/p1/#",
        "allow subscribe down/#",
    }
    assert findings(again, Kind.ERROR, Kind.ALLOW_LOST, Kind.DENY_WIDER) == []
    assert unsaid == []


def test_vernemq_has_what_is_allowed_and_binds():
    own = [rule("allow publish up/${username}", priority=2), rule("deny all #", priority=-1)]
    made = device("p1", CredentialRecord(encoded=BCRYPT), rules=own, client_id_binding="exact", client_id="c")
    content, unsaid = written("vernemq-json", fleet(made))
    [read] = devices(read_again("vernemq-json", content))
    assert read.values == {"client_id_binding": "exact", "client_id": "c"}
    assert [shown(one) for one in read.rules or ()] == ["device p1: allow publish up/p1"]
    assert unsaid == []


@pytest.mark.parametrize("name", TARGETS)
def test_an_empty_fleet_is_a_good_file(name):
    content, _ = written(name, fleet(), algorithm="sha256")
    found = read_again(name, content, algorithm="sha256")
    assert not [one for one in found if isinstance(one, Finding) and one.kind is Kind.ERROR]
    if name.endswith("-json"):
        assert json.loads(content) == []
