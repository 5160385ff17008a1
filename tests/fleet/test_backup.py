"""manage.py backup and restore: the same bytes again, from an empty database."""

import io
import json
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts import services
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl_services
from acl.models import Policy, Rule
from exhookadmin.fleet import importing, stored
from tests.fleet.vectors import BCRYPT

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def make_fleet() -> None:
    pumps = services.save_group(DeviceGroup(name="pumps", description="All of\nthem, “quoted”"))
    services.save_group(DeviceGroup(name="äußere"))
    base = acl_services.create_policy("base", groups=[pumps], description="first")
    acl_services.create_rule(base, "allow", "publish", "up/${clientid}/#", note="again")
    acl_services.create_rule(base, "allow", "publish", "up/${clientid}/#", note="again")
    acl_services.create_rule(base, "deny", "all", "up/#", networks="10.0.0.0/8\n2001:db8::/32", priority=-5)
    acl_services.create_rule(base, "deny", "subscribe", "#", literal=True, enabled=False)
    special = acl_services.create_policy("special", everyone=True, enabled=False)
    for number in range(5):
        device = services.create_device(f"p{number}", groups=[pumps] if number % 2 else [])
        services.create_token(device, f"token {number}")
    device = services.create_device(
        "Z=1 \u2028 ünï,\tcode",
        description="=1+2",
        client_id_binding="prefix",
        client_id="z-",
        networks="192.0.2.0/24\n10.0.0.1/32",
        valid_from="2026-01-01T00:00:00.000001Z",
        valid_until="2030-01-01T02:00:00+02:00",
        certificate_cn="cn",
        attributes={"b": "2", "a": "1"},
        enabled=False,
        superuser=True,
    )
    acl_services.attach_policies(device, [special, base])
    acl_services.create_rule(device, "deny", "publish", "own/+", priority=7, note="x, line 3")
    Credential.objects.create(device=device, kind="password", encoded=BCRYPT, enabled=False)
    Credential.objects.create(
        device=device, kind="password", encoded=BCRYPT, expires_at="2027-03-01T08:00:00Z", label="imported #1"
    )


def empty() -> None:
    Device.objects.all().delete()
    Policy.objects.all().delete()
    DeviceGroup.objects.all().delete()


def test_restored_into_an_empty_database_the_next_backup_is_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 3)
    monkeypatch.setattr(stored, "PAGE", 2)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    make_fleet()
    run("backup", str(first))
    empty()
    assert run("restore", str(first)) == "10 created, 1 unchanged, 1 updated.\n"
    run("backup", str(second))
    assert second.read_bytes() == first.read_bytes()
    assert run("restore", str(second)) == "12 unchanged.\n"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.jsonl", "second.jsonl"]


def test_restoring_puts_back_what_was_changed_and_leaves_what_the_file_does_not_name(tmp_path):
    path = tmp_path / "backup.jsonl"
    make_fleet()
    run("backup", str(path))
    Rule.objects.filter(pk=Rule.objects.filter(note="again").values_list("pk")[0][0]).delete()
    Rule.objects.filter(effect="deny").update(note="rewritten")
    Device.objects.get(username="p1").groups.clear()
    Device.objects.filter(client_id="z-").update(description="", certificate_cn="other")
    Policy.devices.through.objects.all().delete()
    services.create_device("later")
    assert run("restore", str(path), "--dry-run").startswith("Would be: 9 unchanged, 3 updated")
    assert run("restore", str(path)) == "9 unchanged, 3 updated.\n"
    again = tmp_path / "again.jsonl"
    run("backup", str(again))
    assert again.read_bytes().startswith(path.read_bytes())
    assert json.loads(again.read_bytes().splitlines()[-1])["username"] == "later"


def test_a_policy_of_many_rules_is_one_line_and_comes_back(tmp_path):
    policy = acl_services.create_policy("long")
    Rule.objects.bulk_create(Rule(policy=policy, topic_filter=f"t/{n}/" + "x" * 200) for n in range(2_000))
    path = tmp_path / "backup.jsonl"
    run("backup", str(path))
    empty()
    run("restore", str(path))
    assert Rule.objects.filter(policy__name="long").count() == 2_000


def test_a_device_whose_policy_is_nowhere_is_refused_because_it_could_deny(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"type": "device", "username": "p1", "policies": ["gone"]}\n')
    with pytest.raises(SystemExit):
        run("restore", str(path))
    assert not Device.objects.exists()


def test_a_credential_that_could_not_come_back_stops_the_backup(tmp_path):
    device = services.create_device("p1")
    Credential.objects.create(device=device, kind="password", encoded="!unusable")
    out = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was written"):
        call_command("backup", str(tmp_path / "backup.jsonl"), stdout=out)
    assert "p1, credentials[0]: it could not be restored" in out.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "backup.jsonl"
    path.write_text("precious")
    with pytest.raises(CommandError, match="exists"):
        run("backup", str(path))
    with pytest.raises(CommandError, match="No such file"):
        run("backup", str(Path("/does/not/exist/backup.jsonl")))
    assert path.read_text() == "precious"
