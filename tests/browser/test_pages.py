"""Every page of the admin, empty and full, on a desk, in the dark and on a phone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts import services
from accounts.models import DeviceGroup
from acl import services as acl_services
from audit.fact import Fact, Kind
from audit.models import Event, Session
from audit.writer import write_facts
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

DESK: dict[str, Any] = {"viewport": {"width": 1366, "height": 900}}
WINDOWS = [
    pytest.param(DESK, id="desk"),
    pytest.param({**DESK, "color_scheme": "dark"}, id="dark"),
    pytest.param({"viewport": {"width": 390, "height": 844}}, id="phone"),
]
LISTS = (
    "accounts/device", "accounts/devicegroup", "acl/policy", "audit/session", "audit/event", "auth/user",
    "auth/group",
)  # fmt: skip
LONG = "gateway-in-a-place-with-a-long-name-" * 10


def fill() -> list[str]:
    """Some rows of everything, long names among them. Answers the pages that show them."""
    group = services.save_group(DeviceGroup(name="pumps", description="All pumps " * 10))
    plain = services.create_device("pump-17", groups=[group], description="by the river")
    services.create_token(plain, "installed 2026-03")
    services.create_token(plain, "old", timezone.now() - timedelta(days=1))
    long = services.create_device(
        LONG, description="d" * 250, networks="2001:db8::/32\n192.0.2.0/24", attributes={"site": "x" * 200}
    )
    policy = acl_services.create_policy("own topics", groups=[group], devices=[plain, long])
    acl_services.create_rule(policy, "allow", "all", "dev/${clientid}/#")
    acl_services.create_rule(policy, "deny", "publish", "a/" * 200 + "b", note="n" * 250, priority=10)
    acl_services.create_rule(plain, "allow", "subscribe", "#", literal=True)
    own: dict[str, Any] = {
        "address": "2001:db8:1111:2222:3333:4444:5555:6666",
        "node": "emqx@one.example.com",
    }
    facts = [
        Fact(Kind.CONNECTED, device_id=row.pk, device=row.username, client_id=row.username, **own)
        for row in (plain, long)
    ]
    denied: dict[str, Any] = {
        "reason": "rule_denies",
        "allowed": False,
        "action": "publish",
        "topic": "t/" * 500,
    }
    facts.append(Fact(Kind.AUTHORIZE, device=LONG, device_id=long.pk, client_id=LONG, **own, **denied))
    write_facts(facts)
    event, session = Event.objects.get(kind=Kind.AUTHORIZE), Session.objects.get(client_id=LONG)
    return [
        f"accounts/device/{plain.pk}/change/",
        f"accounts/device/{plain.pk}/change/#credentials",
        f"accounts/device/{plain.pk}/change/#rules",
        f"accounts/device/{long.pk}/change/",
        f"accounts/device/{plain.pk}/new-token/",
        f"accounts/device/{plain.pk}/new-password/",
        f"accounts/device/{plain.pk}/credentials/{plain.credentials.all()[0].pk}/delete/",
        f"accounts/device/{plain.pk}/delete/",
        f"accounts/devicegroup/{group.pk}/change/",
        f"acl/policy/{policy.pk}/change/",
        f"audit/event/{event.pk}/change/",
        "audit/event/?q=nothing-like-it",
        f"audit/session/{session.pk}/change/",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("site", WINDOWS, indirect=True)
def test_every_page_fits_its_window(site: Site, tmp_path: Path) -> None:
    adding = [f"{each}/add/" for each in LISTS if not each.startswith("audit")]
    lists = [f"{each}/" for each in LISTS]
    empty = ["", *lists, *adding]
    for number, path in enumerate(empty):
        site.open(f"/admin/{path}")
        site.look(tmp_path / f"empty-{number}.png")
    for number, path in enumerate([*lists, *fill()]):
        site.page.goto("about:blank")  # else only the part behind the # would change
        site.open(f"/admin/{path}")
        site.look(tmp_path / f"full-{number}.png")


@pytest.mark.parametrize("site", WINDOWS[1:2], indirect=True)
def test_dark_is_dark(site: Site) -> None:
    colour = "getComputedStyle(document.querySelector('#main')).backgroundColor"
    lightness = "(() => { const c = document.createElement('canvas').getContext('2d');"
    lightness += f" c.fillStyle = {colour}; c.fillRect(0, 0, 1, 1);"
    lightness += " return Math.max(...c.getImageData(0, 0, 1, 1).data.slice(0, 3)); })()"
    assert site.page.evaluate(lightness) < 80


def test_filters_of_the_log_are_applied(site: Site) -> None:
    fill()
    site.open("/admin/audit/event/")
    assert site.page.locator("#result_list tr.data-row").count() == 3
    site.page.click("a:has-text('Filters')")
    site.page.fill("[name=device]", "pump-17")
    site.page.click("text=Apply Filters")
    site.page.wait_for_url("**device=pump-17**")
    assert site.page.locator("#result_list tr.data-row").count() == 1


def test_a_wrong_rule_is_told_beside_it(site: Site) -> None:
    site.open("/admin/acl/policy/add/")
    site.page.fill("[name=name]", "own topics")
    site.page.click("text=Add another Rule")
    site.page.fill("[name=rules-0-topic_filter]", "a/#/b")
    site.page.click("[name=_save]")
    site.page.wait_for_load_state("networkidle")
    assert "write a/#" in site.page.inner_text("td.field-topic_filter.errors")
    site.page.fill("[name=rules-0-topic_filter]", "a/#")
    site.page.click("[name=_save]")
    site.page.wait_for_selector("text=was added successfully")
