"""manage.py import: what it prints, how it ends, and what a kill leaves behind."""

import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Credential, Device
from acl.models import Rule
from exhookadmin.fleet.importing import BATCH
from exhookadmin.fleet.models import ImportRun
from tests.endpoint import child_environment
from tests.programs import ROOT

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("import", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path):
    def write(content: str, name: str = "file.csv") -> str:
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write


def test_it_says_what_it_did(file):
    assert run("devices-csv", file("username\np1\np2\n")) == "2 created.\n"
    assert run("devices-csv", file("username,enabled\np1,false\np2,true\n")) == "1 unchanged, 1 updated.\n"
    assert run("devices-csv", file("username\n")) == "Nothing to do.\n"


def test_a_dry_run_only_says_what_it_would_do(file):
    assert run("devices-csv", file("username\np1\n"), "--dry-run") == "Would be: 1 created.\n"
    assert not Device.objects.exists()


def test_refused_rows_end_in_one(file, tmp_path):
    report = tmp_path / "report.csv"
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "import", "mosquitto-passwords", file("a:\nb:$7$1$x\n"), f"--report={report}", stdout=out
        )
    assert ended.value.code == 1
    assert out.getvalue().splitlines() == [
        "Refused rows:",
        "  line 1, hash: this user has no password, so it could never connect",
        "  line 2, hash: it is cut off: a part of it is missing",
        "Nothing to do.",
    ]
    assert report.read_text().splitlines()[1].startswith('1,,refused,hash,"this user has no password,')


def test_errors_end_in_two_and_change_nothing(file):
    out = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was changed") as ended:
        call_command("import", "devices-csv", file("username\np1\np1\n"), stdout=out)
    assert ended.value.returncode == 2
    assert out.getvalue() == "Errors:\n  line 3, device: device p1 was on line 2 already\n"
    assert not Device.objects.exists()


def test_what_is_lost_must_be_accepted(file):
    path = file('{deny, {zone, "z"}, all, ["a"]}.\n{allow, {zone, "z"}, all, ["b"]}.\n', "acl.conf")
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("import", "emqx-acl-conf", path, stdout=out)
    said = out.getvalue()
    assert "left out (accept with --drop-allows):\n  line 2" in said
    assert "wider (accept with --widen-denies):\n  line 1" in said
    run("emqx-acl-conf", path, "--drop-allows", "--widen-denies")
    assert [str(rule) for rule in Rule.objects.all()] == ["deny all a"]
    assert Rule.objects.get().note == "acl.conf, line 1"


def test_the_options_reach_the_reader(file):
    salted = hashlib.sha256(b"passwords").hexdigest()
    path = file(f"user_id,password_hash,salt\nu1,{salted},s\n")
    run(
        "emqx-users-csv", path, "--algorithm=sha256", "--salt-position=suffix", "--client-id-binding=any"
    )  # fmt: skip
    assert Credential.objects.get().encoded == f"emqx$sha256$suffix$s${salted}"
    assert Device.objects.get().client_id_binding == "any"
    acl = file('{allow, all, all, ["${client_attrs.their}/x"]}.', "acl.conf")
    run("emqx-acl-conf", acl, "--map-attribute=their=ours", "--priority=7", "--name=main")
    rule = Rule.objects.get()
    assert (rule.topic_filter, rule.priority, rule.note) == ("${attr.ours}/x", 7, "main, line 1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("devices-csv", "/does/not/exist"),
        ("no-such-format", "x"),
        ("emqx-acl-conf", "FILE", "--map-attribute=x"),
        ("emqx-acl-conf", "FILE", "--map-attribute=a=b c"),
        ("emqx-acl-conf", "FILE", "--name=" + "x" * 101),
        ("emqx-acl-conf", "FILE", "--report=/does/not/exist"),
    ],
    ids=str,
)
def test_what_it_does_not_understand(arguments, file):
    path = file("{deny, all}.", "acl.conf")
    with pytest.raises(CommandError) as ended:
        run(*(path if argument == "FILE" else argument for argument in arguments))
    assert ended.value.returncode in (1, 2)
    assert not Rule.objects.exists()


def test_many_findings_are_cut_short_on_the_terminal_only(file, tmp_path):
    report = tmp_path / "report.csv"
    out = io.StringIO()
    path = file("".join(f"u{number}:\n" for number in range(80)))
    with pytest.raises(SystemExit):
        call_command("import", "mosquitto-passwords", path, f"--report={report}", stdout=out)
    assert "and 30 more; --report FILE has them all" in out.getvalue()
    assert len(report.read_text().splitlines()) == 81


KILLED = """
import os, signal, sys, django
django.setup()
from django.core.management import call_command
from exhookadmin.fleet.importing import BATCH
from exhookadmin.fleet.models import ImportRun
save = ImportRun.save
def save_or_die(run, *arguments, **options):
    if run.records > 2 * BATCH:
        os.kill(os.getpid(), signal.SIGKILL)
    save(run, *arguments, **options)
ImportRun.save = save_or_die
call_command("import", "devices-csv", sys.argv[1])
"""
"""Dies with the third batch stored and not committed."""


@pytest.mark.django_db(transaction=True)
def test_a_kill_loses_nothing_and_the_next_call_goes_on(file, tmp_path):
    count = 5 * BATCH
    path = file("username,description\n" + "".join(f"p{number},d\n" for number in range(count)))
    var = tmp_path / "var"
    var.mkdir()
    environment = {**os.environ, **child_environment(Path(var)), "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_ = ImportRun.objects.get()
    assert Device.objects.count() == run_.records == 2 * BATCH
    assert run_.outcomes == {"created": run_.records}
    assert run("devices-csv", path) == f"{count:,} created.\n"
    assert Device.objects.count() == count
    assert ImportRun.objects.get().finished_at is not None
    Device.objects.all().delete()
