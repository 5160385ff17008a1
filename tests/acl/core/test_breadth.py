"""Which rule opens everything, and so needs an administrator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl.core.breadth import names_nothing, opens_everything
from acl.core.rules import rule_filter_problem
from acl.core.topics import match

NOTHING = ["#", "+/#", "+/+/#", "+", "+/+/+", "/#", "/+", "//#", "+//+", "$SYS/#", "$SYS/+", "$events/+/#"]
SOMETHING = [
    "a/#", "+/a/#", "#a", "a", "+/a", "a/+/+", "/a/#", "$SYS/brokers/#", "${clientid}/#", "dev/${clientid}/#",
    "+/${attr.site}/#", "${username}", "$SYS", "/", "//",
]  # fmt: skip


@pytest.mark.parametrize("topic_filter", NOTHING)
def test_a_filter_of_wildcards_names_nothing(topic_filter: str) -> None:
    assert names_nothing(topic_filter)


@pytest.mark.parametrize("topic_filter", SOMETHING)
def test_a_filter_with_a_name_or_a_placeholder_names_something(topic_filter: str) -> None:
    assert not names_nothing(topic_filter)


LEVELS = st.sampled_from(["+", "a", "", "$SYS", "b c", "${clientid}"])
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(LEVELS, max_size=4),
    st.sampled_from([["#"], ["+"]]),
).filter(lambda text: rule_filter_problem(text) is None)


@given(FILTERS, st.lists(st.sampled_from(["x", "y", ""]), min_size=5, max_size=5))
def test_what_names_nothing_matches_whatever_topic_has_as_many_levels(
    topic_filter: str, names: list[str]
) -> None:
    levels = topic_filter.split("/")
    topic = "/".join(
        level if level not in ("+", "#") else name for level, name in zip(levels, names, strict=False)
    )
    if names_nothing(topic_filter) and topic:
        assert match(topic_filter, topic)
    elif topic:
        assert any(level not in ("+", "#", "") for level in levels)


@pytest.mark.parametrize(
    ("effect", "action", "literal", "opens"),
    [
        pytest.param("allow", "all", False, True, id="allow"),
        pytest.param("allow", "publish", False, True, id="allow publish"),
        pytest.param("allow", "subscribe", False, True, id="allow subscribe"),
        pytest.param("deny", "all", False, False, id="a denial opens nothing"),
        pytest.param("allow", "subscribe", True, True, id="the subscription to “#” delivers everything"),
        pytest.param("allow", "all", True, True, id="the same among others"),
        pytest.param("allow", "publish", True, False, id="nobody publishes to the text “#”"),
    ],
)
def test_what_the_rule_says_counts_too(effect: str, action: str, literal: bool, opens: bool) -> None:
    assert opens_everything(effect, action, "#", literal) is opens
    assert not opens_everything(effect, action, "a/#", literal)
