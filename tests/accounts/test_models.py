from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from accounts.core.admission import is_still_valid, is_yet_valid
from accounts.core.binding import SEPARATORS
from accounts.core.client import Client
from accounts.models import Credential, Device, DeviceGroup
from accounts.principals import principal_of

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
any_text = st.text(st.characters(), max_size=30)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def refusals(row) -> dict[str, str]:
    """Field → what is said about it; empty when the row is accepted."""
    try:
        row.full_clean()
    except ValidationError as error:
        return {field: " ".join(messages) for field, messages in error.message_dict.items()}
    return {}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"username": "größe/7 🚰"},
        {"username": "é" * 512},
        {"client_id_binding": "any"},
        {"client_id_binding": "exact", "client_id": "pump-18"},
        {"client_id_binding": "prefix", "client_id": "fleet1-"},
        {"networks": "10.0.0.0/8\n2001:db8::/32"},
        {"valid_from": NOON},
        {"valid_until": NOON},
        {"valid_from": NOON, "valid_until": NOON + timedelta(microseconds=1)},
        {"valid_from": "2027-03-01T12:00+01:00", "valid_until": "2027-03-01 12:00Z"},
        {"attributes": {"site": "berlin"}},
        # nothing, in whatever way it is spelt
        {
            "attributes": None,
            "networks": None,
            "client_id": None,
            "description": None,
            "certificate_cn": None,
        },
        {"attributes": ""},
        {"attributes": []},
        {"enabled": False, "superuser": True, "credential_required": False},
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_right_device_is_accepted_and_stored(fields):
    device = Device(**{"username": "pump-17", **fields})
    assert refusals(device) == {}
    device.save()
    stored = Device.objects.get(pk=device.pk)
    assert principal_of(stored).username == device.username
    assert stored.attributes == (fields.get("attributes") or {})


def too_deep():
    """JSON that cannot be written down: it is nested deeper than Python's stack."""
    value: dict[str, Any] = {}
    for _ in range(100_000):
        value = {"a": value}
    return value


WRONG_DEVICES = [
    # username
    ({"username": ""}, "username", "cannot be blank"),
    ({"username": None}, "username", "cannot be null"),
    ({"username": "a\x00b"}, "username", "NUL"),
    ({"username": "a\ud800"}, "username", "surrogate"),
    ({"username": "x" * 513}, "username", "512 characters"),
    ({"username": "x" * 65_536}, "username", "65,535 bytes"),
    ({"username": "taken"}, "username", "exists already: choose another"),
    # client id binding
    ({"client_id_binding": "prefix", "client_id": "fleet1"}, "client_id", "“fleet1-”"),
    ({"client_id_binding": "prefix", "client_id": ""}, "client_id", "“pump-17”"),
    ({"client_id_binding": "exact", "client_id": ""}, "client_id", "“pump-17”"),
    ({"client_id_binding": "exact", "client_id": None}, "client_id", "“pump-17”"),
    ({"client_id_binding": "any", "client_id": "x"}, "client_id", "Leave this empty"),
    ({"client_id_binding": "equals_username", "client_id": "x"}, "client_id", "Leave this empty"),
    ({"client_id_binding": "exact", "client_id": "a\x00b"}, "client_id", "NUL"),
    ({"client_id_binding": "exact", "client_id": "x" * 513}, "client_id", "512 characters"),
    ({"client_id_binding": "prefix", "client_id": "\ud800"}, "client_id", "surrogate"),
    ({"client_id_binding": "nonsense"}, "client_id_binding", "not a valid choice"),
    ({"client_id_binding": "nonsense", "client_id": "x"}, "client_id_binding", "not a valid choice"),
    ({"client_id_binding": "EXACT", "client_id": "x"}, "client_id_binding", "not a valid choice"),
    ({"client_id_binding": ""}, "client_id_binding", "cannot be blank"),
    ({"client_id_binding": None}, "client_id_binding", "cannot be null"),
    ({"client_id_binding": "a\x00b"}, "client_id_binding", "not a valid choice"),
    ({"client_id_binding": ["exact"]}, "client_id_binding", "not a valid choice"),
    # networks
    ({"networks": "10.0.0.0/33"}, "networks", "such as 192.0.2.0/24"),
    ({"networks": "10.0.0.7/8"}, "networks", "write 10.0.0.0/8"),
    ({"networks": "192.0.2.0/24\nnonsense"}, "networks", "“nonsense”"),
    ({"networks": "10.0.0.0/8\x00"}, "networks", "such as 192.0.2.0/24"),
    ({"networks": "\ud800"}, "networks", "such as 192.0.2.0/24"),
    ({"networks": "x" * 1_000_000}, "networks", "such as 192.0.2.0/24"),
    # validity window
    ({"valid_from": NOON, "valid_until": NOON}, "valid_until", "later than “valid from”"),
    ({"valid_from": NOON, "valid_until": NOON - timedelta(days=1)}, "valid_until", "later than “valid from”"),
    ({"valid_from": "nonsense", "valid_until": NOON}, "valid_from", "invalid format"),
    ({"valid_from": NOON, "valid_until": "2027-02-30 12:00Z"}, "valid_until", "invalid"),
    ({"valid_from": 20270301}, "valid_from", "cannot be stored"),
    ({"valid_until": [NOON]}, "valid_until", "cannot be stored"),
    ({"valid_from": NOON.replace(tzinfo=None)}, "valid_from", "2027-03-01 08:00+01:00"),
    ({"valid_from": NOON, "valid_until": "2028-01-01 00:00"}, "valid_until", "time zone"),
    ({"valid_until": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)}, "valid_until", "9998"),
    ({"valid_until": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}, "valid_until", "9998"),
    ({"valid_from": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "valid_from", "1900"),
    # certificate CN
    ({"certificate_cn": "taken-cn"}, "certificate_cn", "Another device has this certificate CN"),
    ({"certificate_cn": "a\x00b"}, "certificate_cn", "NUL"),
    ({"certificate_cn": "x" * 513}, "certificate_cn", "512 characters"),
    # attributes
    ({"attributes": {"site": {"city": "berlin"}}}, "attributes", "must be a text"),
    ({"attributes": {"floor": 7}}, "attributes", "put numbers in quotes"),
    ({"attributes": {"a b": "x"}}, "attributes", "“site_id”"),
    ({"attributes": {7: "x"}}, "attributes", "of type int"),
    ({"attributes": {"site": "\x00"}}, "attributes", "NUL"),
    ({"attributes": {"site": "\ud800"}}, "attributes", "surrogate"),
    ({"attributes": {"site": b"berlin"}}, "attributes", "valid JSON"),
    pytest.param({"attributes": too_deep()}, "attributes", "cannot be stored", id="too deep"),
    ({"attributes": "site=berlin"}, "attributes", "{“site”: “berlin”}"),
    ({"attributes": ["site"]}, "attributes", "{“site”: “berlin”}"),
    ({"attributes": 0}, "attributes", "{“site”: “berlin”}"),
    ({"attributes": False}, "attributes", "{“site”: “berlin”}"),
    # the rest
    ({"description": "a\x00b"}, "description", "NUL"),
    ({"description": "\udfff"}, "description", "surrogate"),
    ({"description": "x" * 251}, "description", "at most 250 characters"),
    ({"enabled": None}, "enabled", "must be either True or False"),
    ({"superuser": "perhaps"}, "superuser", "must be either True or False"),
    ({"credential_required": ""}, "credential_required", "must be either True or False"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("fields", "field", "says"), WRONG_DEVICES, ids=lambda value: ascii(value)[:50])
def test_a_wrong_device_is_refused_with_the_field_and_the_reason(fields, field, says):
    Device.objects.create(username="taken", certificate_cn="taken-cn")
    refused = refusals(Device(**{"username": "pump-17", **fields}))
    assert list(refused) == [field]
    assert says in refused[field]
    assert refused[field].encode()
    assert len(refused[field]) < 600


@pytest.mark.django_db
def test_everything_that_is_wrong_is_said_at_once():
    device = Device(
        username="a\x00b", client_id_binding="nonsense", client_id="x" * 600, networks="nonsense",
        valid_from=NOON, valid_until=NOON, certificate_cn="\ud800", attributes=[7], description="\x00",
    )  # fmt: skip
    assert refusals(device).keys() == {
        "username", "client_id_binding", "client_id", "networks", "valid_until", "certificate_cn",
        "attributes", "description",
    }  # fmt: skip


@pytest.mark.django_db
def test_a_form_that_shows_few_fields_hears_about_those_only():
    """Django raises ValueError for an error on a field that its form does not have."""
    device = Device(
        username="",
        client_id_binding="prefix",
        client_id="bare",
        networks="x",
        valid_from=NOON,
        valid_until=NOON,
    )
    with pytest.raises(ValidationError) as refused:
        device.full_clean(exclude={"client_id", "networks", "valid_until"}, validate_constraints=False)
    assert refused.value.message_dict.keys() == {"username"}


@pytest.mark.django_db
def test_networks_are_stored_one_a_line_in_the_standard_spelling():
    device = Device(
        username="pump-17", networks=" 10.0.0.0/255.0.0.0 \n\n2001:DB8::1\r\n::ffff:192.0.2.0/120"
    )
    assert refusals(device) == {}
    assert device.networks == "10.0.0.0/8\n2001:db8::1/128\n192.0.2.0/24"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["valid_from", "enabled"])
def test_half_a_surrogate_pair_is_refused_in_words_that_can_be_sent(name: str):
    said = refusals(Device(**{"username": "pump-17", name: "\ud800"}))
    assert "surrogate" in said[name].encode().decode()


@pytest.mark.django_db
def test_an_empty_text_for_a_moment_is_none():
    device = Device(username="pump-17", valid_from="", valid_until=now())
    assert refusals(device) == {}
    assert device.valid_from is None


class AnyDevice(HypothesisTestCase):
    @given(
        username=any_text | st.none(),
        client_id_binding=st.sampled_from(["equals_username", "exact", "prefix", "any"]) | json,
        client_id=any_text | any_text.map(lambda text: text + SEPARATORS[0]) | st.none(),
        networks=any_text | st.ip_addresses().map(str) | st.none(),
        valid_from=st.none() | any_text | st.datetimes() | st.datetimes(timezones=st.timezones()),
        valid_until=st.none() | any_text | st.datetimes() | st.datetimes(timezones=st.timezones()),
        certificate_cn=any_text | st.none(),
        attributes=json | st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), any_text, max_size=3),
        description=any_text | st.none(),
        enabled=st.booleans() | st.none() | any_text,
    )
    def test_is_refused_in_words_or_can_be_stored_and_read(self, **fields):
        device = Device(**fields)
        said = refusals(device)
        if said:
            assert "".join(said.values()).encode()
            return
        device.save()
        principal = principal_of(Device.objects.get(pk=device.pk))
        assert principal.username == fields["username"]
        assert principal.bound_client_id == (fields["client_id"] or "")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": ""}, "name", "cannot be blank"),
        ({"name": None}, "name", "cannot be null"),
        ({"name": "taken"}, "name", "already exists"),
        ({"name": "a\x00b"}, "name", "NUL"),
        ({"name": "\ud800"}, "name", "surrogate"),
        ({"name": "x" * 151}, "name", "at most 150 characters"),
        ({"name": "x", "description": "a\x00b"}, "description", "NUL"),
        ({"name": "x", "description": "\ud800"}, "description", "surrogate"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_group_is_refused_with_the_field_and_the_reason(fields, field, says):
    DeviceGroup.objects.create(name="taken")
    refused = refusals(DeviceGroup(**fields))
    assert list(refused) == [field]
    assert says in refused[field]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"kind": "certificate"}, "kind", "not a valid choice"),
        ({"kind": ""}, "kind", "cannot be blank"),
        ({"kind": None}, "kind", "cannot be null"),
        ({"encoded": ""}, "__all__", "credential_is_not_empty"),
        ({"encoded": "x" * 513}, "encoded", "at most 512 characters"),
        ({"encoded": "a\x00b"}, "encoded", "NUL"),
        ({"label": "x" * 101}, "label", "at most 100 characters"),
        ({"label": "a\x00b"}, "label", "NUL"),
        ({"label": "\ud800"}, "label", "surrogate"),
        ({"expires_at": "tomorrow"}, "expires_at", "invalid format"),
        ({"expires_at": NOON.replace(tzinfo=None)}, "expires_at", "time zone"),
        ({"expires_at": datetime.max.replace(tzinfo=UTC)}, "expires_at", "9998"),
        ({"enabled": None}, "enabled", "must be either True or False"),
        ({"device": None}, "device", "cannot be null"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_credential_is_refused_with_the_field_and_the_reason(fields, field, says):
    device = Device.objects.create(username="pump-17")
    credential = Credential(**{"device": device, "kind": "token", "encoded": "sha256$s$d", **fields})
    refused = refusals(credential)
    assert list(refused) == [field]
    assert says in refused[field]


@pytest.mark.django_db
def test_a_credential_of_a_device_that_is_not_stored_is_refused():
    assert "device" in refusals(Credential(device=Device(username="x"), kind="token", encoded="x"))


# Integrity does not depend on who writes: bulk writes, imports and other programs skip `full_clean`.
BROKEN_DEVICES = [
    ("device_username_not_empty", {"username": ""}),
    ("username", {"username": "taken"}),
    ("username", {"username": None}),
    ("device_window_begins_before_it_ends", {"valid_from": NOON, "valid_until": NOON}),
    ("device_window_begins_before_it_ends", {"valid_from": NOON, "valid_until": NOON - timedelta(seconds=1)}),
    ("device_binding_is_known", {"client_id_binding": "nonsense", "client_id": "x"}),
    ("device_binding_is_known", {"client_id_binding": "", "client_id": "x"}),
    ("device_binding_has_its_client_id", {"client_id_binding": "exact", "client_id": ""}),
    ("device_binding_has_its_client_id", {"client_id_binding": "prefix", "client_id": ""}),
    ("certificate_cn", {"certificate_cn": "taken-cn"}),
    ("attributes", {"attributes": None}),
]
MEANS = ["bulk_create", "update"]


def force(model, means, valid, broken) -> None:
    """Writes a broken row without asking the model."""
    with transaction.atomic():
        if means == "bulk_create":
            model.objects.bulk_create([model(**(valid | broken))])
        else:
            row = model.objects.create(**valid)
            model.objects.filter(pk=row.pk).update(**broken)


@pytest.mark.django_db
@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize(("constraint", "broken"), BROKEN_DEVICES, ids=lambda value: ascii(value)[:50])
def test_the_database_refuses_a_broken_device_by_itself(constraint, broken, means):
    Device.objects.create(username="taken", certificate_cn="taken-cn")
    with pytest.raises(IntegrityError, match=constraint):
        force(Device, means, {"username": "pump-17"}, broken)
    assert not Device.objects.exclude(username__in=["taken", "pump-17"]).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize(
    ("constraint", "broken"),
    [
        ("credential_kind_is_known", {"kind": "nonsense"}),
        ("credential_is_not_empty", {"encoded": ""}),
        ("device", {"device": None}),
    ],
)
def test_the_database_refuses_a_broken_credential_by_itself(constraint, broken, means):
    valid = {"device": Device.objects.create(username="pump-17"), "kind": "token", "encoded": "x"}
    with pytest.raises(IntegrityError, match=constraint):
        force(Credential, means, valid, broken)


@pytest.mark.django_db
def test_the_database_refuses_a_second_group_of_one_name():
    DeviceGroup.objects.create(name="pumps")
    with pytest.raises(IntegrityError, match="name"), transaction.atomic():
        DeviceGroup.objects.bulk_create([DeviceGroup(name="pumps")])


@pytest.mark.django_db
def test_the_database_refuses_a_credential_of_no_device():
    orphan = Credential(device_id=123_456_789, kind="token", encoded="x")
    with pytest.raises(IntegrityError):
        write_to_the_end([orphan])
    assert not Credential.objects.exists()


@transaction.atomic
def write_to_the_end(credentials):
    """With the checks that databases leave for the end of a transaction."""
    Credential.objects.bulk_create(credentials)
    connection.check_constraints()


@pytest.mark.django_db
def test_any_number_of_devices_may_have_no_certificate():
    Device.objects.bulk_create([Device(username=f"pump-{number}") for number in range(3)])
    assert Device.objects.filter(certificate_cn="").count() == 3


@pytest.mark.django_db
def test_usernames_differ_by_case_and_by_code_point():
    names = ["Pump", "pump", "PUMP", "caf\u00e9", "cafe\u0301", "pump "]
    for name in names:
        assert refusals(Device(username=name)) == {}
        Device.objects.create(username=name)
    assert [Device.objects.get(username=name).username for name in names] == names


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [
        (None, None, True),
        (-1, None, True),
        (1, None, False),
        (None, 1, True),
        (None, -1, False),
        (None, 0, False),
        (0, None, True),
        (-1, 1, True),
        (-2, -1, False),
        (1, 2, False),
    ],
)
def test_the_window_is_the_same_in_the_database_and_in_a_decision(start, end, inside):
    """In hours from now. The query runs a moment later, when the edges at 0 are still what they were."""
    moment = now()
    device = Device.objects.create(
        username="pump-17",
        valid_from=None if start is None else moment + timedelta(hours=start),
        valid_until=None if end is None else moment + timedelta(hours=end),
    )
    principal = principal_of(device)
    decided = all(check(Client(), principal, moment.timestamp()) for check in (is_yet_valid, is_still_valid))
    assert decided is inside
    assert Device.objects.inside_window().exists() is inside


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (Device(username="pump-17"), "pump-17"),
        (DeviceGroup(name="pumps"), "pumps"),
        (Credential(kind="token"), "token"),
        (Credential(kind="password", label="installed 2026-03"), "password “installed 2026-03”"),
    ],
)
def test_rows_are_shown_by_their_names(row, shown):
    assert str(row) == shown


def test_a_credential_is_shown_without_its_stored_hash():
    credential = Credential(pk=3, kind="password", encoded="bcrypt_sha256$$2b$04$stored", label="x")
    assert repr(credential) == "<Credential 3 password>"
    assert "stored" not in f"{credential}{credential!r}{[credential]}"
