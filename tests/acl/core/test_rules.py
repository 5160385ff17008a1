import random

import pytest

from acl.core.rules import Action, Effect, Rule, rule_filter_problem
from tests.acl.core.policies import rule


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("deny subscribe secret/# @10", "deny subscribe secret/# (priority 10)"),
        ("allow publish a/b", "allow publish a/b"),
        ("allow all eq a/+ @-1", "allow all eq a/+ (priority -1)"),
        ("allow all a from 10.0.0.0/8", "allow all a from 10.0.0.0/8"),
        (
            "allow all a from 10.0.0.0/8,192.0.2.1,::1,::2,::3 @1",
            "allow all a from 10.0.0.0/8, 192.0.2.1/32, ::1/128 and 2 more (priority 1)",
        ),
    ],
)
def test_a_rule_reads_as_people_say_it(line, text):
    said = rule(line, 7, "device pump-17")
    assert said.ref.text == text
    assert (said.ref.id, said.ref.source) == (7, "device pump-17")


def test_rules_are_tried_by_priority_then_deny_first_then_by_age():
    lines = [
        "deny all a @10",
        "allow all b @10",
        "deny all c @1",
        "deny all d @1",
        "allow all e @1",
        "deny all f",
        "allow all g @-5",
    ]
    rules = [rule(line, number) for number, line in enumerate(lines)]
    shuffled = random.Random(1).sample(rules, len(rules))
    assert sorted(shuffled, key=lambda r: r.order) == rules


def test_effect_and_action_given_as_stored_text_are_what_they_say():
    stored = Rule(1, "deny", "subscribe", "a")  # type: ignore[arg-type]
    assert stored.effect is Effect.DENY
    assert stored.action is Action.SUBSCRIBE


@pytest.mark.parametrize(("effect", "action"), [("refuse", "all"), ("deny", "read")])
def test_unknown_effects_and_actions_are_no_rule(effect, action):
    with pytest.raises(ValueError, match="is not a valid"):
        Rule(1, effect, action, "a")


@pytest.mark.parametrize("text", ["a/b", "#", "dev-${clientid}/+/up", "$SYS/#", "$share", "a/$share/g"])
def test_filters_that_a_rule_can_have(text):
    assert rule_filter_problem(text) is None


@pytest.mark.parametrize("text", ["$share/g/a", "$queue/a", "$exclusive/a", "$delayed/5/a", "$share/"])
def test_a_rule_speaks_of_the_filter_inside_a_wrapper(text):
    assert rule_filter_problem(text) == (
        f"“{text}”: write the inner filter: the wrapper is removed before rules are tried."
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "It is empty"),
        ("a/#/b", "write a/#"),
        ("a/${clientid}+", "+ must stand alone in its level"),
        ("a/${clientid}#", "# must stand alone in its level"),
        ("a/${peerhost}", "is not known here"),
        ("$${clientid}/a", "cannot hold a placeholder"),
        ("a\0", "NUL"),
    ],
)
def test_filters_that_a_rule_cannot_have(text, words):
    problem = rule_filter_problem(text)
    assert problem is not None
    assert words in problem
