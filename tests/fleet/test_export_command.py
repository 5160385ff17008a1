"""manage.py export: what it writes, what it refuses to write, and whose rules a device is given."""

import io
import json
import stat

import pytest
from django.core.management import CommandError, call_command

from accounts import services
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl_services
from exhookadmin.fleet import stored
from exhookadmin.fleet.writing.known import TARGETS
from tests.fleet.vectors import BCRYPT

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("export", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def pumps(monkeypatch):
    """p0 … p4; all have the everyone's rules, odd ones those of their group, p2 two policies and its own."""
    monkeypatch.setattr(stored, "PAGE", 2)
    group = services.save_group(DeviceGroup(name="pumps"))
    everyone = acl_services.create_policy("everyone", everyone=True)
    acl_services.create_rule(everyone, "deny", "all", "secret/#", priority=1)
    acl_services.create_rule(everyone, "allow", "publish", "up/${username}")
    grouped = acl_services.create_policy("grouped", groups=[group])
    acl_services.create_rule(grouped, "allow", "subscribe", "pumps/#", priority=2)
    off = acl_services.create_policy("off", everyone=True, enabled=False)
    acl_services.create_rule(off, "allow", "all", "#", priority=9)
    for number in range(5):
        device = services.create_device(
            f"p{number}", groups=[group] if number % 2 else [], client_id_binding="any"
        )
        Credential.objects.create(device=device, kind="password", encoded=BCRYPT)
    special = services.save_device(Device.objects.get(username="p2"))
    acl_services.attach_policies(special, [grouped])
    acl_services.create_rule(special, "allow", "publish", "own", priority=3)
    acl_services.create_rule(special, "deny", "publish", "own/off", priority=3, enabled=False)


def test_each_device_gets_all_rules_that_apply_in_the_order_in_which_they_are_tried(pumps, tmp_path):
    path = tmp_path / "rules.json"
    assert "Written:" in run("emqx-rules-json", str(path))
    lists = {
        one["username"]: [rule["topic"] for rule in one["rules"]] for one in json.loads(path.read_text())
    }
    assert lists == {
        "p0": ["secret/#", "up/p0"],
        "p1": ["pumps/#", "secret/#", "up/p1"],
        "p2": ["own", "pumps/#", "secret/#", "up/p2"],
        "p3": ["pumps/#", "secret/#", "up/p3"],
        "p4": ["secret/#", "up/p4"],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_list_for_all_has_the_same_order(pumps, tmp_path):
    path = tmp_path / "acl.conf"
    run("emqx-acl-conf", str(path))
    assert path.read_text().splitlines() == [
        '{allow, {username, "p2"}, publish, ["own"]}.',
        '{allow, {\'or\', [{username, "p1"}, {username, "p2"}]}, subscribe, ["pumps/#"]}.',
        '{allow, {username, "p3"}, subscribe, ["pumps/#"]}.',
        '{deny, all, all, ["secret/#"]}.',
        '{allow, all, publish, ["up/${username}"]}.',
        "{deny, all}.",
    ]


def test_what_is_lost_must_be_accepted_and_nothing_is_written_before(pumps, tmp_path):
    path, report = tmp_path / "passwd", tmp_path / "report.csv"
    out = io.StringIO()
    with pytest.raises(CommandError, match="Accept that with --partial") as ended:
        call_command("export", "mosquitto-passwords", str(path), f"--report={report}", stdout=out)
    assert ended.value.returncode == 2
    assert list(tmp_path.iterdir()) == [report]
    assert len(report.read_text().splitlines()) == 1 + 2 * 5
    assert "p0, credentials: it has no credential that is a $7$ hash" in out.getvalue()
    assert BCRYPT not in out.getvalue() + report.read_text()
    run("mosquitto-passwords", str(path), "--partial")
    assert path.read_bytes() == b""


def test_a_deny_that_cannot_be_said_is_not_for_sale(pumps, tmp_path):
    device = Device.objects.get(username="p1")
    acl_services.create_rule(device, "deny", "all", "${attr.site}/#")
    with pytest.raises(CommandError, match=r"Nothing was written\.$"):
        run("emqx-acl-conf", str(tmp_path / "acl.conf"), "--partial")


def test_only_some_devices(pumps, tmp_path):
    path = tmp_path / "devices.csv"
    run("devices-csv", str(path), "--group=pumps", "--device=p0")
    assert [line.partition(",")[0] for line in path.read_text().splitlines()] == [
        "username",
        "p0",
        "p1",
        "p3",
    ]
    for wrong in ("--device=nobody", "--group=nothing", "--map-attribute=x"):
        with pytest.raises(CommandError):
            run("devices-csv", str(tmp_path / "other"), wrong)


@pytest.mark.parametrize("name", TARGETS)
def test_every_format_writes_this_fleet(pumps, tmp_path, name):
    path = tmp_path / "file"
    run(name, str(path), "--algorithm=bcrypt", "--partial")
    assert path.exists()


def test_the_form_of_hashes_must_be_said(pumps, tmp_path):
    with pytest.raises(CommandError, match="--algorithm must be given"):
        run("emqx-users-csv", str(tmp_path / "users.csv"))


@pytest.mark.django_db(transaction=True)
def test_it_is_the_database_at_one_moment(tmp_path):
    services.create_device("p1")
    run("fleet-jsonl", str(tmp_path / "file"))
    assert b'"p1"' in (tmp_path / "file").read_bytes()
