"""From a denial to its cause, to a better rule, to the proof: with a keyboard and a mouse, as staff would."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from accounts.models import Device, DeviceGroup
from accounts.services import create_device, save_group
from acl import services
from acl.models import Policy, Rule
from audit.fact import Fact, Kind
from audit.writer import write_facts
from tests.browser.conftest import DARK, PHONE, Site

pytestmark = pytest.mark.browser


def denied_publish() -> tuple[Device, Policy]:
    """A pump that may not publish where it should, and the record of its trying."""
    pumps = save_group(DeviceGroup(name="pumps"))
    pump = create_device("pump-17", groups=[pumps])
    policy = services.create_policy("fleet basics", groups=[pumps])
    services.create_rule(policy, "allow", "all", "site/#")
    rule = services.create_rule(policy, "deny", "publish", "site/+/log")
    own: dict[str, Any] = {"device_id": pump.pk, "device": "pump-17", "client_id": "pump-17"}
    own |= {"username": "pump-17", "address": "192.0.2.7", "reason": "rule_denies", "rule_id": rule.pk}
    text = "deny publish site/+/log (policy fleet basics)"
    write_facts([Fact(Kind.AUTHORIZE, allowed=False, action="publish", topic="site/1/log", rule=text, **own)])
    return pump, policy


def test_from_a_denial_to_a_better_rule(site: Site, tmp_path: Path) -> None:
    _, policy = denied_publish()
    site.open("/admin/audit/event/")
    site.click("text=Why?")
    site.page.wait_for_selector("text=Then and now are the same")
    decides = site.page.locator(".exhook-decides")
    assert "deny publish site/+/log" in decides.inner_text()
    expect(site.page.locator("time").first).to_have_attribute("title", re.compile(" UTC$"))
    site.look(tmp_path / "why.png")

    site.click(decides.locator("text=policy fleet basics"))
    site.page.wait_for_selector("text=Nothing odd about these rules")
    site.page.fill("[name=rules-0-topic_filter]", "site/+/secret")
    site.click("text=See what changes")
    site.page.wait_for_selector("caption:has-text('Newly allowed')")
    assert "publish site/1/log" in site.page.inner_text("#what-changes")
    assert Rule.objects.filter(topic_filter="site/+/log").exists(), "nothing is stored yet"
    site.look(tmp_path / "ahead.png")
    site.click("[name=_save]")
    site.page.wait_for_selector("text=1 would be allowed now")

    site.open(f"/admin/explain/?policy={policy.pk}")
    site.page.fill("[name=username]", "pump-17")
    site.page.select_option("[name=action]", "publish")
    site.page.fill("[name=topics]", "site/1/log")
    site.page.keyboard.press("Tab")
    site.click("button:has-text('Explain')")
    site.page.wait_for_selector("h2:has-text('Allowed')")


def test_remarks_follow_what_is_typed(site: Site) -> None:
    _, policy = denied_publish()
    site.open(f"/admin/acl/policy/{policy.pk}/change/")
    site.page.wait_for_selector("text=Nothing odd about these rules")
    site.page.fill("[name=rules-0-topic_filter]", "a/#/b")
    place = "#id_rules-0-topic_filter_findings"
    site.page.wait_for_selector(f"{place}:has-text('write a/#')")
    site.page.fill("[name=rules-0-topic_filter]", "a/b")
    site.page.wait_for_selector(f"{place} li", state="detached")
    site.click("text=Add another Rule")
    site.page.fill("[name=rules-2-topic_filter]", "site/1/2")
    added = "#id_rules-2-topic_filter_findings"
    site.page.wait_for_selector(f"{added}:has-text('“allow all site/#” is tried before')")


@pytest.mark.parametrize(
    "site", [pytest.param(PHONE, id="phone"), pytest.param(DARK, id="dark")], indirect=True
)
def test_the_pages_that_explain_fit_their_window(site: Site, tmp_path: Path) -> None:
    pump, policy = denied_publish()
    long = "a-long-level-without-an-end/" * 12
    asked = "username=pump-17&action=publish&topics=site/1/log"
    pages = [
        "/admin/explain/",
        f"/admin/explain/?{asked}&policy={policy.pk}",
        f"/admin/explain/?{asked}%0A{long}x",
        f"/admin/explain/?username={'x' * 300}&action=subscribe&topics={long}%23",
        f"/admin/accounts/device/{pump.pk}/change/",
        f"/admin/acl/policy/{policy.pk}/change/",
    ]
    for number, path in enumerate(pages):
        site.open(path)
        site.look(tmp_path / f"{number}.png")


def test_a_draft_is_tried_out_on_the_page(site: Site) -> None:
    _, policy = denied_publish()
    site.open(f"/admin/explain/?username=pump-17&action=publish&topics=site/1/log&policy={policy.pk}")
    site.page.fill("[name=rules]", "allow all site/#")
    site.click("text=Decide with these rules")
    site.page.wait_for_selector("h2:has-text('With this change: allowed')")
    assert Rule.objects.count() == 2
