"""A site with something on every page, long names among it, and the addresses of all its pages."""

from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import get_resolver
from django.utils import timezone

from accounts import services
from accounts.models import Device, DeviceGroup
from acl import services as acl_services
from acl.models import Policy
from audit.fact import Fact, Kind
from audit.models import Event, Session
from audit.writer import write_facts
from exhookadmin.api.keys import create_key
from exhookadmin.api.scopes import Scope
from exhookadmin.console.saved_searches import save_search
from exhookadmin.enrolment.models import EnrolmentAttempt
from exhookadmin.enrolment.services import create_key as create_enrolment_key
from tests.browser.conftest import Site

LONG = "gateway-in-a-place-with-a-long-name-" * 10


def furnish() -> None:
    """A row of everything that has pages: a plain one, and where people choose names, a long one."""
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
    _happened(plain, long)
    boss = User.objects.get(username="admin")
    save_search(boss, "refusals of the pumps", "reason=rule_denies", shared=True)
    create_key("provisioning", [Scope.DEVICES_READ], created_by=boss)
    create_enrolment_key(
        name="line 4", created_by=boss, group=group, expires_at=timezone.now() + timedelta(days=30)
    )
    EnrolmentAttempt.objects.create(username=LONG[:50], granted=False, reason="The key is spent.")
    AccessAttempt.objects.create(username="somebody", ip_address="192.0.2.1", failures_since_start=5)
    User.objects.create_user("somebody", is_staff=True)


def _happened(plain: Device, long: Device) -> None:
    own: dict[str, Any] = {
        "address": "2001:db8:1111:2222:3333:4444:5555:6666",
        "node": "emqx@one.example.com",
    }
    facts = [Fact(Kind.PROVIDER_LOADED, node=own["node"])]
    for row in (plain, long):
        facts.append(
            Fact(Kind.CONNECTED, device_id=row.pk, device=row.username, client_id=row.username, **own)
        )
    denied: dict[str, Any] = {"reason": "rule_denies", "allowed": False, "action": "publish"}
    who: dict[str, Any] = {"device": LONG, "device_id": long.pk, "client_id": LONG}
    facts.append(Fact(Kind.AUTHORIZE, topic="t/" * 500, **who, **own, **denied))
    facts.append(
        Fact(Kind.AUTHENTICATE, client_id="nobody", username="nobody", allowed=False, reason="unknown_device")
    )
    write_facts(facts)


def _templates() -> set[str]:
    """Every address below /admin/, as “accounts/device/%(object_id)s/change/”."""
    resolver = get_resolver()
    return {
        template
        for prefix, part in resolver.namespace_dict.values()
        if prefix == "admin/"
        for key in part.reverse_dict
        for possibilities, *_ in part.reverse_dict.getlist(key)
        for template, _ in possibilities
    }


_ROWS: dict[Any, dict[str, Any]] = {
    Device: {"username": "pump-17"},
    Event: {"kind": Kind.AUTHORIZE},
    Session: {"client_id": LONG},
    Group: {"name": "viewer"},
    User: {"username": "somebody"},
}
"""Which row’s pages are opened, where the newest is not the one to look at."""


def _values(template: str) -> dict[str, Any]:
    """What stands for the placeholders of an address. A new kind of placeholder needs a value here."""
    app, _, rest = template.partition("/")
    model: Any = apps.all_models.get(app, {}).get(rest.partition("/")[0])
    row = model and model._default_manager.filter(**_ROWS.get(model, {})).order_by("-pk").first()
    device = Device.objects.get(username="pump-17")
    credential = device.credentials.order_by("pk")[0]
    return {
        "object_id": row.pk if row else 1,
        "id": row.pk if row else 1,
        "device_id": device.pk,
        "credential_id": credential.pk,
        "content_type_id": 1,
        "app_label": "accounts",
        "url": "nothing-like-it",
        "format": "csv",
        "number": 1,
    }


def lists() -> list[str]:
    """The addresses of all lists of rows."""
    return [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]


def main_pages() -> list[str]:
    """The addresses of what people look at most."""
    pump, policy = Device.objects.get(username="pump-17"), Policy.objects.get()
    return [
        "/admin/",
        "/admin/accounts/device/",
        f"/admin/accounts/device/{pump.pk}/change/",
        f"/admin/acl/policy/{policy.pk}/change/",
        "/admin/explorer/",
        f"/admin/explain/?event={Event.objects.get(kind=Kind.AUTHORIZE).pk}",
    ]


def pages(site: Site) -> list[str]:
    """The addresses of all pages of the furnished site that its user may open, and some states of pages."""
    pump, policy = Device.objects.get(username="pump-17"), Policy.objects.get()
    long, event = Device.objects.get(username=LONG), Event.objects.get(kind=Kind.AUTHORIZE)
    states = [
        f"/admin/accounts/device/{pump.pk}/change/#credentials",
        f"/admin/accounts/device/{pump.pk}/change/#rules",
        f"/admin/accounts/device/{long.pk}/change/",
        f"/admin/explain/?username=pump-17&action=publish&topics=a/b&policy={policy.pk}",
        f"/admin/explain/?event={event.pk}",
        "/admin/import/?format=emqx-users-csv",
        "/admin/import/?format=emqx-acl-conf",
        "/admin/explorer/?text=nothing-like-it",
        "/admin/explorer/?device=pump-17&since=7d",
    ]
    found = [f"/admin/{template % _values(template)}" for template in sorted(_templates())]
    return [path for path in found if _is_page(site, path)] + states


def _is_page(site: Site, path: str) -> bool:
    """Not a file, a part for a script, another page’s address or something that is only sent to."""
    answer = site.context.request.get(site.url + path, max_redirects=0)
    assert answer.status < 500, path
    return answer.status == 200 and "<html" in answer.text()
