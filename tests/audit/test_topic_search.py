"""Topic filters in SQL cover the topics that MQTT says they cover, on both databases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audit.models import Event
from audit.topic_search import matching_topics, topic_filter_problem
from tests.audit.events import event, store


def covers(text: str, topic: str) -> bool:
    """MQTT 5, 4.7, level by level."""
    dollar = topic.startswith("$") and text[0] in "+#"
    return topic != "" and not dollar and levels_cover(text.split("/"), topic.split("/"))


def levels_cover(wanted: list[str], given: list[str]) -> bool:
    if wanted == ["#"]:
        return True
    if not wanted or not given:
        return wanted == given
    return wanted[0] in ("+", given[0]) and levels_cover(wanted[1:], given[1:])


def found(text: str) -> set[str]:
    return set(Event.objects.filter(matching_topics(text)).values_list("topic", flat=True))


TOPICS = (
    "",
    "dev",
    "dev/",
    "dev/a",
    "Dev/a",
    "dev/a/x",
    "dev/b/x",
    "device/a",
    "/",
    "/dev",
    "a%b/c",
    "a_b/c",
    "axb/c",
)
ODD = (
    "$SYS/up",
    "$share/g/dev/#",
    "dev/+/x",
    "dev/#",
    "dev/a.x",
    "dev/aqx",
    "zwei\nzeilen/x",
    "größe/x",
    "a\\b/[c]",
)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "topics"),
    [
        pytest.param("dev/a", {"dev/a"}, id="a topic, and its case counts"),
        pytest.param("dev/#", {"dev", "dev/", "dev/a", "dev/a/x", "dev/b/x", "dev/+/x", "dev/#", "dev/a.x",
                               "dev/aqx"}, id="everything below, the parent too"),
        pytest.param("dev/+", {"dev/", "dev/a", "dev/#", "dev/a.x", "dev/aqx"}, id="one level"),
        pytest.param("dev/+/x", {"dev/a/x", "dev/b/x", "dev/+/x"}, id="one level within"),
        pytest.param("+/x", {"zwei\nzeilen/x", "größe/x"}, id="one level before, whatever it holds"),
        pytest.param("+/a/#", {"dev/a", "Dev/a", "dev/a/x", "device/a"}, id="both"),
        pytest.param("/#", {"/", "/dev"}, id="an empty level"),
        pytest.param("+", {"dev"}, id="a single level, but no $"),
        pytest.param("#", set(TOPICS + ODD) - {"", "$SYS/up", "$share/g/dev/#"}, id="everything but $"),
        pytest.param("$SYS/#", {"$SYS/up"}, id="$, when it is named"),
        pytest.param("$share/+/dev/#", {"$share/g/dev/#"}, id="a shared subscription"),
        pytest.param("a%b/+", {"a%b/c"}, id="LIKE’s wildcard is a character"),
        pytest.param("a_b/#", {"a_b/c"}, id="its other one too"),
        pytest.param("+/a.x", {"dev/a.x"}, id="a regular expression’s dot is a character"),
        pytest.param("a\\b/[c]/#", {"a\\b/[c]"}, id="and so is everything else"),
        pytest.param("größe/+", {"größe/x"}, id="any alphabet"),
    ],
)  # fmt: skip
def test_filters(text: str, topics: set[str]) -> None:
    store(*(event(number, topic=topic) for number, topic in enumerate(TOPICS + ODD)))
    assert found(text) == topics
    assert {topic for topic in TOPICS + ODD if covers(text, topic)} == topics


level = st.sampled_from(["a", "A", "b.", "$x", "", "*"])
topics = st.lists(level, min_size=1, max_size=4).map("/".join)
filters = st.tuples(
    st.lists(st.sampled_from(["a", "A", "b.", "$x", "", "*", "+"]), min_size=1, max_size=3), st.booleans()
).map(lambda drawn: "/".join([*drawn[0], *(["#"] if drawn[1] else [])]))


class TestAnyFilter(TestCase):
    @given(filters.filter(bool), st.lists(topics, max_size=12))
    def test_finds_what_it_covers(self, text, topics):
        store(*(event(number, topic=topic) for number, topic in enumerate(topics)))
        assert found(text) == {topic for topic in topics if covers(text, topic)}


@pytest.mark.parametrize("text", ["#/a", "dev/#/x", "dev#", "dev/a#", "##"])
def test_a_misplaced_rest_is_explained(text: str) -> None:
    assert topic_filter_problem(text) == "# stands for whole levels and comes last; write it as in dev/#."


@pytest.mark.parametrize("text", ["dev+", "dev/a+/x", "++"])
def test_a_plus_within_a_level_is_explained(text: str) -> None:
    assert topic_filter_problem(text) == "+ stands for one whole level; write it as in dev/+/state."


@pytest.mark.parametrize("text", ["#", "+", "dev/+/x", "+/#", "a//b", "/"])
def test_a_good_filter_has_no_problem(text: str) -> None:
    assert topic_filter_problem(text) == ""
