import pytest
from django.core.exceptions import ValidationError

from accounts.models import Device, DeviceGroup
from acl import services
from acl.models import Policy, Rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def devices():
    return [Device.objects.create(username=name) for name in ("pump-1", "pump-2")]


@pytest.fixture
def groups():
    return [DeviceGroup.objects.create(name=name) for name in ("pumps", "berlin")]


def test_a_policy_is_created_with_what_it_is_attached_to(devices, groups):
    policy = services.create_policy(
        "fleet", devices=devices, groups=groups[:1], everyone=True, description="x"
    )
    stored = Policy.objects.get()
    assert (stored.pk, stored.everyone, stored.enabled, stored.description) == (policy.pk, True, True, "x")
    assert set(stored.devices.all()) == set(devices)
    assert set(stored.groups.all()) == set(groups[:1])


def test_attachments_are_replaced_only_when_they_are_given(devices, groups):
    policy = services.create_policy("fleet", devices=devices, groups=groups)
    policy.description = "new"
    services.save_policy(policy)
    assert (policy.devices.count(), policy.groups.count()) == (2, 2)
    services.save_policy(policy, devices=devices[:1])
    assert (policy.devices.count(), policy.groups.count()) == (1, 2)
    services.save_policy(policy, groups=[])
    assert (policy.devices.count(), policy.groups.count()) == (1, 0)
    assert Policy.objects.get().description == "new"


@pytest.mark.parametrize("name", ["", "taken", "a\x00b", "x" * 151])
def test_a_wrong_policy_is_not_created(name, devices):
    services.create_policy("taken")
    with pytest.raises(ValidationError) as refused:
        services.create_policy(name, devices=devices)
    assert refused.value.message_dict.keys() == {"name"}
    assert Policy.objects.count() == 1


def test_a_policy_that_cannot_be_attached_is_not_created(devices):
    with pytest.raises(ValueError, match="never stored"):
        services.create_policy("fleet", devices=devices, groups=[DeviceGroup(name="never stored")])
    assert not Policy.objects.exists()


def test_attachments_that_fail_to_arrive_leave_the_policy_as_it_was(devices, groups):
    policy = services.create_policy("fleet", devices=devices, groups=groups)

    def arriving():
        yield groups[0]
        raise ConnectionError("the rest never came")

    policy.description = "new"
    with pytest.raises(ConnectionError):
        services.save_policy(policy, devices=[], groups=arriving())
    stored = Policy.objects.get()
    assert stored.description == ""
    assert (stored.devices.count(), stored.groups.count()) == (2, 2)


def test_a_rule_is_created_in_a_policy_or_on_a_device(devices):
    policy = services.create_policy("fleet")
    in_policy = services.create_rule(policy, "deny", "subscribe", "secret/#", priority=7, note="why")
    on_device = services.create_rule(devices[0], "allow", "all", "#", literal=True, networks=" 10.0.0.0/8 ")
    assert list(policy.rules.all()) == [in_policy]
    assert list(devices[0].rules.all()) == [on_device]
    stored = Rule.objects.get(pk=in_policy.pk)
    assert (str(stored), stored.priority, stored.note, stored.device) == (
        "deny subscribe secret/#",
        7,
        "why",
        None,
    )
    stored = Rule.objects.get(pk=on_device.pk)
    assert (str(stored), stored.networks, stored.policy) == ("allow all eq #", "10.0.0.0/8", None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"topic_filter": "a/#/b"}, "topic_filter"),
        ({"topic_filter": "a+/b"}, "topic_filter"),
        ({"topic_filter": ""}, "topic_filter"),
        ({"topic_filter": "x" * 65_536}, "topic_filter"),
        ({"topic_filter": "a\x00b"}, "topic_filter"),
        ({"topic_filter": "dev/${nope}"}, "topic_filter"),
        ({"effect": "permit"}, "effect"),
        ({"action": "pubsub"}, "action"),
        ({"networks": "10.0.0.7/8"}, "networks"),
        ({"priority": 2_000_000}, "__all__"),
        ({"owner": Policy(name="never stored")}, "__all__"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_rule_is_not_created(fields, field):
    right = {
        "owner": services.create_policy("fleet"),
        "effect": "allow",
        "action": "publish",
        "topic_filter": "a/b",
    }
    with pytest.raises(ValidationError) as refused:
        services.create_rule(**(right | fields))
    assert refused.value.message_dict.keys() == {field}
    assert not Rule.objects.exists()


def test_a_wrong_change_of_a_rule_changes_nothing():
    rule = services.create_rule(services.create_policy("fleet"), "deny", "publish", "secret/#")
    rule.effect, rule.topic_filter = "allow", "a/#/b"
    with pytest.raises(ValidationError):
        services.save_rule(rule)
    assert str(Rule.objects.get()) == "deny publish secret/#"


def test_deleting_policies_takes_their_rules_along_and_counts_policies(devices):
    for name in ("one", "two", "three"):
        policy = services.create_policy(name, devices=devices)
        services.create_rule(policy, "allow", "all", "a")
        services.create_rule(policy, "allow", "all", "b")
    own = services.create_rule(devices[0], "allow", "all", "c")
    assert services.delete_policies(Policy.objects.exclude(name="one")) == 2
    assert services.delete_policies(Policy.objects.filter(name="two")) == 0
    assert (Policy.objects.count(), Rule.objects.count(), Device.objects.count()) == (1, 3, 2)
    services.delete_rule(own)
    assert Rule.objects.count() == 2
