"""Every page of the site, empty and full, on a desk, in the dark and on a phone."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User

from tests.browser.conftest import DARK, DESK, PHONE, Site, Visit
from tests.browser.furnished import furnish, lists, main_pages, pages

pytestmark = pytest.mark.browser

PARTS = 2
"""All pages are walked in so many tests, which may run beside each other."""


CUT_OFF = """
[...document.querySelectorAll("#result_list td, #result_list th, label > input[type=checkbox] + .truncate")]
  .filter((cell) => cell.scrollHeight > cell.clientHeight + 2 || cell.scrollWidth > cell.clientWidth + 2)
  .map((cell) => `${location.pathname}: cut off: ${cell.textContent.trim().slice(0, 40)}`)
"""


def problems_on(site: Site, path: str) -> list[str]:
    site.page.goto("about:blank")  # else only the part behind the # would change
    site.open(path)
    return site.problems()


def test_every_list_fits_its_window_while_it_is_empty(site: Site) -> None:
    problems = []
    for path in ("/admin/", *lists()):
        site.open(path)
        problems += site.width_problems()
    assert problems == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_fits_its_window_and_shuts_nobody_out(site: Site, part: int) -> None:
    """No scrolling sideways, and nothing serious that axe-core finds; `site` watches the console."""
    furnish()
    for model in admin.site._registry:
        assert model._default_manager.exists(), f"tests/browser/furnished.py makes no {model._meta.label}"
    everything = pages(site)
    assert len(everything) > 60
    problems = [problem for path in everything[part::PARTS] for problem in problems_on(site, path)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("site", [PHONE], ids=["phone"], indirect=True)
def test_the_main_pages_shut_nobody_out_on_a_phone(site: Site) -> None:
    furnish()
    problems = []
    for path in (*main_pages(), "/admin/exhookadmin/apikey/add/"):
        site.open(path)
        problems += site.width_problems() + site.barriers() + site.page.evaluate(CUT_OFF)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("window", [DESK, DARK, PHONE], ids=["desk", "dark", "phone"])
def test_the_login_shuts_nobody_out(visit: Visit, window: dict[str, Any]) -> None:
    with visit(**window) as site:
        site.open("/admin/login/")
        assert site.width_problems() + site.barriers() == []


@pytest.mark.parametrize("site", [DARK], ids=["dark"], indirect=True)
def test_dark_is_dark(site: Site) -> None:
    colour = "getComputedStyle(document.querySelector('#main')).backgroundColor"
    lightness = "(() => { const c = document.createElement('canvas').getContext('2d');"
    lightness += f" c.fillStyle = {colour}; c.fillRect(0, 0, 1, 1);"
    lightness += " return Math.max(...c.getImageData(0, 0, 1, 1).data.slice(0, 3)); })()"
    assert site.page.evaluate(lightness) < 80


def test_filters_of_the_log_are_applied(site: Site) -> None:
    furnish()
    site.open("/admin/audit/event/")
    rows = site.page.locator("#result_list tr.data-row")
    assert rows.count() > 1
    site.click("a:has-text('Filters')")
    site.page.fill("[name=device]", "pump-17")
    site.click("text=Apply Filters")
    site.page.wait_for_url("**device=pump-17**")
    assert rows.count() == 1


def test_a_wrong_rule_is_told_beside_it(site: Site) -> None:
    site.open("/admin/acl/policy/add/")
    site.page.fill("[name=name]", "own topics")
    site.click("text=Add another Rule")
    site.page.fill("[name=rules-0-topic_filter]", "a/#/b")
    site.click("[name=_save]")
    site.page.wait_for_selector("td.field-topic_filter.errors:has-text('write a/#')")
    site.page.fill("[name=rules-0-topic_filter]", "a/#")
    site.click("[name=_save]")
    site.page.wait_for_selector("text=was added successfully")


def test_pages_are_there_without_scripts(visit: Visit) -> None:
    User.objects.create_superuser("boss", password="long enough to log in")
    with visit(java_script_enabled=False) as site:
        site.log_in("boss", "long enough to log in")
        for path, where in (
            ("/admin/", "h2:has-text('Devices')"),
            ("/admin/accounts/device/", "a:has-text('Add the first device')"),
            ("/admin/accounts/device/add/", "[name=username]"),
            ("/admin/explorer/", "button:has-text('Search')"),
        ):
            site.open(path)
            # Clickable, so neither hidden nor below something else.
            site.page.locator("h1").first.click(trial=True)
            site.page.locator(where).first.click(trial=True)
