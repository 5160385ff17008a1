import pytest

from acl.core.topic_problems import InvalidTopic
from acl.core.wrappers import unwrap_publication, unwrap_subscription


@pytest.mark.parametrize(
    ("requested", "inner"),
    [
        ("$share/group/a/+", "a/+"),
        ("$share/g//a", "/a"),
        ("$share/g//", "/"),
        ("$share/$g/#", "#"),
        ("$queue/a/#", "a/#"),
        ("$queue//", "/"),
        ("$exclusive/a", "a"),
        # not a wrapper, or not one of a subscription
        ("a/b", "a/b"),
        ("$SYS/#", "$SYS/#"),
        ("$share", "$share"),
        ("$shared/g/a", "$shared/g/a"),
        ("a/$share/g/b", "a/$share/g/b"),
        ("$delayed/5/a", "$delayed/5/a"),
        ("$share/g/$delayed/5/a", "$delayed/5/a"),
        ("$queue/$SYS/#", "$SYS/#"),
    ],
)
def test_a_subscription_is_judged_by_the_filter_inside(requested, inner):
    assert unwrap_subscription(requested) == inner


@pytest.mark.parametrize(
    "requested",
    [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
        "$share/#/a",
        "$share/g#/a",
        "$queue/",
        "$exclusive/",
        "$share/g/$share/h/a",
        "$share/g/$queue/a",
        "$queue/$share/g/a",
        "$queue/$queue/a",
        "$exclusive/$share/g/a",
        "$share/g/$exclusive/a",
    ],
)
def test_a_wrapped_subscription_without_a_usable_filter_is_refused(requested):
    with pytest.raises(InvalidTopic, match=r"^\$"):
        unwrap_subscription(requested)


@pytest.mark.parametrize(
    ("requested", "inner"),
    [
        ("$delayed/0/a", "a"),
        ("$delayed/60//a", "/a"),
        ("$delayed/007/$SYS/a", "$SYS/a"),
        ("a/$delayed/1/b", "a/$delayed/1/b"),
        ("$delayed", "$delayed"),
        ("$share/g/a", "$share/g/a"),
        ("$delayed/1/$share/g/a", "$share/g/a"),
    ],
)
def test_a_publication_is_judged_by_the_topic_inside(requested, inner):
    assert unwrap_publication(requested) == inner


@pytest.mark.parametrize(
    "requested",
    [
        "$delayed/",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//a",
        "$delayed/x/a",
        "$delayed/-1/a",
        "$delayed/1.5/a",
        "$delayed/٣/a",
        "$delayed/²/a",
        "$delayed/5/$delayed/5/a",
    ],
)
def test_a_delayed_publication_without_a_usable_topic_is_refused(requested):
    with pytest.raises(InvalidTopic, match=r"^\$delayed"):
        unwrap_publication(requested)
