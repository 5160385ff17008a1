"""manage.py first_admin: somebody who can log in to a fresh installation, made once."""

import logging
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent


def first_admin() -> str:
    output = StringIO()
    call_command("first_admin", stdout=output)
    return output.getvalue()


def password_in(output: str) -> str:
    found = re.search(r"“(\S+)” with the password (\S+)", output)
    assert found
    return found[2]


@pytest.mark.django_db
def test_creates_admin_with_a_password_that_works(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        password = password_in(first_admin())
    user = User.objects.get(username="admin")
    assert user.check_password(password)
    assert user.is_staff
    assert user.is_superuser
    assert len(password) >= 20
    assert password not in caplog.text


@pytest.mark.django_db
def test_does_nothing_the_second_time_and_says_so() -> None:
    first_admin()
    before = list(User.objects.values())
    assert "Nothing to do: “admin”" in first_admin()
    assert list(User.objects.values()) == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("staff", "superuser"), [(True, False), (False, True)], ids=["no superuser", "may not log in here"]
)
def test_others_do_not_count_and_are_left_alone(staff: bool, superuser: bool) -> None:
    User.objects.create_user("admin", is_staff=staff, is_superuser=superuser, password="their own")
    assert "“admin2”" in first_admin()
    assert User.objects.get(username="admin").check_password("their own")


def test_a_fresh_installation_is_set_up_from_nothing(tmp_path: Path) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "exhookadmin.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/fresh.sqlite3",
        "VAR_DIR": str(tmp_path),
    }

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    migrated = manage("migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    created = manage("first_admin")
    assert created.returncode == 0, created.stderr
    assert password_in(created.stdout) not in created.stderr
    assert "Nothing to do" in manage("first_admin").stdout
