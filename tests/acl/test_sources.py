"""Every rule of a device can be followed to where it is kept, and to why it applies."""

import pytest

from accounts.models import DeviceGroup
from accounts.principals import principal_of
from accounts.services import create_device, save_group
from acl import services
from acl.sources import Source, rule_notes, sources_of

pytestmark = pytest.mark.django_db


def test_each_source_is_named_as_its_rules_name_it_and_says_why_it_applies(
    django_assert_num_queries: object,
) -> None:
    pumps, site, other = (save_group(DeviceGroup(name=name)) for name in ("pumps", "a site", "other"))
    pump = create_device("pump", groups=[pumps, site])
    everyone = services.create_policy("for all", everyone=True, groups=[other])
    attached = services.create_policy("attached", devices=[pump])
    grouped = services.create_policy("grouped", groups=[pumps, site, other])
    everything = services.create_policy("everything", everyone=True, devices=[pump], groups=[pumps])
    services.create_policy("not for it", groups=[other])
    principal = principal_of(pump)
    with django_assert_num_queries(2):  # type: ignore[operator]
        sources = sources_of(principal)
    assert sources == {
        "device pump": Source("pump", None, pump.pk, "its own rule"),
        "policy for all": Source("for all", everyone.pk, None, "applies to everyone"),
        "policy attached": Source("attached", attached.pk, None, "attached to the device"),
        "policy grouped": Source("grouped", grouped.pk, None, "via the group a site, via the group pumps"),
        "policy everything": Source(
            "everything",
            everything.pk,
            None,
            "applies to everyone, attached to the device, via the group pumps",
        ),
    }


def test_notes_are_those_of_the_rules_asked_for() -> None:
    policy = services.create_policy("p")
    noted = services.create_rule(policy, "allow", "all", "a", note="why")
    plain = services.create_rule(policy, "allow", "all", "b")
    services.create_rule(policy, "allow", "all", "c", note="other")
    assert rule_notes([noted.pk, plain.pk, 2**62 + 1]) == {noted.pk: "why"}
