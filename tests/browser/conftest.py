"""A real browser on a real server. What no page may do is watched on every page of every test."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

PASSWORD = "correct horse battery staple"
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
DARK: dict[str, Any] = {**DESK, "color_scheme": "dark"}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}

GRAVE = ("serious", "critical")
"""What axe-core calls the violations that shut people out."""

# On a busy machine a page may take its time; what never comes still ends a test.
PATIENCE_MS = 90_000

REST_SECONDS = 5.0


@pytest.fixture(scope="package")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        # Playwright's event loop lives in this thread; Django would refuse to query beside it.
        before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        yield browser
        if before is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        browser.close()


@dataclass
class Site:
    """The site in a browser of somebody's own."""

    url: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def click(self, target: str | Locator) -> None:
        """As whoever sees the whole page first: a click before its scripts have run goes nowhere."""
        place = self.page.locator(target).first if isinstance(target, str) else target
        # In this order: what was clicked before may have led to the page that has it.
        place.wait_for()
        self.page.wait_for_load_state()
        place.click()

    def log_in(self, name: str, password: str) -> None:
        """By the form, which whoever comes without a session is sent to."""
        self.open("/")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", password)
        self.click("[type=submit]")
        self.page.wait_for_url("**/admin/")

    def width_problems(self) -> list[str]:
        """A page must not be wider than the window, once it has come to rest."""
        ends = time.monotonic() + REST_SECONDS
        while True:
            wide, window = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            if wide <= window:
                return []
            if time.monotonic() > ends:
                return [f"{self.page.url} scrolls sideways: {wide} of {window} pixels"]
            self.page.wait_for_timeout(50)

    def barriers(self, *rules: str) -> list[str]:
        """What axe-core finds on the page that shuts people out: rule, element, and what is wrong there.

        By all of its rules, or by these alone.
        """
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        # What still fades would be measured half transparent.
        self.page.evaluate("document.getAnimations().forEach(each => each.cancel())")
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = self.page.evaluate("options => axe.run(options)", options)["violations"]
        return [
            f"{self.page.url} {rule['id']} ({rule['impact']}): {node['html'][:200]} {node['failureSummary']}"
            for rule in found
            if rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]

    def problems(self) -> list[str]:
        """In the light, in the dark and on a phone: barriers, and a page that is wider than the window."""
        found = self.width_problems() + self.barriers()
        self.page.evaluate("document.documentElement.classList.toggle('dark')")
        found += self.barriers("color-contrast")
        window = self.page.viewport_size
        assert window is not None
        self.page.set_viewport_size(PHONE["viewport"])
        found += self.width_problems()
        self.page.set_viewport_size(window)
        return found

    def look(self, path: Path) -> None:
        """Takes a screenshot of a page that must not be wider than the window."""
        assert self.width_problems() == []
        self.page.screenshot(path=path)
        assert path.stat().st_size > 5_000

    def watch(self) -> None:
        """Collects errors, and requests that leave the host."""

        def on_request(request: Any) -> None:
            if urlsplit(request.url).scheme in ("http", "https") and not request.url.startswith(self.url):
                self.complaints.append(f"request to {request.url}")

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"{self.page.url} console: {message.text}")

        self.page.on("request", on_request)
        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url} script: {error}"))


Visit = Callable[..., AbstractContextManager[Site]]


@pytest.fixture
def visit(browser: Browser, live_server: Any) -> Visit:
    """Opens a browser of somebody's own, nobody logged in; takes options of the browser's context."""

    @contextmanager
    def visiting(**options: Any) -> Iterator[Site]:
        context = browser.new_context(**(options or DESK))
        context.set_default_timeout(PATIENCE_MS)
        site = Site(live_server.url, context, context.new_page())
        site.watch()
        yield site
        context.close()
        assert sorted(set(site.complaints)) == []

    return visiting


@pytest.fixture
def site(visit: Visit, request: pytest.FixtureRequest) -> Iterator[Site]:
    """“admin” is logged in. Parametrize it indirectly with options of the browser’s context."""
    User.objects.create_superuser("admin", password=PASSWORD)
    with visit(**getattr(request, "param", DESK)) as site:
        site.log_in("admin", PASSWORD)
        yield site
