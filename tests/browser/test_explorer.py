"""The audit log as people on duty use it: narrow it, pass it on, take it along, and watch it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Locator, expect

from audit.fact import Fact, Kind
from audit.models import Event
from audit.writer import write_facts
from exhookadmin.console.models import SavedSearch
from exhookadmin.staff.roles import VIEWER
from tests.browser.conftest import PASSWORD, Site, Visit

pytestmark = pytest.mark.browser

REFUSED: dict[str, Any] = {"allowed": False, "reason": "no_rule_matched", "action": "publish"}


def happens(kind: Kind, device: str, **what: Any) -> None:
    write_facts([Fact(kind, device=device, client_id=device, address="192.0.2.7", node="emqx@one", **what)])


@pytest.fixture
def log(transactional_db: None) -> None:
    """Five events of two devices; two of them are refusals of the pump."""
    for device in ("pump-17", "fan-3"):
        happens(Kind.CONNECTED, device)
    happens(Kind.AUTHORIZE, "fan-3", topic="site/fan", **REFUSED)
    for topic in ("site/log", "site/=1+1"):
        happens(Kind.AUTHORIZE, "pump-17", topic=topic, **REFUSED)


def viewer() -> str:
    """Somebody who only looks. Answers the name."""
    user = User.objects.create_user("night-shift", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=VIEWER))
    return user.username


def rows(site: Site) -> Locator:
    return site.page.locator("#rows tr")


def narrow_to_refusals_of_the_pump(site: Site) -> None:
    site.open("/admin/explorer/")
    expect(rows(site)).to_have_count(5)
    site.page.fill("[name=device]", "pump-17")
    site.click("button:has-text('Search')")
    expect(rows(site)).to_have_count(3)
    site.click("#facet-reason ~ ul a")
    expect(rows(site)).to_have_count(2)


def downloaded(site: Site, words: str, directory: Path) -> str:
    with site.page.expect_download() as coming:
        site.click(f"a[download]:text-is('{words}')")
    path = directory / coming.value.suggested_filename
    coming.value.save_as(path)
    assert path.suffix == f".{words.lower()}"
    return path.read_text(encoding="utf-8-sig")


def test_a_search_is_narrowed_shared_and_exported(
    log: None, site: Site, visit: Visit, tmp_path: Path
) -> None:
    narrow_to_refusals_of_the_pump(site)
    shared = site.page.url.removeprefix(site.url)
    wanted = ["site/log", "site/=1+1"]

    told = [json.loads(line) for line in downloaded(site, "JSONL", tmp_path).splitlines()]
    assert [(each["device"], each["topic"]) for each in told] == [("pump-17", topic) for topic in wanted]
    table = list(csv.DictReader(downloaded(site, "CSV", tmp_path).splitlines()))
    assert [each["topic"] for each in table] == wanted

    with visit() as other:
        other.log_in(viewer(), PASSWORD)
        other.open(shared)
        expect(rows(other)).to_have_count(2)
        assert all(topic in other.page.inner_text("#rows") for topic in wanted)


def test_new_events_appear_while_the_log_is_followed(log: None, site: Site) -> None:
    narrow_to_refusals_of_the_pump(site)
    follow = site.page.locator("#follow")
    site.click(follow)
    expect(follow).to_have_attribute("aria-pressed", "true")
    happens(Kind.AUTHORIZE, "fan-3", topic="site/other", **REFUSED)
    happens(Kind.AUTHORIZE, "pump-17", topic="site/fresh", **REFUSED)
    expect(rows(site)).to_have_count(3)
    expect(rows(site).first).to_contain_text("site/fresh")
    expect(site.page.locator("#followed")).to_have_text("1 new")

    site.click(follow)
    expect(follow).to_have_attribute("aria-pressed", "false")
    happens(Kind.AUTHORIZE, "pump-17", topic="site/while-paused", **REFUSED)
    site.click(follow)
    expect(rows(site).first).to_contain_text("site/while-paused")
    expect(rows(site)).to_have_count(4)

    # Another worker stores late what it heard before.
    newest = Event.objects.latest("time")
    happens(Kind.AUTHORIZE, "pump-17", topic="site/late", time=newest.time.timestamp() - 20, **REFUSED)
    expect(rows(site)).to_have_count(5)
    refusals = Event.objects.filter(device="pump-17", kind=Kind.AUTHORIZE).order_by("-time", "-pk")
    for place, topic in enumerate(refusals.values_list("topic", flat=True)):
        expect(rows(site).nth(place)).to_contain_text(topic)


def test_a_search_is_saved_for_everybody_and_forgotten_by_its_owner(
    log: None, site: Site, visit: Visit
) -> None:
    narrow_to_refusals_of_the_pump(site)
    site.page.fill("form[aria-label='Save this search'] [name=name]", "the pump again")
    site.page.check("[name=shared]")
    site.click("button:text-is('Save')")
    site.page.wait_for_selector("text=is saved as “the pump again”")

    with visit() as other:
        other.log_in(viewer(), PASSWORD)
        other.open("/admin/explorer/")
        other.click("text=the pump again")
        expect(rows(other)).to_have_count(2)
        assert other.page.locator(".exhook-forget").count() == 0, "it is somebody else's"

    site.click("[aria-label='Delete the saved search the pump again']")
    expect(site.page.locator("text=the pump again")).to_have_count(0)
    assert not SavedSearch.objects.exists()
