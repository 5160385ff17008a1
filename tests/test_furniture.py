"""The parts around the program: requirements, locks, Makefile, and what no file may contain."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKED = {
    "requirements.lock": ["requirements.txt"],
    "requirements-dev.lock": ["requirements.txt", "requirements-dev.txt"],
}


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line.strip()]


def package(requirement: str) -> str:
    """The normalized name in front of a requirement's extras, version and marker (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def locked(name: str) -> dict[str, str]:
    """Package → exact requirement, comments left out."""
    exact = [line for line in lines(name) if not line.lstrip().startswith("#")]
    return {package(line): line for line in exact}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_says_what_it_is_for(name: str) -> None:
    for line in lines(name):
        assert re.fullmatch(r"[^#]*\S  # \w.{9,}", line), f"{name}: {line}"


@pytest.mark.parametrize("name", LOCKED)
def test_every_requirement_is_locked_to_one_version(name: str) -> None:
    versions = locked(name)
    wanted = {package(line) for source in LOCKED[name] for line in lines(source)}
    assert wanted <= versions.keys()
    for requirement in versions.values():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+( ; .+)?", requirement)


def test_tests_run_with_the_versions_that_run_time_gets() -> None:
    # The condition behind it may differ: what one needs on some platforms, the other may on all.
    run_time, tests = (
        {name: line.partition(" ; ")[0] for name, line in locked(lock).items()}
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert run_time.items() <= tests.items()


@pytest.mark.parametrize(
    "target",
    [
        "help",
        "run",
        "demo",
        "test",
        "test-sqlite",
        "test-postgres",
        "torture",
        "lint",
        "protos",
        "lock",
        "bench",
        "certs",
        "screenshots",
        "clean",
    ],
)
def test_make_lists_and_knows_its_targets(target: str) -> None:
    listed = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(rf"^  make {target} +\S", listed, re.MULTILINE)
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def project_files() -> list[Path]:
    """What git has, or would have after ``git add .``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written so that this file does not contain what it looks for.
FORBIDDEN = {
    "a package host": re.compile(
        r"py" + r"pi\.org|python" + r"hosted\.org|(extra-)?index" + r"-url|find" + r"-links"
    ),
    "a path of some machine": re.compile(
        r"(?<![\w.~/$}\-*])/(ro" + r"ot|tm" + r"p|wo" + r"rk|ho" + r"me/\w+)/"
    ),
}


def offences(text: str) -> list[str]:
    return [
        f"{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


def test_no_file_names_a_package_host_or_somebody_s_machine() -> None:
    found = []
    for path in project_files():
        relative = path.relative_to(ROOT)
        if relative.parts[:2] == ("tests", "data"):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{relative}:{offence}" for offence in offences(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "see https://py" + "pi.org/project/django",
        "--index" + "-url https://example.org/simple",
        "open('/tm" + "p/trace')",
        "/ro" + "ot/.cache",
        "cd /ho" + "me/ann/checkout",
        "# uv pip compile /wo" + "rk/main/requirements.txt",
    ],
)
def test_a_host_or_path_is_found(line: str) -> None:
    assert len(offences(line)) == 1


@pytest.mark.parametrize("line", ["topic devices/home/1", "https://example.org/home/ann/", "/tmpfiles.d/x"])
def test_what_only_looks_like_one_passes(line: str) -> None:
    assert offences(line) == []


def test_every_block_of_a_style_sheet_is_closed() -> None:
    """A browser takes what follows an open block for a part of it, and says nothing."""
    sheets = [*ROOT.glob("exhookadmin/static/**/*.css")]
    assert sheets
    for sheet in sheets:
        depth = 0
        for number, line in enumerate(sheet.read_text().splitlines(), start=1):
            assert not (line.startswith("/*") and depth), f"{sheet.name}, line {number}: a block is open"
            depth += line.count("{") - line.count("}")
        assert depth == 0, sheet.name
