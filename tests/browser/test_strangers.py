"""From somebody who knocks to a device with a token, with a mouse."""

from pathlib import Path
from typing import Any

import pytest

from accounts.models import Device, DeviceGroup
from accounts.services import create_device, save_group
from audit.fact import Fact, Kind
from audit.writer import write_facts
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 1600}, "color_scheme": "dark"}


@pytest.mark.parametrize(
    "site", [pytest.param(WIDE, id="wide"), pytest.param(PHONE, id="phone, dark")], indirect=True
)
def test_a_stranger_becomes_a_device(site: Site, tmp_path: Path) -> None:
    save_group(DeviceGroup(name="pumps"))
    create_device("Pump-18")
    names = ("pump-17", "pump-18", "a-very-long-name-without-an-end/" * 6)
    write_facts([
        Fact(Kind.AUTHENTICATE, allowed=False, reason="unknown_device", username=name, client_id=name,
             address="2001:db8:1234:5678:9abc:def0:1234:5678")
        for name in names
    ])  # fmt: skip
    site.open("/admin/strangers/")
    site.page.wait_for_selector("h2:has-text('3 waiting')")
    assert "Pump-18 exists: the name differs by case" in site.page.inner_text(".exhook-near")
    site.look(tmp_path / "strangers.png")
    site.page.fill("[aria-label='Group of the new device pump-17']", "pumps")
    site.click("[aria-label='Create device pump-17']")
    site.page.wait_for_selector("text=“pump-17” is a device now.")
    site.click("text=Generate token")
    site.page.wait_for_selector("text=mosquitto")
    assert Device.objects.get(username="pump-17").credentials.count() == 1
    site.open("/admin/strangers/")
    site.click("[aria-label='Dismiss pump-18']")
    site.page.wait_for_selector("h2:has-text('1 waiting')")
