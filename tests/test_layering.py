"""Who may import whom. The picture of it is in docs/architecture.md; this test is what keeps it true."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("accounts", "acl", "audit", "exhookadmin")
CORES = {
    "accounts.core": ("accounts.core",),
    "acl.core": ("accounts.core", "acl.core"),
    # Parsers of other programs' files are pure too; that a hash can be verified is theirs to say.
    "exhookadmin.fleet.formats": (
        "accounts.core",
        "acl.core",
        "accounts.stored_hashes",
        "exhookadmin.fleet.records",
        "exhookadmin.fleet.formats",
    ),
    "exhookadmin.fleet.writing": (
        "accounts.core",
        "acl.core",
        "accounts.stored_hashes",
        "exhookadmin.fleet.records",
        "exhookadmin.fleet.formats",
        "exhookadmin.fleet.writing",
    ),
}
KNOWS = {
    "accounts": {"accounts"},
    "acl": {"acl", "accounts"},
    "audit": {"audit"},
    "exhookadmin": set(APPS),
}
ENDPOINT = "exhookadmin.exhook"
GRPC = (
    "grpc",
    "grpc_health",
    "grpc_reflection",
    "grpc_status",
    "django_grpc_framework",
    "google.protobuf",
    "pygrpc_native",
    "protos",
)
# Clocks, chance and I/O: a core gets the time passed in, and its answer depends on its arguments alone.
IMPURE = (
    "asyncio", "concurrent", "fileinput", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "random", "sched", "select", "selectors", "shutil", "signal", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
)  # fmt: skip
IMPURE_CALLS = {"open", "print", "input"}
CLOCK_METHODS = {"now", "utcnow", "today"}
NAMELESS_FILES = {"utils.py", "helpers.py", "common.py", "base.py"}


def within(module: str, packages: tuple[str, ...] | set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """The line and absolute name of everything imported, relative and dynamic imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = module.split(".")
                anchor = parts[: len(parts) - node.level + is_package]
                source = ".".join([*anchor, source] if source else anchor)
            # `from acl import core` imports acl.core, not only acl.
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def model_references(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Django's other import: ``ForeignKey("acl.Policy")`` and migrations' ``("acl", "0001_initial")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(rf"({'|'.join(APPS)})\.[A-Z]\w*", node.value):
                yield node.lineno, node.value
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            app, migration = (str(e.value) if isinstance(e, ast.Constant) else "" for e in node.elts)
            if app in APPS and re.fullmatch(r"\d{4}_\w+", migration):
                yield node.lineno, f"{app}.{migration}"


def impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield node.lineno, f"{node.func.id}()"
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in CLOCK_METHODS
            and ast.unparse(node.value).split(".")[-1] in {"datetime", "date"}
        ):
            yield node.lineno, ast.unparse(node)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Every broken rule in one file of the product, as “line: what it must not do”."""
    tree = ast.parse(source)
    app = module.split(".")[0]
    core = next((name for name in CORES if within(module, (name,))), None)
    found: list[tuple[int, str]] = []
    for line, name in imports(tree, module, is_package):
        top = name.split(".")[0]
        if core and not within(name, CORES[core]) and top not in sys.stdlib_module_names:
            found.append((line, f"{core} must not import {name}: only the standard library and cores"))
        elif core and within(name, IMPURE):
            found.append((line, f"{core} must not import {name}: no clock, no chance, no I/O"))
        elif top in APPS and top not in KNOWS[app]:
            found.append((line, f"{app} must not import {name}"))
        elif within(name, GRPC) and not within(module, (ENDPOINT,)):
            found.append((line, f"only {ENDPOINT} imports gRPC and protos, not {module}: {name}"))
        elif within(name, ("tests", "benchmarks")):
            found.append((line, f"the product must not import {name}"))
    for line, name in model_references(tree):
        if name.split(".")[0] not in KNOWS[app]:
            found.append((line, f"{app} must not refer to {name}"))
    if core:
        found += [(line, f"{core} must not use {name}") for line, name in impure_calls(tree)]
    return [f"{line}: {text}" for line, text in sorted(set(found))]


def product_files() -> list[Path]:
    return sorted(path for app in APPS for path in (ROOT / app).rglob("*.py"))


def test_the_walk_sees_every_app() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in product_files()} == set(APPS)


def test_imports_go_one_way() -> None:
    broken = []
    for path in product_files():
        relative = path.relative_to(ROOT)
        is_package = relative.name == "__init__.py"
        module = ".".join(relative.parent.parts if is_package else relative.with_suffix("").parts)
        broken += [f"{relative}:{text}" for text in violations(path.read_text(), module, is_package)]
    assert not broken, "\n".join(broken)


def test_files_are_named_for_what_they_know() -> None:
    assert [str(path.relative_to(ROOT)) for path in product_files() if path.name in NAMELESS_FILES] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param("accounts.core.tokens", "import django", id="core imports Django"),
        pytest.param(
            "accounts.core.tokens", "from django.utils import timezone", id="core imports from Django"
        ),
        pytest.param("accounts.core.tokens", "import accounts.models", id="core imports its own app"),
        pytest.param(
            "accounts.core.tokens", "from ..models import Device", id="core imports upwards, relatively"
        ),
        pytest.param(
            "accounts.core.tokens", "from acl.core import topics", id="lower core imports higher core"
        ),
        pytest.param("acl.core.decide", "from accounts import services", id="core imports another app"),
        pytest.param("acl.core.decide", "import time", id="clock"),
        pytest.param("acl.core.decide", "from time import time", id="clock, by name"),
        pytest.param("acl.core.decide", "import os.path", id="file system"),
        pytest.param("acl.core.decide", "from urllib import request", id="network"),
        pytest.param("acl.core.decide", "def f():\n    import socket", id="inside a function"),
        pytest.param("acl.core.decide", "try:\n    import random\nexcept ImportError: ...", id="inside try"),
        pytest.param("acl.core.decide", "from datetime import datetime\ndatetime.now()", id="datetime.now"),
        pytest.param("acl.core.decide", "import datetime\ndatetime.date.today()", id="date.today"),
        pytest.param("acl.core.decide", "open('rules')", id="open"),
        pytest.param("acl.core.decide", "print('x')", id="print"),
        pytest.param(
            "acl.core.decide", "import importlib\nimportlib.import_module('grpc')", id="dynamic import"
        ),
        pytest.param("accounts.services", "from acl.models import Policy", id="accounts imports acl"),
        pytest.param("accounts.services", "import audit", id="accounts imports audit"),
        pytest.param(
            "accounts.models", "ForeignKey('acl.Policy', CASCADE)", id="accounts refers to acl's model"
        ),
        pytest.param(
            "accounts.migrations.0002_x", "d = [('acl', '0001_initial')]", id="accounts waits for acl"
        ),
        pytest.param("audit.writer", "from accounts.core import decision", id="audit imports accounts"),
        pytest.param("audit.writer", "from exhookadmin import logs", id="audit imports exhookadmin"),
        pytest.param("acl.services", "from audit.models import Event", id="acl imports audit"),
        pytest.param("acl.services", "import protos.exhook_v3_pb2", id="acl imports protos"),
        pytest.param("accounts.admin", "import grpc", id="accounts imports grpc"),
        pytest.param("exhookadmin.console.views", "import grpc", id="a page imports grpc"),
        pytest.param(
            "exhookadmin.console.views", "from grpc_health.v1 import health", id="a page imports health"
        ),
        pytest.param(
            "exhookadmin.console.views", "from protos import exhook_v1_pb2", id="a page imports protos"
        ),
        pytest.param(
            "exhookadmin.console.views", "from google import protobuf", id="a page imports protobuf"
        ),
        pytest.param(
            "exhookadmin.management.commands.run_exhook", "from grpc import aio", id="a command imports it"
        ),
        pytest.param(
            "exhookadmin.exhook_client", "import grpc", id="a file that only begins like the endpoint"
        ),
        pytest.param("exhookadmin.urls", "from tests import postgres", id="the product imports its tests"),
    ],
)
def test_a_broken_rule_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param("accounts.core.tokens", "import hashlib\nfrom . import client", id="core, beside it"),
        pytest.param("acl.core.decide", "from accounts.core.decision import Decision", id="core, core below"),
        pytest.param("acl.core.decide", "import ipaddress\nimport re", id="core, standard library"),
        pytest.param("acl.core.decide", "from urllib.parse import quote", id="core, pure part of a package"),
        pytest.param(
            "acl.core.decide", "import datetime\ndatetime.datetime.fromtimestamp(0)", id="core, no clock"
        ),
        pytest.param("acl.services", "from accounts.models import Device\nimport time", id="acl, accounts"),
        pytest.param("acl.models", "ForeignKey('accounts.Device', CASCADE)", id="acl, model below"),
        pytest.param("exhookadmin.checks", "import accounts, acl, audit", id="exhookadmin, every app"),
        pytest.param(
            "exhookadmin.exhook.provider", "import grpc\nfrom protos import exhook_v1_pb2", id="endpoint"
        ),
        pytest.param(
            "exhookadmin.urls", "from exhookadmin.exhook import server", id="exhookadmin, the endpoint"
        ),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_imports_in_a_package_start_at_the_package() -> None:
    assert violations("from .tokens import make_token", "accounts.core", is_package=True) == []
    assert violations("from ..models import Device", "accounts.core", is_package=True) != []
