import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acl.core.topic_problems import MAX_BYTES, filter_problem, topic_problem

VALID_TOPICS = [
    "a",
    "/",
    "/a",
    "a/",
    "a//b",
    "$SYS/brokers",
    "ü/温度",
    "a b",
    "x" * MAX_BYTES,
    "é" * (MAX_BYTES // 2),
]


@pytest.mark.parametrize("text", VALID_TOPICS, ids=lambda text: text[:12])
def test_valid_topics_are_valid_filters_too(text):
    assert topic_problem(text) is None
    assert filter_problem(text) is None


@pytest.mark.parametrize(
    "text", ["#", "+", "/#", "/+", "+/", "a/#", "a/+/b", "+/+/#", "$SYS/+/#", "a//#", "a\n/+"]
)
def test_valid_filters(text):
    assert filter_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a/#/b", "“a/#/b”: # is only allowed as the last level; write a/#"),
        ("#/", "“#/”: # is only allowed as the last level; write #"),
        ("a#", "“a#”: # must stand alone in its level; write a/#"),
        ("#a/b", "“#a/b”: # must stand alone in its level; write #"),
        ("##", "“##”: # must stand alone in its level; write #"),
        ("a+/b", "“a+/b”: + must stand alone in its level; write +/b"),
        ("++", "“++”: + must stand alone in its level; write +"),
        ("a/+b/c#/d", "“a/+b/c#/d”: + must stand alone in its level; write a/+/c/#"),
        ("a/+#", "“a/+#”: + must stand alone in its level; write a/#"),
        ("a\n#", "“a\n#”: # must stand alone in its level; write a\n/#"),
    ],
)
def test_misplaced_wildcards_are_named_with_the_fix(text, problem):
    assert filter_problem(text) == problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "It is empty"),
        ("a\0b", "NUL"),
        ("a/\ud800", "surrogate"),
        ("x" * (MAX_BYTES + 1), "65,536 bytes"),
        ("é" * 40_000, "80,000 bytes"),
    ],
    ids=["empty", "NUL", "lone surrogate", "too long", "too long in UTF-8"],
)
def test_texts_that_mqtt_cannot_carry(text, words):
    for problem in (topic_problem(text), filter_problem(text)):
        assert problem is not None
        assert words in problem
        problem.encode()  # it can be shown


@pytest.mark.parametrize("text", ["a/+", "#", "a+b", "a/#/b"])
def test_a_topic_to_publish_to_has_no_wildcards(text):
    problem = topic_problem(text)
    assert problem is not None
    assert "cannot hold + or #" in problem


def test_long_texts_do_not_flood_the_message():
    problem = filter_problem("x/" * 5_000 + "a+")
    assert problem is not None
    assert len(problem) < 200


@given(st.text(alphabet="a/+#$", max_size=8))
def test_a_filter_is_valid_when_its_levels_are_and_the_advice_is_a_valid_filter(text):
    levels = text.split("/")
    valid = text != "" and all(
        (level in ("", "+") or not re.search("[+#]", level)) or (level == "#" and depth == len(levels) - 1)
        for depth, level in enumerate(levels)
    )
    problem = filter_problem(text)
    assert (problem is None) is valid
    if problem is not None and text:
        assert filter_problem(problem.rpartition("; write ")[2]) is None
