"""Builds the no-op in Go, where this machine can."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "go"
# Where Debian's golang-google-grpc-dev puts the library, for builds without modules.
PACKAGED = Path("/usr/share/gocode")
BUILD_SECONDS = 180.0


class NoGo(Exception):
    """The text says what is missing."""


def build(directory: Path) -> Path:
    """The program, compiled in ``directory``. Raises NoGo.

    With modules first, which needs the network or a filled module cache; then with the
    library of the system's package.
    """
    if shutil.which("go") is None:
        raise NoGo("no Go toolchain is installed")
    sources = directory / "go"
    shutil.copytree(SOURCES, sources)
    program = directory / "noop"
    if _compiles(sources, program, {"GOFLAGS": "-mod=mod"}):
        return program
    if PACKAGED.is_dir() and _compiles(sources, program, {"GO111MODULE": "off", "GOPATH": str(PACKAGED)}):
        return program
    raise NoGo("the Go toolchain does not find google.golang.org/grpc")


def _compiles(sources: Path, program: Path, environment: dict[str, str]) -> bool:
    try:
        return (
            subprocess.run(
                ["go", "build", "-o", str(program), "."],
                cwd=sources,
                env={**os.environ, **environment},
                capture_output=True,
                timeout=BUILD_SECONDS,
                check=False,
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False
