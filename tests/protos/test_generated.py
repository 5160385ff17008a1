"""The committed stubs are what the contracts generate, and all three load side by side."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from protos import exhook_v1_pb2, exhook_v2_pb2, exhook_v3_pb2, generate

ROOT = generate.PROTOS.parent
VERSIONS = {"v1": exhook_v1_pb2, "v2": exhook_v2_pb2, "v3": exhook_v3_pb2}


def generator_version() -> str | None:
    try:
        return metadata.version("grpcio-tools")
    except metadata.PackageNotFoundError:
        return None


needs_generator = pytest.mark.skipif(
    generator_version() is None,
    reason="grpcio-tools is not installed: pip install -r requirements-dev.txt",
)


@pytest.fixture
def contract_copy(tmp_path: Path) -> Path:
    """A copy of protos/ that a test may spoil."""
    return Path(shutil.copytree(generate.PROTOS, tmp_path / "protos"))


# --- What is committed ---


def test_each_contract_has_its_three_stubs_and_no_stub_is_left_over():
    assert set(generate.committed()) == {
        f"exhook_{version}{stub}" for version in VERSIONS for stub in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    }


@needs_generator
def test_regenerating_gives_the_committed_stubs_byte_for_byte():
    assert generate.render() == generate.committed()


def test_stubs_ask_for_no_newer_runtime_than_the_project_promises():
    for version in VERSIONS:
        stub = generate.committed()[f"exhook_{version}_pb2.py"].decode()
        assert "# Protobuf Python Version: 5.29.0\n" in stub
        grpc_stub = generate.committed()[f"exhook_{version}_pb2_grpc.py"].decode()
        assert f"GRPC_GENERATED_VERSION = '{generate.GRPCIO_TOOLS}'\n" in grpc_stub


@pytest.mark.parametrize("version", VERSIONS)
def test_stubs_import_each_other_from_the_protos_package(version):
    stub = generate.committed()[f"exhook_{version}_pb2_grpc.py"].decode()
    assert re.search(rf"^from protos import exhook_{version}_pb2 as ", stub, re.MULTILINE)


# --- Loading ---


@pytest.mark.parametrize("order", [("v1", "v2", "v3"), ("v3", "v2", "v1")], ids="-".join)
def test_all_three_load_in_one_fresh_process_without_a_collision_or_a_warning(order):
    program = "\n".join(
        [
            *(f"from protos import exhook_{version}_pb2_grpc" for version in order),
            "from google.protobuf import descriptor_pool",
            "pool = descriptor_pool.Default()",
            "for version in ('v1', 'v2', 'v3'):",
            "    service = pool.FindServiceByName(f'emqx.exhook.{version}.HookProvider')",
            "    print(service.full_name, service.file.name, len(service.methods))",
        ]
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"emqx.exhook.{version}.HookProvider protos/exhook_{version}.proto 21" for version in VERSIONS
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_servicer_and_stub_know_every_call_of_their_contract(version):
    service = VERSIONS[version].DESCRIPTOR.services_by_name["HookProvider"]
    grpc_module = importlib.import_module(f"protos.exhook_{version}_pb2_grpc")
    servicer = {name for name in vars(grpc_module.HookProviderServicer) if not name.startswith("_")}
    assert servicer == {method.name for method in service.methods}


# --- The generator ---


@needs_generator
def test_check_is_silent_when_nothing_differs(contract_copy, capfd):
    assert generate.main(["--check"], contract_copy) == 0
    assert capfd.readouterr() == ("", "")


@needs_generator
def test_check_names_the_stubs_that_differ_and_writes_nothing(contract_copy, capfd):
    stub = contract_copy / "exhook_v2_pb2.py"
    stub.write_bytes(stub.read_bytes() + b"# by hand\n")
    (contract_copy / "exhook_v3_pb2.pyi").unlink()
    (contract_copy / "exhook_v9_pb2.py").write_bytes(b"")
    before = generate.committed(contract_copy)

    assert generate.main(["--check"], contract_copy) == 1

    assert re.findall(r"protos/(\S+) is out of date", capfd.readouterr().err) == [
        "exhook_v2_pb2.py",
        "exhook_v3_pb2.pyi",
        "exhook_v9_pb2.py",
    ]
    assert generate.committed(contract_copy) == before


@needs_generator
def test_check_notices_a_changed_contract(contract_copy, capfd):
    contract = contract_copy / "exhook_v3.proto"
    contract.write_text(contract.read_text().replace("string username = 3;", "string username = 14;", 1))
    assert generate.main(["--check"], contract_copy) == 1
    assert "protos/exhook_v3_pb2.py is out of date" in capfd.readouterr().err


@needs_generator
def test_writing_mends_the_stubs_and_removes_the_left_over_ones(contract_copy):
    (contract_copy / "exhook_v1_pb2.py").write_bytes(b"broken")
    (contract_copy / "exhook_v9_pb2.py").write_bytes(b"")
    assert generate.main([], contract_copy) == 0
    assert generate.committed(contract_copy) == generate.committed()


@needs_generator
def test_a_contract_that_does_not_compile_leaves_the_stubs_alone(contract_copy, capfd):
    (contract_copy / "exhook_v1.proto").write_text('syntax = "proto3";\nmessage {\n')
    assert generate.main([], contract_copy) == 1
    assert "exhook_v1.proto:2" in capfd.readouterr().err
    assert generate.committed(contract_copy) == generate.committed()


@pytest.mark.parametrize(
    ("installed", "words"),
    [(None, "which is not installed"), ("1.85.1", "but 1.85.1 is installed")],
    ids=["missing", "another version"],
)
def test_without_its_very_version_the_generator_says_the_fix(installed, words, monkeypatch, capfd):
    def version(package):
        assert package == "grpcio-tools"
        if installed is None:
            raise metadata.PackageNotFoundError(package)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    assert generate.main(["--check"]) == 2
    message = capfd.readouterr().err
    assert words in message
    assert "pip install grpcio-tools==1.71.2" in message
