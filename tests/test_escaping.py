"""Names that strangers choose are text on every page: client ids and topics come from the network."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.models import Credential, Device, DeviceGroup
from acl import services as acl_services
from acl.models import Policy
from audit.fact import Fact, Kind
from audit.models import Event, Session
from audit.writer import write_facts

pytestmark = pytest.mark.django_db

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


def everywhere() -> list[str]:
    """The pages that show the name, after storing it wherever a name can be stored."""
    group = services.save_group(DeviceGroup(name=EVIL, description=EVIL))
    device = services.create_device(EVIL, description=EVIL, groups=[group], attributes={"site": EVIL})
    services.create_token(device, EVIL)
    policy = acl_services.create_policy(EVIL, description=EVIL, devices=[device], groups=[group])
    acl_services.create_rule(policy, "allow", "all", EVIL.replace("#", ""), note=EVIL)
    own = {
        "device_id": device.pk,
        "device": EVIL,
        "client_id": EVIL,
        "username": EVIL,
        "node": EVIL,
        "cn": EVIL,
    }
    write_facts(
        [
            Fact(Kind.CONNECTED, **own),  # type: ignore[arg-type]
            Fact(Kind.AUTHORIZE, topic=EVIL, rule=EVIL, reason=EVIL[:40], detail=EVIL, **own),  # type: ignore[arg-type]
        ]
    )
    credential = Credential.objects.get()
    rows = [device, group, policy, Event.objects.get(kind=Kind.AUTHORIZE), Session.objects.get()]
    names = [f"{row._meta.app_label}_{row._meta.model_name}" for row in rows]
    return [
        *(reverse(f"admin:{name}_changelist") for name in names),
        *(reverse(f"admin:{name}_change", args=[row.pk]) for name, row in zip(names, rows, strict=True)),
        *(
            reverse(f"admin:{name}_delete", args=[row.pk])
            for name, row in zip(names[:3], rows[:3], strict=True)
        ),
        reverse("admin:accounts_device_history", args=[device.pk]),
        reverse("admin:accounts_device_new_token", args=[device.pk]),
        reverse("admin:accounts_credential_delete", args=[device.pk, credential.pk]),
        f"{reverse('console:explain')}?event={rows[3].pk}&policy={policy.pk}",
        f"{reverse('console:device_names')}?username=%22",
    ]


def test_no_page_takes_a_name_for_markup(admin_client: Client) -> None:
    for url in everywhere():
        html = admin_client.get(url).content.decode()
        assert "alert(1)" in html, f"{url} does not show the name, so it proves nothing"
        assert "<script>alert" not in html, url
        assert "<img src=x" not in html, url


def test_no_answer_to_a_post_does_either(admin_client: Client) -> None:
    everywhere()
    device, policy = Device.objects.get(), Policy.objects.get()
    chosen = {"action": "disable", "_selected_action": [str(device.pk)]}
    answers = [
        admin_client.post(reverse("admin:accounts_device_new_token", args=[device.pk]), {"newest": "0"}),
        admin_client.post(
            reverse("admin:accounts_device_new_token", args=[device.pk]),
            {"newest": str(Credential.objects.get().pk), "label": EVIL},
        ),
        admin_client.post(reverse("admin:accounts_device_changelist"), chosen, follow=True),
        admin_client.post(reverse("admin:acl_policy_delete", args=[policy.pk]), {"post": "yes"}, follow=True),
    ]
    for answer in answers:
        html = answer.content.decode()
        assert "alert(1)" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html
