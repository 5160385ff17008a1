"""What somebody reads whose settings or database are wrong: one sentence, and no traceback."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, ProgrammingError

from exhookadmin.plain_errors import EXIT_DATABASE, EXIT_NOT_UNDERSTOOD, in_plain_words
from tests.programs import run_python

REFUSED = (
    'connection to server at "localhost" (127.0.0.1), port 5 failed: Connection refused\n\tIs it running?\n'
)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (
            ImproperlyConfigured("DEBUG: “x”."),
            EXIT_NOT_UNDERSTOOD,
            "The settings cannot be used. DEBUG: “x”.",
        ),
        (OperationalError(REFUSED), EXIT_DATABASE, "failed: Connection refused Is it running. Check that it"),
        (
            OperationalError("unable to open database file"),
            EXIT_DATABASE,
            "file. Check that it runs, and DATABASE",
        ),
        (
            OperationalError('FATAL:  database "x" does not exist'),
            EXIT_DATABASE,
            "Check that it runs, and DATA",
        ),
        (OperationalError("no such table: accounts_device"), EXIT_DATABASE, "Run: python manage.py migrate"),
        (
            ProgrammingError('relation "a" does not exist\nLINE 1: …'),
            EXIT_DATABASE,
            "python manage.py migrate",
        ),
    ],
)
def test_what_the_surroundings_did_is_said_plainly(error: Exception, status: int, says: str) -> None:
    told = in_plain_words(error)
    assert told is not None
    assert says in told[0]
    assert "\n" not in told[0]
    assert told[1] == status


@pytest.mark.parametrize("error", [KeyError("x"), IntegrityError("UNIQUE"), ProgrammingError("syntax error")])
def test_our_own_mistakes_keep_their_traceback(error: Exception) -> None:
    assert in_plain_words(error) is None


@pytest.mark.parametrize(
    ("command", "environment", "status", "says"),
    [
        pytest.param(
            "check", {"DEBUG": "maybe"}, 2, "DEBUG: “maybe” is neither true nor false.", id="setting"
        ),
        pytest.param(
            "device list", {"VAR_DIR": "/dev/null/var"}, 2, "VAR_DIR: “/dev/null/var”", id="directory"
        ),
        pytest.param("check", {"SECRET_KEY_FILE": "/no/file"}, 2, "SECRET_KEY_FILE: “/no/file”", id="file"),
        pytest.param(
            "device list",
            {"DATABASE_URL": "postgres://somebody:hunter2@127.0.0.1:1/x"},
            4,
            "Check that it runs, and DATABASE_URL.",
            id="database away",
        ),
        pytest.param(
            "device list",
            {"DATABASE_URL": "sqlite:////no/directory/x"},
            4,
            "unable to open",
            id="database file",
        ),
    ],
)
def test_a_command_that_cannot_begin(
    tmp_path: Path, command: str, environment: dict[str, str], status: int, says: str
) -> None:
    surroundings: dict[str, Any] = {
        "VAR_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "exhookadmin.settings",
    }
    done = run_python("manage.py", *command.split(), **surroundings | environment)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hunter2" not in done.stderr
    assert done.returncode == status


def test_a_traceback_can_be_asked_for() -> None:
    done = run_python("manage.py", "check", "--traceback", DEBUG="maybe")
    assert "Traceback" in done.stderr
