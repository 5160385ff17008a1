"""Write the Python stubs of the ExHook contracts, or check that they are up to date.

Run from anywhere the project is importable::

    python -m protos.generate            # write the stubs beside their .proto files
    python -m protos.generate --check    # write nothing; exit 1 and name the files that differ
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

# Stubs demand at run time a protobuf at least as new as their generator. This one is the newest whose
# stubs load on protobuf 5.29 and on every later version up to 7.
GRPCIO_TOOLS = "1.71.2"

PROTOS = Path(__file__).resolve().parent
STUB_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


class GeneratorUnavailable(Exception):
    """grpcio-tools is missing or not the version whose output is committed; the message names the fix."""


def require_generator() -> None:
    """Raise GeneratorUnavailable unless exactly ``GRPCIO_TOOLS`` is installed.

    Another version writes other stubs, and newer ones refuse to load on older protobuf runtimes.
    """
    fix = f"Run: python -m pip install grpcio-tools=={GRPCIO_TOOLS}"
    try:
        installed = metadata.version("grpcio-tools")
    except metadata.PackageNotFoundError:
        raise GeneratorUnavailable(f"The stubs need grpcio-tools, which is not installed. {fix}") from None
    if installed != GRPCIO_TOOLS:
        raise GeneratorUnavailable(
            f"The stubs are written by grpcio-tools {GRPCIO_TOOLS}, but {installed} is installed. {fix}"
        )


def render(protos: Path = PROTOS) -> dict[str, bytes]:
    """The stubs of every .proto file in ``protos``, by file name; touches no file there.

    Raises GeneratorUnavailable, or CalledProcessError when a .proto file does not compile (protoc
    then has said why on stderr).
    """
    require_generator()
    # From the parent directory, because the path protoc is given becomes both the import in the stubs
    # ("from protos import …") and the file's name in protobuf's process-wide descriptor pool.
    sources = sorted(f"{protos.name}/{path.name}" for path in protos.glob("*.proto"))
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                "-I.",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                *sources,
            ],
            cwd=protos.parent,
            check=True,
        )
        return {path.name: path.read_bytes() for path in Path(out, protos.name).iterdir()}


def committed(protos: Path = PROTOS) -> dict[str, bytes]:
    """The stubs that lie in ``protos`` now, by file name."""
    return {path.name: path.read_bytes() for pattern in STUB_PATTERNS for path in protos.glob(pattern)}


def differing(fresh: dict[str, bytes], present: dict[str, bytes]) -> list[str]:
    """Names of the stubs that are missing, changed, or left over from a contract that is gone."""
    return sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))


def write(protos: Path = PROTOS) -> list[str]:
    """Bring the stubs in ``protos`` up to date and name those that changed. Raises as `render` does."""
    fresh = render(protos)
    changed = differing(fresh, committed(protos))
    for name in changed:
        if name in fresh:
            (protos / name).write_bytes(fresh[name])
        else:
            (protos / name).unlink()
    return changed


def main(arguments: Sequence[str] | None = None, protos: Path = PROTOS) -> int:
    """Exit status: 0 is well, 1 a stub is out of date or a contract does not compile, 2 no generator."""
    parser = argparse.ArgumentParser(
        prog="python -m protos.generate", description="Write the Python stubs of the ExHook contracts."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a stub is out of date")
    options = parser.parse_args(arguments)
    try:
        names = differing(render(protos), committed(protos)) if options.check else write(protos)
    except GeneratorUnavailable as unavailable:
        print(unavailable, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError:
        return 1
    if not options.check:
        print("\n".join(f"updated {protos.name}/{name}" for name in names) or "The stubs are up to date.")
        return 0
    for name in names:
        print(f"{protos.name}/{name} is out of date. Run: python -m protos.generate", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
