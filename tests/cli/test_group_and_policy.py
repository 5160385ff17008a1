"""manage.py group and manage.py policy."""

import pytest

from accounts import services
from accounts.models import DeviceGroup
from acl.models import Policy, Rule
from tests.cli.conftest import Run

pytestmark = pytest.mark.django_db


def test_groups_and_who_is_in_them(run: Run):
    for name in ("pump-1", "pump-2"):
        services.create_device(name)
    run("group", "add", "pumps", "--description", "all pumps")
    assert run("group", "join", "pumps", "pump-1", "pump-2", "--json") == [{"group": "pumps", "changed": 2}]
    assert run("group", "join", "pumps", "pump-1", "--json") == [{"group": "pumps", "changed": 0}]
    assert run("group", "leave", "pumps", "pump-1", "--json") == [{"group": "pumps", "changed": 1}]
    [listed] = run("group", "list", "--json")
    assert (listed["name"], listed["devices"]) == ("pumps", 1)
    assert run("group", "join", "pumps", "pump-1", "nobody") == 1
    assert run("group", "delete", "pumps") == 2
    run("group", "delete", "pumps", "--yes")
    assert not DeviceGroup.objects.exists()


def test_a_policy_and_its_rules(run: Run):
    services.save_group(DeviceGroup(name="pumps"))
    run("policy", "add", "fleet", "--group", "pumps")
    run("policy", "allow", "fleet", "publish", "dev/${clientid}/#", "--note", "its own")
    run("policy", "deny", "fleet", "all", "dev/+/secret", "--network", "192.0.2.0/24")
    [shown] = run("policy", "show", "fleet", "--json")
    assert [(rule["effect"], rule["topic_filter"]) for rule in shown["rules"]] == [
        ("deny", "dev/+/secret"),
        ("allow", "dev/${clientid}/#"),
    ]
    assert "dev/+/secret" in run("policy", "show", "fleet")
    assert run("policy", "drop", "fleet", str(shown["rules"][0]["id"])).startswith("deleted")
    assert Rule.objects.count() == 1
    run("policy", "disable", "fleet")
    assert [row["enabled"] for row in run("policy", "list", "--json")] == [False]
    run("policy", "enable", "fleet")
    assert Policy.objects.get().enabled


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["allow", "fleet", "publish", "a/#/b"], 2),
        (["allow", "nobody", "publish", "a"], 1),
        (["drop", "fleet", "7"], 1),
        (["add", "fleet"], 2),
        (["delete", "fleet"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_changes_nothing_and_is_told(arguments: list[str], code: int, run: Run):
    run("policy", "add", "fleet")
    assert run("policy", *arguments) == code
    assert (Policy.objects.count(), Rule.objects.count()) == (1, 0)
