from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from accounts.core.binding import Binding
from accounts.core.identity import IdentitySource
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.models import Credential, Device, DeviceGroup
from accounts.principals import find_device, find_devices, principal_of

pytestmark = pytest.mark.django_db
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
USERNAME, CLIENT_ID, CN = IdentitySource.USERNAME, IdentitySource.CLIENT_ID, IdentitySource.CERTIFICATE_CN


def test_every_field_of_a_device_reaches_its_principal():
    device = Device.objects.create(
        username="größe/7",
        description="not part of a decision",
        enabled=False,
        superuser=True,
        client_id_binding="prefix",
        client_id="fleet1-",
        networks="192.0.2.0/24\n2001:db8::/32",
        valid_from=NOON,
        valid_until=NOON + timedelta(microseconds=250),
        certificate_cn="pump CN",
        credential_required=False,
        attributes={"site": "berlin", "floor": "7"},
    )
    groups = [DeviceGroup.objects.create(name=name) for name in ("pumps", "berlin")]
    device.groups.set(groups)
    token = Credential.objects.create(device=device, kind="token", encoded="sha256$salt$digest")
    password = Credential.objects.create(
        device=device, kind="password", encoded="bcrypt_sha256$", enabled=False, expires_at=NOON
    )
    assert principal_of(Device.objects.get()) == Principal(
        id=device.pk,
        username="größe/7",
        enabled=False,
        superuser=True,
        binding=Binding.PREFIX,
        bound_client_id="fleet1-",
        networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        valid_from=1_803_902_400.0,
        valid_until=1_803_902_400.000_25,
        certificate_cn="pump CN",
        credential_required=False,
        attributes={"site": "berlin", "floor": "7"},
        group_ids=frozenset(group.pk for group in groups),
        credentials=(
            PrincipalCredential(token.pk, CredentialKind.TOKEN, "sha256$salt$digest"),
            PrincipalCredential(
                password.pk,
                CredentialKind.PASSWORD,
                "bcrypt_sha256$",
                enabled=False,
                expires_at=1_803_902_400.0,
            ),
        ),
    )


def test_no_field_of_a_principal_is_forgotten_above():
    """A new field belongs into the round trip."""
    assert set(Principal.__dataclass_fields__) == {
        "id", "username", "enabled", "superuser", "binding", "bound_client_id", "networks", "valid_from",
        "valid_until", "certificate_cn", "credential_required", "attributes", "group_ids", "credentials",
    }  # fmt: skip


def test_a_new_device_is_the_principal_of_its_defaults():
    device = Device.objects.create(username="pump-17")
    assert principal_of(Device.objects.get()) == Principal(id=device.pk, username="pump-17")


def test_attributes_cannot_be_changed_through_the_principal():
    device = Device.objects.create(username="pump-17", attributes={"site": "berlin"})
    principal = principal_of(device)
    with pytest.raises(TypeError):
        principal.attributes["site"] = "paris"  # type: ignore[index]
    device.attributes["site"] = "paris"
    assert principal.attributes["site"] == "berlin"


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"site": "berlin", "floor": 7}, {"site": "berlin"}),
        ({"site": {"city": "berlin"}, "on": True, "none": None}, {}),
        ([], {}),
        (["site"], {}),
        ("site", {}),
        (7, {}),
    ],
    ids=str,
)
def test_attributes_that_are_no_text_are_as_good_as_missing(stored, read):
    """Another program may have written them; a missing value makes a rule take the strict side."""
    Device.objects.bulk_create([Device(username="pump-17", attributes=stored)])
    assert principal_of(Device.objects.get()).attributes == read


@pytest.mark.parametrize("networks", ["nonsense", "10.0.0.0/8\nnonsense", "10.0.0.7/8", "\n;\n"])
def test_a_device_whose_networks_cannot_be_read_has_no_principal(networks):
    """Leaving the line out could leave the device without any restriction."""
    Device.objects.bulk_create([Device(username="pump-17", networks=networks)])
    with pytest.raises(ValueError, match="“"):
        principal_of(Device.objects.get())


@pytest.fixture
def pump():
    Device.objects.create(username="other", certificate_cn="other CN")
    Device.objects.create(username="no CN")
    return Device.objects.create(
        username="pump-17", certificate_cn="pump CN", client_id_binding="exact", client_id="x"
    )


@pytest.mark.parametrize(
    ("source", "value", "found"),
    [
        (USERNAME, "pump-17", True),
        # a client without a username is looked up by its client id, under the device's name
        (CLIENT_ID, "pump-17", True),
        (CN, "pump CN", True),
        # not by the client id it is bound to, nor across kinds of names
        (CLIENT_ID, "x", False),
        (USERNAME, "pump CN", False),
        (CN, "pump-17", False),
        # exactly
        (USERNAME, "Pump-17", False),
        (USERNAME, "pump-17 ", False),
        (USERNAME, "pump-1", False),
        (USERNAME, "pump%", False),
        (USERNAME, "pump___", False),
        (CN, "PUMP CN", False),
        # nothing is nobody's name: most devices have no CN
        (USERNAME, "", False),
        (CLIENT_ID, "", False),
        (CN, "", False),
        # what no database can hold
        (USERNAME, "pump-17\x00", False),
        (CLIENT_ID, "\x00", False),
        (CN, "pump CN\x00", False),
        (USERNAME, "\ud800", False),
        (CN, "\udfff", False),
        # longer than any name
        (USERNAME, "x" * 70_000, False),
        (CN, "é" * 70_000, False),
        (USERNAME, "'; DROP TABLE accounts_device; --", False),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_device_is_found_by_exactly_its_name(pump, source, value, found):
    assert find_device(source, value) == (pump if found else None)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_principal_costs_three_queries_whatever_it_has(pump, count, django_assert_num_queries):
    for number in range(count):
        Credential.objects.create(device=pump, kind="token", encoded=f"sha256${number}$")
        pump.groups.add(DeviceGroup.objects.create(name=f"group {number}"))
    with django_assert_num_queries(3):
        device = find_device(USERNAME, "pump-17")
        assert device is not None
        principal = principal_of(device)
    assert len(principal.credentials) == len(principal.group_ids) == count


def test_a_stranger_costs_one_query(pump, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert find_device(USERNAME, "stranger") is None


@pytest.mark.parametrize("value", ["", "\x00", "\ud800"])
def test_what_cannot_be_a_name_costs_none(value, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert find_device(USERNAME, value) is None


def test_many_devices_cost_three_queries_together(django_assert_num_queries):
    for number in range(10):
        device = Device.objects.create(username=f"pump-{number}")
        Credential.objects.create(device=device, kind="token", encoded="x")
    with django_assert_num_queries(3):
        assert len([principal_of(device) for device in Device.objects.for_decisions()]) == 10


def test_many_names_are_looked_up_together(pump, django_assert_num_queries):
    known = [(USERNAME, "pump-17"), (CLIENT_ID, "pump-17"), (CN, "pump CN")]
    unknown = [(USERNAME, "stranger"), (CN, "pump-17"), (CN, ""), (USERNAME, "\x00"), (CLIENT_ID, "\ud800")]
    many = [(CLIENT_ID, f"stranger-{number}") for number in range(500)]
    with django_assert_num_queries(6):
        found = find_devices(known + unknown + many)
    assert {name: found.get(name) for name in known} == dict.fromkeys(known, pump)
    assert not any(name in found for name in unknown + many)


@pytest.mark.parametrize("names", [[], [(CN, "")], [(USERNAME, ""), (USERNAME, "\x00")]])
def test_no_usable_name_costs_no_query(names, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert find_devices(names) == {}
