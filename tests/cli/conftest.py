"""Running a command as a shell would: what it prints, and its exit code."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

Run = Callable[..., Any]


@pytest.fixture
def run(db: None) -> Run:
    """Answers what the command wrote: objects for ``--json``, else text; or its exit code when it failed."""

    def run(command: str, *arguments: str) -> Any:
        out = StringIO()
        try:
            call_command(command, *arguments, stdout=out)
        except CommandError as error:
            return error.returncode
        except SystemExit as end:
            return end.code
        text = out.getvalue()
        return [json.loads(line) for line in text.splitlines()] if "--json" in arguments else text

    return run
