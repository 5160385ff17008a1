"""manage.py audit_dead_letters: what was refused, and another try."""

from pathlib import Path

import pytest

from audit.codec import encode
from audit.dead_letters import DeadLetters
from audit.fact import Fact, Kind
from audit.models import Event
from tests.cli.conftest import Run

COMMAND = "audit_dead_letters"


@pytest.fixture
def root(tmp_path: Path) -> str:
    letters = DeadLetters(tmp_path)
    letters.add(encode(Fact(Kind.AUTHORIZE, client_id="pump\x1b[31m-17", topic="a/b")), "DataError")
    letters.add(b"no fact", "BadRecord")
    return str(tmp_path)


@pytest.mark.django_db
def test_they_are_listed(run: Run, root: str, capsys: pytest.CaptureFixture[str]):
    assert run(COMMAND, "--directory", root) == 1
    assert run(COMMAND, "--directory", root, "--json") == 1


@pytest.mark.django_db
def test_they_are_written_again(run: Run, root: str):
    assert run(COMMAND, "--directory", root, "--retry") == 1
    assert Event.objects.get().topic == "a/b"
    [letter] = DeadLetters(Path(root))
    assert letter.record == b"no fact"


@pytest.mark.django_db
def test_where_there_are_none(run: Run, tmp_path: Path):
    assert run(COMMAND, "--directory", str(tmp_path)) == "There are no dead letters.\n"
    assert run(COMMAND, "--directory", str(tmp_path), "--retry") == "0 stored, 0 left.\n"
    assert run(COMMAND, "--directory", str(tmp_path / "none")) == 1
