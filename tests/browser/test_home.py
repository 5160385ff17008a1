"""The home of the admin as staff see it: no wider than the window, in the light and in the dark."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts.services import create_device
from audit.fact import Fact, Kind
from audit.models import BrokerNode
from audit.writer import write_facts
from exhookadmin.console import activity
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 1400}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 2600}, "color_scheme": "dark"}


def a_day() -> None:
    """Of a small fleet: connects, a stranger who knocks again and again, denials, a broker."""
    now = timezone.now()
    pump = create_device("pump-17")
    create_device("pump-18")
    facts = []
    for hour in range(24):
        when = (now - timedelta(hours=hour, seconds=1)).timestamp()
        for number in range((hour * 7) % 5):
            facts.append(Fact(Kind.CONNECTED, time=when + number / 10, client_id=f"c{number}"))
        if hour % 3 == 0:
            name = {"username": "a-very-long-name-of-a-stranger/" * 3, "client_id": "x"}
            facts.append(
                Fact(Kind.AUTHENTICATE, time=when, allowed=False, reason="unknown_device", **name)  # type: ignore[arg-type]
            )
        facts.append(
            Fact(Kind.AUTHORIZE, time=when, allowed=False, reason="no_rule_matched", device_id=pump.pk,
                 device="pump-17", client_id="pump-17", username="pump-17", topic=f"t/{hour}")
        )  # fmt: skip
    write_facts(facts)
    BrokerNode.objects.create(
        name="emqx@10.0.0.1", version="5.8.8", protocol="v2", attached_at=now, heard_at=now
    )


@pytest.mark.parametrize(
    "site", [pytest.param(WIDE, id="wide"), pytest.param(PHONE, id="phone, dark")], indirect=True
)
def test_the_home_shows_how_things_are(
    site: Site, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine would leave hours out.
    monkeypatch.setattr(activity, "BUDGET_SECONDS", 60.0)
    settings.EXHOOK_METRICS = "127.0.0.1:1"
    cache.clear()
    a_day()
    site.open("/admin/")
    site.page.wait_for_selector("text=No endpoint is running at 127.0.0.1:1")
    # The hour may change while the page is being looked at.
    site.page.wait_for_selector("svg.exhook-chart-denials rect", state="attached")
    assert site.page.locator("svg.exhook-chart-denials rect").count() in (23, 24)
    site.look(tmp_path / "home.png")
    site.click("summary:has-text('As a table')")
    site.click("a:has-text('a-very-long-name')")
    site.page.wait_for_selector("text=8 events")
    cache.clear()
