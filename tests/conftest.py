"""What every test may use."""

import os
from importlib import import_module
from pkgutil import walk_packages

import pytest
from hypothesis import HealthCheck, settings

from tests.chromium import find_chromium

pytest_plugins = ["tests.endpoint", "tests.partitions"]

# By default the same commit gives the same result; “deep” searches anew on each run, and far.
settings.register_profile(
    "default",
    max_examples=60,
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

PACKAGES = ("accounts", "acl", "audit", "exhookadmin", "benchmarks", "protos")


DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only", action="store_true", help="leave out what reaches no database, or needs a browser"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database-only"):
        kept = [item for item in items if _reaches_database(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def _reaches_database(item: pytest.Item) -> bool:
    fixtures = DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
    marked = item.get_closest_marker("django_db") is not None
    return bool(fixtures or marked) and item.get_closest_marker("browser") is None


def pytest_collection_finish() -> None:
    """Loads all modules, so that the same commit gives the same result whatever else runs, and before.

    Hypothesis tries the constants of the modules that are loaded. A command that is loaded where a test calls
    it would give the tests after it other examples than they have alone, or in another worker.
    """
    # First: what one admin registers another one replaces.
    import_module("exhookadmin.urls")
    for name in PACKAGES:
        for module in walk_packages(import_module(name).__path__, f"{name}."):
            import_module(module.name)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser, for Playwright's ``executable_path``; as root it needs ``--no-sandbox``."""
    if os.environ.get("CHROMIUM") == "none":
        pytest.skip("CHROMIUM=none leaves the browser tests out")
    path = find_chromium()
    if path is None:
        pytest.fail("No Chromium found: run make browser, or name one with CHROMIUM=/path/to/chrome.")
    return path
