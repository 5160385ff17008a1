"""manage.py device: what a factory script does, without a browser."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from accounts import services
from accounts.core.tokens import token_matches
from accounts.models import Credential, Device, DeviceGroup
from accounts.passwords import password_matches
from acl import services as acl_services
from tests.cli.conftest import Run

pytestmark = pytest.mark.django_db


def test_adding_a_device_with_all_it_needs(run: Run, tmp_path: Path):
    services.save_group(DeviceGroup(name="pumps"))
    acl_services.create_policy("fleet")
    (tmp_path / "password").write_text("correct horse\n")
    [shown] = run(
        "device", "add", "pump-17", "--group", "pumps", "--policy", "fleet", "--attribute", "site=berlin",
        "--network", "192.0.2.0/24", "--client-id-binding", "exact", "--client-id", "p17", "--token",
        "--password-file", str(tmp_path / "password"), "--json",
    )  # fmt: skip
    device = Device.objects.get(username="pump-17")
    assert (shown["groups"], shown["policies"], shown["attributes"]) == (
        ["pumps"],
        ["fleet"],
        {"site": "berlin"},
    )
    assert (device.networks, device.client_id) == ("192.0.2.0/24", "p17")
    secrets = {credential.kind: credential.encoded for credential in device.credentials.all()}
    assert token_matches(secrets["token"], shown["token"])
    assert password_matches(secrets["password"], "correct horse")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["add", "pump-1", "--network", "nowhere"], 2),
        (["add", "pump-1", "--attribute", "site"], 2),
        (["add", "pump-1", "--group", "nobody"], 1),
        (["add", "pump-1", "--password-file", "/nowhere"], 2),
        (["show", "nobody"], 1),
        (["disable", "pump-0", "nobody"], 1),
        (["delete", "pump-0"], 2),
        (["rotate", "pump-0"], 1),
        (["revoke", "pump-0", "--credential", "7"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_changes_nothing_and_is_told(arguments: list[str], code: int, run: Run):
    services.create_device("pump-0")
    assert run("device", *arguments) == code
    assert list(Device.objects.values_list("username", "enabled")) == [("pump-0", True)]


def test_switching_showing_and_deleting(run: Run):
    for name in ("pump-1", "pump-2", "fan-1"):
        services.create_device(name)
    assert run("device", "disable", "pump-1", "pump-2", "--json") == [{"devices": 2, "changed": 2}]
    assert [row["username"] for row in run("device", "list", "--disabled", "--json")] == ["pump-1", "pump-2"]
    assert [row["username"] for row in run("device", "list", "--like", "FAN", "--json")] == ["fan-1"]
    assert run("device", "enable", "pump-1", "--json") == [{"devices": 1, "changed": 1}]
    table = run("device", "list")
    assert table.splitlines()[0].split()[:2] == ["USERNAME", "ENABLED"]
    assert len(table.splitlines()) == 4
    run("device", "delete", "fan-1", "--yes")
    assert not Device.objects.filter(username="fan-1").exists()


def test_a_name_cannot_steer_the_terminal(run: Run):
    services.create_device("pump", description="\x1b[2Jgone")
    assert "\x1b" not in run("device", "list")
    assert "\x1b" not in run("device", "show", "pump")


def test_rotation_replaces_all_live_credentials(run: Run):
    device = services.create_device("pump-17")
    first, _ = services.create_token(device, "old")
    second = services.add_password(device, "correct horse")
    [made] = run("device", "rotate", "pump-17", "--overlap", "7d", "--expires-in", "90d", "--json")
    fresh = Credential.objects.get(pk=made["id"])
    assert token_matches(fresh.encoded, made["token"])
    assert fresh.expires_at
    for old in (first, second):
        old.refresh_from_db()
        assert old.expires_at is not None
        assert timedelta(days=6) < old.expires_at - timezone.now() <= timedelta(days=7)


def test_revoking_one_and_all(run: Run):
    device = services.create_device("pump-17")
    tokens = [services.create_token(device)[0] for _ in range(3)]
    assert run("device", "revoke", "pump-17", "--credential", str(tokens[0].pk), "--json") == [{"revoked": 1}]
    assert run("device", "revoke", "pump-17", "--all", "--json") == [{"revoked": 2}]
    assert not Credential.objects.filter(enabled=True).exists()


def test_no_secret_is_shown_again(run: Run):
    device = services.create_device("pump-17")
    credential, token = services.create_token(device)
    for shown in (run("device", "show", "pump-17"), str(run("device", "show", "pump-17", "--json"))):
        assert token not in shown
        assert credential.encoded not in shown
