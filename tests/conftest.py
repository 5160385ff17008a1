"""What every test may use."""

import os

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


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser, for Playwright's ``executable_path``; as root it needs ``--no-sandbox``."""
    if os.environ.get("CHROMIUM") == "none":
        pytest.skip("CHROMIUM=none leaves the browser tests out")
    path = find_chromium()
    if path is None:
        pytest.fail("No Chromium found: run make browser, or name one with CHROMIUM=/path/to/chrome.")
    return path
