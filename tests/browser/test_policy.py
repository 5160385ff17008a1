"""The Content-Security-Policy in a real browser: it bites, and no page of ours needs more than it allows.

What a page complains of fails its test, whichever it is (conftest.py); here is what no other opens.
"""

import pytest
from django.contrib.auth.models import User
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts import services
from acl import services as acl
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

RUN = """text => {
    const script = document.createElement('script');
    script.textContent = text;
    document.head.append(script);
    const image = document.createElement('img');
    image.setAttribute('onerror', text);
    const failed = new Promise(resolve => image.addEventListener('error', () => resolve(true)));
    image.src = 'data:,';
    document.body.append(image);
    return failed;
}"""


def test_a_script_that_was_smuggled_in_does_not_run(site: Site) -> None:
    with site.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert site.page.evaluate(RUN, "window.smuggled = true")
    assert site.page.evaluate("window.smuggled") is None
    site.complaints.clear()


def test_no_page_needs_more_than_the_policy_allows(site: Site) -> None:
    device = services.create_device("pump-17")
    services.set_enabled(type(device).objects.all(), False)
    policy = acl.create_policy("own", everyone=True)
    acl.create_rule(policy, "allow", "all", "dev/${clientid}/#")
    somebody = User.objects.create_user("somebody", is_staff=True)
    for path in (
        f"accounts/device/{device.pk}/history/",
        f"acl/policy/{policy.pk}/history/",
        "exhookadmin/recordedchange/",
        "axes/accesslog/",
        "exhookadmin/apikey/",
        "exhookadmin/apikey/add/",
        "axes/accessattempt/",
        f"auth/user/{somebody.pk}/reset-second-factor/",
        f"auth/user/{somebody.pk}/password/",
        "password_change/",
        "explain/",
        "second-factor/",
    ):
        site.open(f"/admin/{path}")
        site.page.wait_for_load_state("networkidle")
        wide, window = site.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= window, f"{path} scrolls sideways"
    site.open("/api/docs/")
    site.page.wait_for_selector("text=/api/v1/devices/")


def test_a_second_factor_is_set_up_and_asked_for(site: Site) -> None:
    site.open("/admin/second-factor/set-up/")
    assert site.page.locator(".exhook-qr svg").bounding_box()["width"] > 150  # type: ignore[index]
    factor = TOTPDevice.objects.get()
    TOTPDevice.objects.update(tolerance=3)
    site.page.fill("[name=code]", f"{totp(factor.bin_key):06}")
    site.click("text=Switch it on")
    site.page.wait_for_selector("text=will not be shown again")
    code = site.page.inner_text("pre").split()[0]
    site.context.clear_cookies()
    site.open("/admin/")
    site.page.fill("[name=username]", "admin")
    site.page.fill("[name=password]", "correct horse battery staple")
    site.click("[type=submit]")
    site.page.wait_for_selector("text=One more step")
    site.page.fill("[name=code]", code)
    site.click("button:has-text('Log in') >> nth=0")
    site.page.wait_for_selector("#nav-sidebar-apps")
