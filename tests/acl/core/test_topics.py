import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl.core.topics import contains, filter_levels, has_wildcards, match, overlaps
from tests.acl.core.topic_sets import FRESH, World, all_filters, all_topics, spelled_match

LEVELS = ["", "a", "$s"]


FILTERS = all_filters(LEVELS, 4)


@pytest.fixture(scope="module")
def world():
    return World(LEVELS, depth=5)


# --- match -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        # MQTT 5, 4.7.1.2: the multi-level wildcard
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/player1/#", "sport/tennis/player10", False),
        ("sport/#", "sport", True),
        ("#", "sport", True),
        ("#", "sport/tennis", True),
        # 4.7.1.3: the single-level wildcard
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player2", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/tennis/#", "sport/tennis/x", True),
        ("sport/+/player1", "sport/tennis/player1", True),
        # 4.7.2: topics that begin with $
        ("#", "$SYS/x", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS", True),
        ("$SYS/#", "$SYS/monitor", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("a/+", "a/$SYS", True),
        ("a/#", "a/$SYS", True),
        # 4.7.3: case matters, empty levels are levels
        ("ACCOUNTS", "Accounts", False),
        ("/finance", "finance", False),
        ("a//b", "a/b", False),
        ("a/+/b", "a//b", True),
        ("/", "/", True),
        ("+/+", "/", True),
        ("#", "/", True),
    ],
)
def test_a_filter_matches_as_mqtt_says(topic_filter, topic, expected):
    assert match(topic_filter, topic) is expected
    assert spelled_match(topic_filter, topic) is expected


def test_match_is_right_for_every_small_filter_and_topic():
    wrong = [
        (topic_filter, topic)
        for topic_filter in FILTERS
        for topic in all_topics([*LEVELS, FRESH], 4)
        if match(topic_filter, topic) is not spelled_match(topic_filter, topic)
    ]
    assert wrong == []


# --- contains --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("#", "#", True),
        ("#", "+/#", True),
        ("+/#", "#", True),
        ("#", "a/+/b", True),
        ("a/#", "a", True),
        ("a/#", "a/#", True),
        ("a/+", "a/b", True),
        ("a/+/#", "a/+", True),
        ("a/+/#", "a/#", False),  # a itself
        ("/+/#", "/#", True),  # / has no parent topic: the empty topic does not exist
        ("+/+/#", "/#", True),
        ("+/+", "a/#", False),
        ("#", "$SYS/#", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x/+", True),
        ("a/+", "a/$x", True),
        # where EMQX, comparing a filter as if it were a topic, says yes
        ("a/+", "a/#", False),
        ("a/+/+", "a/b/#", False),
        ("+", "#", False),
        ("a/b", "a/+", False),
    ],
)
def test_containment(outer, inner, expected):
    assert contains(outer, inner) is expected


def test_containment_is_right_for_every_pair_of_small_filters(world):
    wrong = [
        (outer, inner)
        for outer in FILTERS
        for inner in FILTERS
        if contains(outer, inner) is not world.contains(outer, inner)
    ]
    assert wrong == []


# --- overlaps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("secret/#", "#", True),
        ("secret/#", "+/#", True),
        ("secret/#", "secret", True),
        ("secret/#", "+", True),
        ("secret/+", "secret", False),
        ("a/+", "+/b", True),
        ("a/b", "+/c", False),
        ("a/#", "b/#", False),
        ("+", "/#", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/+", True),
    ],
)
def test_overlap(one, two, expected):
    assert overlaps(one, two) is expected
    assert overlaps(two, one) is expected


def test_overlap_is_right_for_every_pair_of_small_filters(world):
    wrong = [
        (one, two) for one in FILTERS for two in FILTERS if overlaps(one, two) is not world.overlaps(one, two)
    ]
    assert wrong == []


# --- laws, on longer and stranger texts ------------------------------------------------------------------

level = st.one_of(
    st.sampled_from(["", "a", "b", "$s"]), st.text(st.characters(exclude_characters="/+#\0"), max_size=3)
)
topics = st.lists(level, min_size=1, max_size=7).map(lambda levels: "/".join(levels) or "/")


@st.composite
def filters_around(draw, topic):
    """A filter that matches the topic unless it begins with $ and the filter with a wildcard."""
    levels = [draw(st.sampled_from([text, text, "+"])) for text in topic.split("/")]
    if draw(st.booleans()):
        levels = [*levels[: draw(st.integers(0, len(levels)))], "#"]
    return "/".join(levels)


@st.composite
def topics_with_two_filters(draw):
    topic = draw(topics)
    return (
        topic,
        draw(filters_around(topic)),
        draw(filters_around(draw(st.sampled_from([topic, draw(topics)])))),
    )


@given(topics_with_two_filters())
def test_what_contains_a_filter_matches_its_topics(case):
    topic, inner, outer = case
    if match(inner, topic) and contains(outer, inner):
        assert match(outer, topic)


@given(topics_with_two_filters())
def test_filters_that_match_one_topic_overlap(case):
    topic, one, two = case
    assert overlaps(one, two) is overlaps(two, one)
    if match(one, topic) and match(two, topic):
        assert overlaps(one, two)


@given(topics_with_two_filters())
def test_on_a_topic_the_three_questions_are_one(case):
    topic, topic_filter, _ = case
    assert match(topic_filter, topic) is contains(topic_filter, topic) is overlaps(topic_filter, topic)


@given(topics_with_two_filters())
def test_containment_is_an_order_and_implies_overlap(case):
    _, one, two = case
    assert contains(one, one)
    assert not contains(one, two) or overlaps(one, two)
    if contains(one, two) and contains(two, one):
        assert filter_levels(one) == filter_levels(two)


@pytest.mark.parametrize(
    ("text", "expected"), [("a/b", False), ("a/+", True), ("#", True), ("$SYS/x", False)]
)
def test_has_wildcards(text, expected):
    assert has_wildcards(text) is expected
