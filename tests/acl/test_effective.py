"""What a device may do, rule by rule: filled in for it, with sources, and with what never decides."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.binding import Binding
from accounts.models import Device, DeviceGroup
from accounts.services import create_device, save_group
from acl import services
from acl.admin import PERMISSIONS_SHOWN
from acl.core.compiled import compile_rules
from acl.core.decide import AccessRequest, authorize
from acl.core.rules import Action
from acl.effective import permissions_of
from acl.models import Rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def pumps() -> DeviceGroup:
    return save_group(DeviceGroup(name="pumps"))


def test_all_that_applies_is_shown_in_order_with_its_source(pumps: DeviceGroup) -> None:
    pump = create_device("pump", groups=[pumps], attributes={"site": "berlin"})
    services.create_rule(pump, "allow", "publish", "alarm/${clientid}", priority=5, note="since 2026")
    services.create_rule(pump, "allow", "publish", "off", enabled=False)
    grouped = services.create_policy("grouped", groups=[pumps])
    services.create_rule(grouped, "allow", "all", "site/${attr.site}/#")
    services.create_rule(grouped, "deny", "publish", "site/+/secret")
    services.create_rule(services.create_policy("all", everyone=True), "allow", "all", "x", priority=-1)
    off = services.create_policy("off", everyone=True, enabled=False)
    services.create_rule(off, "deny", "all", "#")
    services.create_rule(services.create_policy("others"), "deny", "all", "#")
    permissions = permissions_of(pump)
    assert [
        (each.number, each.rule.effect.value, each.topic_filter, each.source and each.source.why, each.note)
        for each in permissions.rules
    ] == [
        (1, "allow", "alarm/pump", "its own rule", "since 2026"),
        (2, "deny", "site/+/secret", "via the group pumps", ""),
        (3, "allow", "site/berlin/#", "via the group pumps", ""),
        (4, "allow", "x", "applies to everyone", ""),
    ]
    assert permissions.problem == ""


FILLED = [
    ({}, "a/${clientid}/${cn}", "a/pump/${cn}", ""),
    ({"certificate_cn": "c"}, "a/${clientid}/${cn}", "a/pump/c", ""),
    ({"client_id_binding": Binding.ANY}, "a/${clientid}", "a/${clientid}", ""),
    ({"client_id_binding": Binding.PREFIX, "client_id": "p-"}, "a/${clientid}", "a/${clientid}", ""),
    ({"client_id_binding": Binding.EXACT, "client_id": "p1"}, "a/${clientid}/${username}", "a/p1/pump", ""),
    ({}, "a/${attr.x}", "a/${attr.x}", "placeholder ${attr.x} has no value"),
    ({"attributes": {"x": "a/b"}}, "a/${attr.x}", "a/${attr.x}", "the value of placeholder ${attr.x} holds"),
    ({"attributes": {"x": "${cn}"}, "certificate_cn": "c"}, "a/${attr.x}/100%", "a/${cn}/100%", ""),
]


@pytest.mark.parametrize(("fields", "topic_filter", "shown", "flaw"), FILLED)
def test_filters_are_filled_in_as_far_as_every_connection_would(
    fields: dict[str, Any], topic_filter: str, shown: str, flaw: str
) -> None:
    pump = create_device("pump", **fields)
    services.create_rule(pump, "allow", "all", topic_filter)
    (rule,) = permissions_of(pump).rules
    assert rule.topic_filter == shown
    assert rule.flaw.startswith(flaw)
    assert bool(rule.flaw) == bool(flaw)


def test_what_never_decides_for_this_device_names_what_stands_before(pumps: DeviceGroup) -> None:
    pump = create_device("pump", groups=[pumps])
    policy = services.create_policy("p", groups=[pumps])
    services.create_rule(policy, "allow", "all", "dev/${clientid}/#")
    services.create_rule(pump, "deny", "publish", "dev/pump/secret", priority=-1)
    services.create_rule(pump, "allow", "publish", "dev/other", priority=-1)
    first, secret, other = permissions_of(pump).rules
    assert (first.idle, other.idle) == ("", "")
    assert secret.idle.startswith("It denies nothing: “allow all dev/pump/#” is tried before")
    assert secret.idle_because == (1,)


def test_a_value_that_looks_like_a_placeholder_is_no_reason_to_say_so() -> None:
    pump = create_device("pump", attributes={"x": "${cn}"})
    services.create_rule(pump, "allow", "all", "a/${cn}")
    services.create_rule(pump, "allow", "all", "a/${attr.x}")
    assert [each.idle for each in permissions_of(pump).rules] == ["", ""]


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        (Rule, {"topic_filter": "a/#/b"}, "A rule of the device pump is invalid: “a/#/b”"),
        (Rule, {"networks": "nowhere"}, "A rule of the device pump cannot be read"),
        (Device, {"networks": "nowhere"}, "The device’s networks cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    admin_client: Client, table: Any, values: dict[str, str], words: str
) -> None:
    pump = create_device("pump")
    services.create_rule(pump, "allow", "all", "a")
    table.objects.update(**values)
    pump.refresh_from_db()
    assert words in permissions_of(pump).problem
    page = admin_client.get(reverse("admin:accounts_device_change", args=[pump.pk]))
    assert "Until that is corrected, everything is denied" in page.content.decode()


def test_it_costs_the_same_however_many_rules(pumps: DeviceGroup, django_assert_num_queries: Any) -> None:
    pump = create_device("pump", groups=[pumps])
    for count in (1, 20):
        for number in range(count):
            policy = services.create_policy(f"{count} {number}", groups=[pumps])
            services.create_rule(policy, "allow", "all", f"{count}/{number}")
        device = Device.objects.get(pk=pump.pk)
        with django_assert_num_queries(5):
            permissions_of(device)


def test_the_page_of_a_device_shows_them(admin_client: Client) -> None:
    pump = create_device("pump")
    page = reverse("admin:accounts_device_change", args=[pump.pk])
    assert "No rule applies, and what is not allowed is denied" in admin_client.get(page).content.decode()
    Rule.objects.bulk_create(
        [
            Rule(device=pump, effect="allow", action="all", topic_filter=f"a/{n}/${{clientid}}")
            for n in range(PERMISSIONS_SHOWN + 2)
        ]
    )
    html = admin_client.get(page).content.decode()
    assert "a/99/pump" in html
    assert "a/100/pump" not in html
    assert "2 more rules apply" in html


permitted = st.lists(
    st.tuples(
        st.sampled_from(["allow", "deny"]),
        st.sampled_from(["publish", "subscribe", "all"]),
        st.sampled_from(["a", "a/+", "a/#", "#", "${clientid}/#", "a/${attr.x}", "pump", "pump/+"]),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=8,
)


@given(
    permitted,
    st.sampled_from(["a", "a/b", "a/x", "pump", "pump/x"]),
    st.sampled_from(["publish", "subscribe"]),
)
def test_what_is_said_never_to_decide_never_does(
    written: list[tuple[str, str, str, int]], topic: str, action: str
) -> None:
    Device.objects.filter(username="pump").delete()
    pump = create_device("pump", attributes={"x": "b"})
    Rule.objects.bulk_create(
        [
            Rule(device=pump, effect=effect, action=about, topic_filter=text, priority=priority)
            for effect, about, text, priority in written
        ]
    )
    permissions = permissions_of(pump)
    assert permissions.principal is not None
    rules = compile_rules(each.rule for each in permissions.rules)
    request = AccessRequest(Action(action), topic)
    decision = authorize(permissions.client, permissions.principal, request, [rules], 0.0)
    idle = {each.rule.ref for each in permissions.rules if each.idle}
    assert decision.rule not in idle
