"""A token in a browser: shown once, copied by a button, gone after a reload or a step back."""

import re

import pytest

from accounts.core.tokens import token_matches
from accounts.models import Credential, Device
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

TOKEN = re.compile(r"exh_[A-Za-z0-9_-]{32}")
ADD = "/admin/accounts/device/add/"


def add_device(site: Site, username: str) -> str:
    site.open(ADD)
    assert site.page.is_checked("[name=generate_token]")
    site.page.fill("[name=username]", username)
    site.click("[name=_save]")
    site.page.wait_for_selector("#token")
    assert "It will not be shown again" in site.page.inner_text("#content")
    site.page.wait_for_url("**/change/")
    return site.page.inner_text("#token")


def test_a_new_device_and_its_token(site: Site) -> None:
    token = add_device(site, "it's a pump")
    device = Device.objects.get()
    assert token_matches(device.credentials.get().encoded, token)
    for snippet in ("mosquitto_sub", "mosquitto_pub", "mqttx", "paho"):
        assert token in site.page.inner_text(f"#snippet-{snippet}")
    assert token not in site.page.url

    site.page.reload()
    assert site.page.url.endswith(f"/admin/accounts/device/{device.pk}/change/")
    assert token not in site.page.content()

    site.page.go_back()
    assert not TOKEN.search(site.page.content())
    site.page.go_forward()
    assert not TOKEN.search(site.page.content())
    assert Credential.objects.count() == 1


def test_going_on_and_back_does_not_bring_the_token_back(site: Site) -> None:
    token = add_device(site, "pump-17")
    site.click("text=go to the device")
    site.page.wait_for_selector("#token", state="detached")
    site.page.wait_for_load_state("networkidle")
    assert token not in site.page.content()
    site.page.go_back()
    site.page.wait_for_load_state("networkidle")
    assert token not in site.page.content()
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("secure", [True, False], ids=["clipboard API", "plain HTTP"])
def test_the_button_copies_the_token(site: Site, secure: bool) -> None:
    site.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not secure:
        # What a browser leaves out where the site is neither on HTTPS nor on localhost.
        site.page.add_init_script("delete Navigator.prototype.clipboard")
    token = add_device(site, "pump-17")
    site.click("[data-copy=token]")
    site.page.wait_for_selector("[data-copy=token]:has-text('Copied')")
    reader = site.context.new_page()
    reader.goto(site.url + "/admin/")
    assert reader.evaluate("navigator.clipboard.readText()") == token


def test_further_credentials_are_made_revoked_and_restored_on_the_device(site: Site) -> None:
    add_device(site, "pump-17")
    site.click("text=go to the device")
    site.click("text=New token")
    site.page.fill("[name=label]", "second")
    site.click("text=Generate token")
    site.page.wait_for_selector("#token")
    assert TOKEN.search(site.page.inner_text("#token"))

    site.click("text=go to the device")
    site.click("#tabs-items >> text=Credentials")
    row = "tr:has-text('second')"
    site.click(f"{row} >> text=Revoke")
    site.page.wait_for_selector("text=admits nobody any more")
    assert not Credential.objects.get(label="second").enabled
    # The tab with the credentials is open again.
    site.page.wait_for_selector(f"{row} >> text=Restore")
    site.click(f"{row} >> text=Restore")
    site.page.wait_for_selector("text=is live again")
    assert Credential.objects.get(label="second").enabled


def test_a_token_is_rotated_with_an_overlap(site: Site) -> None:
    first = add_device(site, "pump-17")
    site.click("text=go to the device")
    site.click("#tabs-items >> text=Credentials")
    site.click("tr:has-text('token') >> text=Rotate")
    assert site.page.input_value("[name=overlap]") == "604800"
    site.page.fill("[name=label]", "second")
    site.page.select_option("[name=overlap]", label="after 30 days")
    site.click("button:has-text('Rotate')")
    site.page.wait_for_selector("#token")
    second = site.page.inner_text("#token")
    assert TOKEN.fullmatch(second)
    assert second != first

    site.click("text=go to the device")
    site.click("#tabs-items >> text=Credentials")
    old = site.page.inner_text("tr:has-text('expires in')")
    assert "expires in 4 weeks" in old
    assert "Nobody has logged in with it since it was replaced" in old
    assert Credential.objects.filter(enabled=True).count() == 2
