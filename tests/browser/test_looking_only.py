"""A viewer in a browser: sees everything, is offered nothing to change, and is refused what is sent anyway.

Every address is tried in ``tests/staff/test_viewer.py``.
"""

import pytest
from django.contrib.auth.models import Group, User

from accounts.models import Credential, Device
from accounts.services import create_device, create_token
from acl.models import Rule
from acl.services import create_policy, create_rule
from exhookadmin.staff.roles import VIEWER
from tests.browser.conftest import PASSWORD, Visit

pytestmark = pytest.mark.browser

OFFERS = (
    "#content :is([name=_save], [href$='/add/'], [href$='/delete/']), "
    "#content form[method=post] :is(input:not([type=hidden]), textarea, select):enabled"
)
"""Whatever one could press or fill in to change something."""


def test_a_viewer_cannot_change_anything(visit: Visit) -> None:
    User.objects.create_user("night-shift", password=PASSWORD, is_staff=True).groups.add(
        Group.objects.get(name=VIEWER)
    )
    pump = create_device("pump-17")
    credential, _ = create_token(pump)
    policy = create_policy("levels", everyone=True)
    rule = create_rule(policy, "allow", "publish", "site/#")
    device, levels = f"/admin/accounts/device/{pump.pk}/", f"/admin/acl/policy/{policy.pk}/"
    with visit() as site:
        site.log_in("night-shift", PASSWORD)
        for path in ("/admin/accounts/device/", f"{device}change/", "/admin/acl/policy/", f"{levels}change/"):
            site.open(path)
            assert site.page.locator(OFFERS).count() == 0, path

        cookies = {each["name"]: each["value"] for each in site.context.cookies()}
        sent: dict[str, dict[str, str | float | bool]] = {
            f"{device}change/": {"username": "mine", "_save": "Save"},
            f"{device}delete/": {"post": "yes"},
            f"{device}new-token/": {"label": "mine"},
            f"{device}credentials/{credential.pk}/revoke/": {},
            f"{levels}change/": {"name": "mine", "rules-0-topic_filter": "#", "_save": "Save"},
            "/admin/accounts/device/add/": {"username": "mine", "_save": "Save"},
            "/admin/auth/user/add/": {"username": "mine"},
        }
        for path, form in sent.items():
            answer = site.context.request.post(
                site.url + path, form=form, headers={"X-CSRFToken": cookies["csrftoken"]}, max_redirects=0
            )
            assert answer.status == 403, path
            assert "CSRF" not in answer.text(), "it is the right that is missing, not the form's token"
    assert list(Device.objects.values_list("username", flat=True)) == ["pump-17"]
    assert list(Credential.objects.values_list("pk", "enabled")) == [(credential.pk, True)]
    assert list(Rule.objects.values_list("pk", "topic_filter")) == [(rule.pk, "site/#")]
    assert not User.objects.filter(username="mine").exists()
