"""What a format cannot hold is told, and what is written never allows more than here."""

import pytest

from exhookadmin.fleet.records import CredentialRecord, Kind
from tests.fleet.vectors import BCRYPT
from tests.fleet.writing.fleets import device, fleet, lost, rule, written
from tests.fleet.writing.test_round_trips import EMQX, MOSQUITTO

ANY = {"client_id_binding": "any"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"client_id_binding": "equals_username"}, "client_id_binding"),
        (ANY | {"networks": "10.0.0.0/8"}, "networks"),
        (ANY | {"valid_from": "2100-01-01T00:00:00Z"}, "valid_from"),
        (ANY | {"valid_until": "2100-01-01T00:00:00Z"}, "valid_until"),
        (ANY | {"credential_required": False}, "credential_required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["emqx-users-csv", "emqx-users-json", "mosquitto-passwords"])
def test_a_device_that_could_connect_otherwise_is_left_out(name, values, field):
    content, unsaid = written(name, fleet(device("p1", EMQX, MOSQUITTO, **values)), algorithm="sha256")
    assert lost(unsaid) == [(Kind.REFUSED, field)]
    assert b"p1" not in content


@pytest.mark.parametrize(
    "values",
    [{"enabled": False}, {"valid_until": "2020-01-01T00:00:00Z"}],
    ids=["disabled", "expired"],
)
def test_a_device_that_may_not_connect_is_left_out_without_any_loss(values):
    content, unsaid = written("mosquitto-passwords", fleet(device("p1", MOSQUITTO, **ANY, **values)))
    assert (content, lost(unsaid)) == (b"", [])
    assert [one.kind for one in unsaid] == [Kind.REMARK]


@pytest.mark.parametrize(
    ("credentials", "expected", "is_there"),
    [
        ([], [Kind.REFUSED], False),
        ([CredentialRecord(encoded=BCRYPT)], [Kind.ALLOW_LOST, Kind.REFUSED], False),
        ([CredentialRecord(encoded=EMQX.encoded, enabled=False)], [Kind.REFUSED], False),
        (
            [CredentialRecord(encoded=EMQX.encoded, expires_at="2100-01-01T00:00:00Z")],
            [Kind.ALLOW_LOST, Kind.REFUSED],
            False,
        ),
        ([EMQX, EMQX], [Kind.ALLOW_LOST], True),
    ],
    ids=["none", "another form", "switched off", "expires", "two"],
)
def test_credentials(credentials, expected, is_there):
    made = device("p1", *credentials, **ANY)
    content, unsaid = written("emqx-users-json", fleet(made), algorithm="sha256")
    assert [kind for kind, _ in lost(unsaid)] == expected
    assert (b"p1" in content) == is_there
    assert not any(EMQX.encoded[-20:] in str(one) or BCRYPT in str(one) for one in unsaid)


@pytest.mark.parametrize(
    ("name", "own", "expected", "line"),
    [
        ("mosquitto-acl", ["allow publish a", "deny publish a"], [Kind.DENY_WIDER] * 2, b"topic deny a"),
        ("mosquitto-acl", ["deny all eq #"], [Kind.DENY_WIDER], b"topic deny #"),
        ("mosquitto-acl", ["allow subscribe eq #"], [Kind.ALLOW_LOST], None),
        ("mosquitto-acl", ["allow publish ${cn}/x"], [Kind.ALLOW_LOST], None),
        ("mosquitto-acl", ["deny all x/${cn}"], [Kind.DENY_WIDER], b"topic deny #"),
        ("mosquitto-acl", ["allow publish ${attr.none}/x"], [], None),
        ("vernemq-json", ["deny publish a/b", "allow publish a/#"], [Kind.ALLOW_LOST], None),
        ("vernemq-json", ["allow publish %u/x"], [Kind.ALLOW_LOST], None),
        ("vernemq-json", ["deny publish b", "allow publish a"], [], b'"a"'),
        ("emqx-rules-json", ["deny all x/${attr.none}", "allow all $SYS/x"], [], b'"#"'),
        ("emqx-acl-conf", ["allow all ${attr.x}"], [Kind.ALLOW_LOST], None),
        ("emqx-acl-conf", ["deny all ${attr.x}"], [Kind.ERROR], None),
        ("emqx-acl-conf", ["allow all ${clientid}"], [Kind.ALLOW_LOST], None),
        ("mosquitto-dynamic-security", ["deny publish %c"], [Kind.ERROR], None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_rules(name, own, expected, line):
    made = [rule(text, priority=-place) for place, text in enumerate(own)]
    one = device("p1", CredentialRecord(encoded=BCRYPT), MOSQUITTO, rules=made)
    content, unsaid = written(name, fleet(one))
    assert [kind for kind, field in lost(unsaid) if field == "rules"] == expected
    if line is None:
        assert b"$SYS" not in content
        assert all(word not in content for word in (b"topic read", b"topic write", b'"pattern"', b"{allow"))
    else:
        assert line in content
        assert b"$SYS" not in content


def test_networks_of_rules_are_kept_by_emqx_only():
    own = [rule("deny all a", networks=("10.0.0.0/8",)), rule("allow all b", networks=("10.0.0.0/8",))]
    one = fleet(device("p1", rules=own))
    assert lost(written("emqx-rules-json", one)[1]) == []
    content, unsaid = written("mosquitto-acl", one)
    assert [kind for kind, _ in lost(unsaid)] == [Kind.DENY_WIDER, Kind.ALLOW_LOST]
    assert content == b"user p1\ntopic deny a\n\n"


def test_a_name_that_a_file_cannot_hold():
    for name in ("a:b", "#a", " a", "a\nb"):
        content, unsaid = written("mosquitto-passwords", fleet(device(name, MOSQUITTO, **ANY)))
        assert (content, lost(unsaid)) == (b"", [(Kind.REFUSED, "username")])


def test_formulas_are_kept_from_spreadsheets():
    content, unsaid = written("devices-csv", fleet(device("=1+2"), device("p1", description="@x")))
    assert content.count(b"\n") == 1
    assert lost(unsaid) == [(Kind.REFUSED, "username"), (Kind.REFUSED, "description")]


def test_a_superuser_keeps_what_can_be_said():
    one = fleet(device("p1", MOSQUITTO, superuser=True, rules=[rule("deny all #")]))
    assert lost(written("emqx-rules-json", one)[1]) == []
    content, unsaid = written("mosquitto-acl", one)
    assert (content, lost(unsaid)) == (b"user p1\ntopic readwrite #\n\n", [(Kind.ALLOW_LOST, "superuser")])
