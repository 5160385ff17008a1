from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts import services
from accounts.core.tokens import looks_like_token, token_matches
from accounts.models import Credential, Device, DeviceGroup
from accounts.passwords import password_matches

pytestmark = pytest.mark.django_db
NOON = datetime(2099, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def pump():
    return services.create_device("pump-17")


@pytest.fixture
def groups():
    return [services.save_group(DeviceGroup(name=name)) for name in ("pumps", "berlin")]


def everything_stored() -> str:
    """Every value of every table, as text."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            rows += [str(row) for row in cursor.fetchall()]
    return "\n".join(rows)


def test_a_device_is_created_with_its_groups(groups):
    device = services.create_device("pump-17", groups=groups, description="x", attributes={"site": "berlin"})
    stored = Device.objects.get()
    assert (stored.pk, stored.description, stored.attributes) == (device.pk, "x", {"site": "berlin"})
    assert set(stored.groups.all()) == set(groups)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "taken"}, "username"),
        ({"username": "a\x00b"}, "username"),
        ({"client_id_binding": "prefix", "client_id": "fleet1"}, "client_id"),
        ({"networks": "10.0.0.7/8"}, "networks"),
        ({"valid_from": NOON, "valid_until": NOON}, "valid_until"),
        ({"attributes": {"floor": 7}}, "attributes"),
    ],
    ids=str,
)
def test_a_wrong_device_is_not_created(fields, field, groups):
    services.create_device("taken")
    with pytest.raises(ValidationError) as refused:
        services.create_device(**{"username": "pump-17", "groups": groups, **fields})
    assert refused.value.message_dict.keys() == {field}
    assert list(Device.objects.values_list("username", flat=True)) == ["taken"]


def test_a_wrong_change_changes_nothing(pump, groups):
    pump.description, pump.networks = "new", "nonsense"
    with pytest.raises(ValidationError):
        services.save_device(pump, groups)
    stored = Device.objects.get()
    assert (stored.description, stored.networks, stored.groups.count()) == ("", "", 0)


def test_groups_are_replaced_only_when_they_are_given(pump, groups):
    services.save_device(pump, groups)
    services.save_device(pump)
    assert set(pump.groups.all()) == set(groups)
    services.save_device(pump, groups[:1])
    assert list(pump.groups.all()) == groups[:1]
    services.save_device(pump, [])
    assert not pump.groups.exists()


def test_a_device_that_cannot_get_its_groups_is_not_created():
    with pytest.raises(ValueError, match="never stored"):
        services.create_device("pump-17", groups=[DeviceGroup(name="never stored")])
    assert not Device.objects.exists()


def test_groups_that_fail_to_arrive_leave_the_device_as_it_was(pump, groups):
    services.save_device(pump, groups)

    def arriving():
        yield groups[0]
        raise ConnectionError("the rest never came")

    pump.description = "new"
    with pytest.raises(ConnectionError):
        services.save_device(pump, arriving())
    stored = Device.objects.get()
    assert stored.description == ""
    assert set(stored.groups.all()) == set(groups)


def test_of_two_who_save_one_device_the_last_wins_in_every_field(pump):
    mine, yours = Device.objects.get(), Device.objects.get()
    mine.description, mine.networks = "mine", "10.0.0.0/8"
    yours.description = "yours"
    services.save_device(mine)
    services.save_device(yours)
    stored = Device.objects.get()
    assert (stored.description, stored.networks) == ("yours", "")


def test_switching_counts_what_changed():
    names = ["pump-1", "pump-2", "pump-3"]
    for name in names:
        services.create_device(name)
    every = Device.objects.all()
    assert services.set_enabled(Device.objects.filter(username="pump-1"), False) == 1
    assert services.set_enabled(every, False) == 2
    assert services.set_enabled(every, False) == 0
    assert services.set_enabled(every, True) == 3
    assert services.set_enabled(Device.objects.none(), True) == 0
    assert Device.objects.filter(enabled=True).count() == 3


def test_switching_is_a_change_with_its_time(pump):
    Device.objects.update(updated_at=NOON - timedelta(days=40_000))
    services.set_enabled(Device.objects.all(), False)
    assert timezone.now() - Device.objects.get().updated_at < timedelta(minutes=1)


def test_switching_changes_nothing_else(pump):
    stale = Device.objects.get()
    services.set_enabled(Device.objects.all(), False)
    stale.refresh_from_db()
    assert (stale.username, stale.enabled) == ("pump-17", False)


def test_deleting_counts_devices_and_takes_their_credentials_along(groups):
    for name in ("pump-1", "pump-2", "pump-3"):
        device = services.create_device(name, groups=groups)
        services.create_token(device)
        services.create_token(device)
    assert services.delete_devices(Device.objects.exclude(username="pump-3")) == 2
    assert services.delete_devices(Device.objects.filter(username="pump-1")) == 0
    assert list(Device.objects.values_list("username", flat=True)) == ["pump-3"]
    assert Credential.objects.count() == 2
    assert DeviceGroup.objects.count() == 2


def test_deleting_groups_keeps_their_devices(pump, groups):
    services.save_device(pump, groups)
    assert services.delete_groups(DeviceGroup.objects.all()) == 2
    assert services.delete_groups(DeviceGroup.objects.all()) == 0
    assert not Device.objects.get().groups.exists()


def test_a_wrong_group_is_not_stored(groups):
    for name in ("", "pumps", "a\x00b", "x" * 151):
        with pytest.raises(ValidationError) as refused:
            services.save_group(DeviceGroup(name=name))
        assert refused.value.message_dict.keys() == {"name"}
    assert DeviceGroup.objects.count() == 2


def test_a_token_is_shown_once_and_stored_nowhere(pump):
    credential, token = services.create_token(pump, "installed 2026-03", NOON)
    assert looks_like_token(token)
    stored = Credential.objects.get()
    assert (stored.pk, stored.device, stored.kind) == (credential.pk, pump, "token")
    assert (stored.label, stored.expires_at, stored.enabled) == ("installed 2026-03", NOON, True)
    assert token_matches(stored.encoded, token)
    assert token not in everything_stored()
    assert token.removeprefix("exh_") not in everything_stored()
    assert token not in repr(vars(credential)) + repr(credential) + str(credential)


def test_tokens_live_side_by_side(pump):
    made = [services.create_token(pump) for _ in range(5)]
    assert len({token for _, token in made}) == 5
    for credential, token in made:
        assert [other.pk for other, _ in made if token_matches(other.encoded, token)] == [credential.pk]


@pytest.mark.parametrize(
    "add", [services.create_token, lambda *a: services.add_password(a[0], "correct horse", *a[1:])]
)
@pytest.mark.parametrize(
    ("label", "expires_at", "field"),
    [
        ("x" * 101, None, "label"),
        ("a\x00b", None, "label"),
        ("", NOON.replace(tzinfo=None), "expires_at"),
        ("", datetime.max.replace(tzinfo=UTC), "expires_at"),
        ("", "tomorrow", "expires_at"),
    ],
)
def test_a_credential_with_wrong_particulars_is_not_made(pump, add, label, expires_at, field):
    with pytest.raises(ValidationError) as refused:
        add(pump, label, expires_at)
    assert refused.value.message_dict.keys() == {field}
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "add", [services.create_token, lambda device: services.add_password(device, "correct horse")]
)
def test_a_device_that_is_not_there_gets_no_credential(pump, add):
    gone = Device.objects.get()
    services.delete_devices(Device.objects.all())
    for device in (gone, Device(username="never stored")):
        with pytest.raises(ValidationError) as refused:
            add(device)
        assert refused.value.message_dict.keys() == {"device"}
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "password",
    ["x", "correct horse", "größe 🚰", "a" * 73, "a" * 65_535, "exh_too-short", "e" * 36],
    ids=lambda password: f"{password[:10]} of {len(password)}",
)
def test_a_password_is_stored_as_a_hash_that_matches(pump, password):
    credential = services.add_password(pump, password, "by hand", NOON)
    stored = Credential.objects.get()
    assert (stored.pk, stored.kind, stored.label, stored.expires_at) == (
        credential.pk,
        "password",
        "by hand",
        NOON,
    )
    assert stored.encoded.startswith("bcrypt_sha256$")
    assert password_matches(stored.encoded, password)


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "switch off “credential required”"),
        (None, "switch off “credential required”"),
        ("\x00", "NUL"),
        ("nul\x00inside", "NUL"),
        ("half a \ud800 pair", "broken characters"),
        ("a" * 65_536, "65,535 bytes"),
        ("ä" * 32_768, "65,535 bytes"),
        ("exh_" + "A" * 32, "form of a generated token"),
        ("exh_" + "ä" * 32, "form of a generated token"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_password_that_could_never_log_in_is_refused_and_not_repeated(pump, password, says):
    with pytest.raises(ValidationError) as refused:
        services.add_password(pump, password)
    assert refused.value.message_dict.keys() == {"password"}
    message = str(refused.value)
    assert says in message
    assert not password or password not in message
    assert not Credential.objects.exists()


def test_every_generated_token_is_refused_as_a_password(pump):
    _, token = services.create_token(pump)
    with pytest.raises(ValidationError, match="generate a token"):
        services.add_password(pump, token)


def test_a_further_password_leaves_the_others_alive(pump):
    old, new = services.add_password(pump, "old secret"), services.add_password(pump, "new secret")
    _, token = services.create_token(pump)
    assert Credential.objects.filter(enabled=True).count() == 3
    assert password_matches(Credential.objects.get(pk=old.pk).encoded, "old secret")
    assert password_matches(Credential.objects.get(pk=new.pk).encoded, "new secret")
    assert token


def test_saving_a_credential_keeps_its_secret_its_kind_and_its_last_use(pump):
    credential, token = services.create_token(pump)
    Credential.objects.update(last_used_at=NOON)
    credential.label, credential.expires_at, credential.enabled = "new", NOON, False
    credential.encoded, credential.kind, credential.last_used_at = "sha256$x$y", "password", None
    services.save_credential(credential)
    stored = Credential.objects.get()
    assert (stored.label, stored.expires_at, stored.enabled) == ("new", NOON, False)
    assert (stored.kind, stored.last_used_at) == ("token", NOON)
    assert token_matches(stored.encoded, token)


@pytest.mark.parametrize(
    ("field", "value"), [("label", "x" * 101), ("expires_at", NOON.replace(tzinfo=None))]
)
def test_a_wrong_change_of_a_credential_changes_nothing(pump, field, value):
    credential, _ = services.create_token(pump, "old")
    credential.enabled = False
    setattr(credential, field, value)
    with pytest.raises(ValidationError) as refused:
        services.save_credential(credential)
    assert refused.value.message_dict.keys() == {field}
    stored = Credential.objects.get()
    assert (stored.label, stored.expires_at, stored.enabled) == ("old", None, True)


@pytest.mark.parametrize(
    "change", [services.save_credential, lambda credential: services.switch_credential(credential, True)]
)
def test_a_credential_that_was_deleted_meanwhile_is_not_changed_and_does_not_come_back(pump, change):
    credential, _ = services.create_token(pump)
    services.delete_credential(Credential.objects.get())
    with pytest.raises(ValidationError, match="deleted meanwhile"):
        change(credential)
    assert not Credential.objects.exists()


def test_a_credential_can_be_revoked_whatever_its_particulars(pump):
    """What other programs stored does not keep anyone from switching it off, nor is it overwritten."""
    Credential.objects.bulk_create([Credential(device=pump, kind="token", encoded="x", label="old")])
    stale = Credential.objects.get()
    Credential.objects.update(label="x" * 100)
    stale.label = "y" * 500
    services.switch_credential(stale, False)
    stored = Credential.objects.get()
    assert (stored.enabled, stored.label) == (False, "x" * 100)
    services.switch_credential(stale, True)
    assert Credential.objects.get().enabled


def test_revoking_passwords_keeps_tokens(pump):
    other = services.create_device("other")
    services.add_password(other, "correct horse")
    services.add_password(pump, "correct horse")
    services.switch_credential(services.add_password(pump, "battery staple"), False)
    services.create_token(pump)
    assert services.revoke_passwords(pump) == 1
    assert services.revoke_passwords(pump) == 0
    assert set(Credential.objects.filter(enabled=True).values_list("device__username", "kind")) == {
        ("other", "password"),
        ("pump-17", "token"),
    }


def test_a_hash_is_replaced_only_while_it_is_the_one_that_was_checked(pump):
    credential = services.add_password(pump, "correct horse")
    assert services.replace_encoded(credential.pk, credential.encoded, "upgraded")
    assert not services.replace_encoded(credential.pk, credential.encoded, "late")
    assert not services.replace_encoded(credential.pk + 1, credential.encoded, "other")
    assert Credential.objects.get().encoded == "upgraded"


@pytest.mark.parametrize(
    "add", [services.create_token, lambda device: services.add_password(device, "correct horse")]
)
def test_a_credential_that_the_database_refuses_leaves_nothing(pump, add, monkeypatch):
    """The row itself is refused here, by the database, after the model has let it pass."""
    monkeypatch.setattr(services, "encode_token", lambda token: "")
    monkeypatch.setattr(services, "encode_password", lambda password: "")
    monkeypatch.setattr(Credential, "full_clean", lambda self: None)
    with pytest.raises(DatabaseError, match="credential_is_not_empty"):
        add(pump)
    assert not Credential.objects.exists()
    assert Device.objects.get() == pump


DAY = timedelta(days=1)


def test_rotating_devices_gives_each_a_token_and_ends_the_live_ones(pump):
    valve, bare = services.create_device("valve"), services.create_device("bare")
    soon, _ = services.create_token(pump, "soon", timezone.now() + DAY / 2)
    services.create_token(pump, "old")
    revoked, _ = services.create_token(pump, "revoked")
    services.switch_credential(revoked, enabled=False)
    password = services.add_password(pump, "correct horse")
    services.create_token(valve)
    made = services.rotate_tokens([valve, bare, pump], DAY)
    assert [credential.device for credential, _ in made] == [valve, pump], "no live token, no new one"
    for credential, token in made:
        assert token_matches(Credential.objects.get(pk=credential.pk).encoded, token)
    ends = {row.label: row.expires_at for row in pump.credentials.exclude(pk=password.pk).order_by("pk")[:3]}
    assert ends["soon"] == soon.expires_at, "nothing lives longer than before"
    assert DAY - timedelta(minutes=5) < ends["old"] - timezone.now() <= DAY
    assert ends["revoked"] is None
    password.refresh_from_db()
    assert password.expires_at is None
    assert made[1][0].label == "old"


@pytest.mark.parametrize(
    ("overlap", "label", "field"),
    [(-DAY, "", "overlap"), (DAY, "x" * 101, "label")],
    ids=["overlap", "label"],
)
def test_a_wrong_rotation_changes_nothing(pump, overlap, label, field):
    old, _ = services.create_token(pump)
    with pytest.raises(ValidationError) as refused:
        services.rotate_tokens([pump], overlap, label)
    assert field in refused.value.message_dict
    old.refresh_from_db()
    assert old.expires_at is None
    assert pump.credentials.count() == 1


def test_revoking_the_credentials_of_devices_counts_those_that_were_on(pump):
    valve, other = services.create_device("valve"), services.create_device("other")
    services.create_token(pump)
    services.add_password(pump, "correct horse")
    services.create_token(valve)
    services.create_token(other)
    assert services.revoke_credentials([pump, valve]) == 3
    assert services.revoke_credentials([pump, valve]) == 0
    assert list(Credential.objects.filter(enabled=True).values_list("device__username", flat=True)) == [
        "other"
    ]


@pytest.mark.django_db
def test_saving_a_device_takes_back_nothing_that_the_endpoint_noted_meanwhile():
    device = services.create_device("pump-17")
    Device.objects.update(last_seen_at=NOON)
    device.description = "in the cellar"
    services.save_device(device)
    stored = Device.objects.get()
    assert (stored.description, stored.last_seen_at) == ("in the cellar", NOON)


@pytest.mark.django_db
def test_a_device_that_was_deleted_meanwhile_does_not_come_back():
    device = services.create_device("pump-17")
    Device.objects.all().delete()
    with pytest.raises(ValidationError):
        services.save_device(device)
    assert not Device.objects.exists()
