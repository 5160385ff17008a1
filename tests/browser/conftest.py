"""A real browser on a real server. What no page may do is watched on every page of every test."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="package")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
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
    """The site in a browser in which “admin” is logged in."""

    url: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def look(self, path: Path) -> None:
        """Takes a screenshot of a page that must not be wider than the window."""
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= window, f"{self.page.url} scrolls sideways: {wide} of {window} pixels"
        self.page.screenshot(path=path)
        assert path.stat().st_size > 5_000

    def watch(self) -> None:
        """Collects errors, and requests that leave the host."""

        def on_request(request: Any) -> None:
            if urlsplit(request.url).scheme in ("http", "https") and not request.url.startswith(self.url):
                self.complaints.append(f"request to {request.url}")

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"console: {message.text}")

        self.page.on("request", on_request)
        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))


@pytest.fixture
def site(browser: Browser, live_server: Any, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Parametrize it indirectly with options of the browser’s context, such as its window."""
    User.objects.create_superuser("admin", password=PASSWORD)
    context = browser.new_context(**getattr(request, "param", {"viewport": {"width": 1366, "height": 900}}))
    site = Site(live_server.url, context, context.new_page())
    site.watch()
    site.open("/admin/")
    site.page.fill("[name=username]", "admin")
    site.page.fill("[name=password]", PASSWORD)
    site.page.click("[type=submit]")
    site.page.wait_for_url("**/admin/")
    yield site
    context.close()
    assert sorted(set(site.complaints)) == []
