"""The throw-away PostgreSQL starts, survives an outage with its data, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from tests.postgres import throwaway_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the server is started the Unix way")


def query(url: str, statement: str) -> object:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
        return row[0] if row else None


def test_it_keeps_its_data_through_an_outage_and_is_gone_afterwards() -> None:
    with throwaway_server() as server:
        query(server.url, "CREATE TABLE kept AS SELECT 17 AS number; SELECT 1")
        url = server.url
        server.stop()
        with pytest.raises(psycopg2.OperationalError):
            query(url, "SELECT 1")
        server.start()
        assert server.url == url
        assert query(url, "SELECT number FROM kept") == 17
        assert query(url, "SELECT upper('ä')") == "Ä"
    assert not server.directory.exists()
    with pytest.raises(psycopg2.OperationalError):
        query(url, "SELECT 1")


def stops_answering(url: str) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            query(url, "SELECT 1")
        except psycopg2.OperationalError:
            return True
        time.sleep(0.05)
    return False


def wrapped(code: str) -> list[str]:
    return [sys.executable, "-m", "tests.postgres", "--", sys.executable, "-c", code]


def test_the_command_gets_the_database_and_its_status_is_passed_on() -> None:
    check = "import os, psycopg2; psycopg2.connect(os.environ['DATABASE_URL']); raise SystemExit(7)"
    assert subprocess.run(wrapped(check), timeout=300).returncode == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_killed_run_stops_the_server(number: signal.Signals, tmp_path: Path) -> None:
    """After SIGTERM nothing is left. After SIGKILL nobody can tidy up, but the server still ends."""
    told = tmp_path / "url"
    # The command writes the address in one step, then waits to be interrupted.
    wait = (
        "import os, pathlib, time\n"
        f"path = pathlib.Path({str(told)!r})\n"
        "path.with_suffix('.new').write_text(os.environ['DATABASE_URL'])\n"
        "path.with_suffix('.new').rename(path)\n"
        "time.sleep(600)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        wrapped(wait), env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    ) as wrapper:
        deadline = time.monotonic() + 120
        while not told.exists():
            assert wrapper.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = told.read_text()
        assert query(url, "SELECT 1") == 1
        directory = Path(str(query(url, "SHOW data_directory"))).parent
        wrapper.send_signal(number)
        wrapper.wait(120)
        if number == signal.SIGKILL:
            os.killpg(wrapper.pid, signal.SIGKILL)
    assert stops_answering(url)
    if number == signal.SIGTERM:
        assert not directory.exists()
    else:
        # It answers no more, and writes a moment longer.
        deadline = time.monotonic() + 120
        while subprocess.run(["rm", "-rf", str(directory)], stderr=subprocess.DEVNULL).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)
