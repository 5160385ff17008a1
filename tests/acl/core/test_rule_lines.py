"""Rules as lines: what is written is read back, and a wrong line is named with the fix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.core.networks import parse_networks
from acl.core.rule_lines import UNSAVED, WrongLine, read_rule, read_rules, rule_line
from acl.core.rules import Action, Effect, Rule, rule_filter_problem
from tests.acl.core.policies import rule


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("allow publish a/b", "allow publish a/b"),
        ("  allow   publish\ta/b  ", "allow publish a/b"),
        ("deny all eq a/# (priority -7)", "deny all eq a/# (priority -7)"),
        ("allow all eq", "allow all eq"),
        ("allow all from", "allow all from"),
        ("allow all from from 10.0.0.0/8", "allow all from from 10.0.0.0/8"),
        (
            "allow all a from 10.0.0.0/8 192.0.2.1,::1/128,::2,::3 (priority 5)",
            "allow all a from 10.0.0.0/8, 192.0.2.1/32, ::1/128, ::2/128, ::3/128 (priority 5)",
        ),
        ('allow all "two words/+"', 'allow all "two words/+"'),
        ('allow all "plain"', "allow all plain"),
        ('allow all "say \\"x\\""', 'allow all "say \\"x\\""'),
        ("allow all ${clientid}/#", "allow all ${clientid}/#"),
    ],
)
def test_a_line_is_read_as_it_is_written(line, text):
    assert rule_line(read_rule(line, 1, "policy test")) == text


pieces = st.sampled_from(
    [*'ab/ +#"\\\t\n\u2028é(', "${clientid}", "eq", "from", "from ", " from ", "(priority 5)"]
)
texts = st.lists(pieces, min_size=1, max_size=6).map("".join)
rules = st.builds(
    Rule,
    id=st.just(7),
    effect=st.sampled_from(Effect),
    action=st.sampled_from(Action),
    topic_filter=texts.filter(lambda text: rule_filter_problem(text) is None),
    literal=st.booleans(),
    networks=st.sampled_from(["", "10.0.0.0/8", "10.0.0.0/8,2001:db8::/32"]).map(
        lambda text: parse_networks(text.split(","))
    ),
    priority=st.integers(-1_000_000, 1_000_000),
    source=st.just("policy test"),
)


@given(rules)
def test_every_rule_survives_being_a_line(known):
    assert read_rule(rule_line(known), 7, "policy test") == known


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "Line 1: “nonsense” is not a rule; write for example allow"),
        ("permit publish a", "Line 1: a rule begins with allow or deny, not with “permit”."),
        ("allow write a", "Line 1: “write” is no action; write publish, subscribe or all."),
        (
            "\n# all is well\nallow all a/#/b",
            "Line 3: “a/#/b”: # is only allowed as the last level; write a/#",
        ),
        ("allow all $share/g/a", "Line 1: “$share/g/a”: write the inner filter"),
        ("allow all ${nobody}", "Line 1: “${nobody}” is not known here"),
        ("allow all a from here", "Line 1: “here” is not a network"),
        ("allow all a (priority many)", "Line 1: “allow all a (priority many)” is not a rule"),
        ("allow all a (priority " + "9" * 5_000 + ")", "is not a rule"),
        ('allow all "a\\q"', "is quoted wrongly"),
        ("allow all a\ud800", "Line 1: It holds half of a surrogate pair"),
        ("allow all a\0b", "Line 1: It holds the character NUL"),
    ],
)
def test_a_wrong_line_is_named_with_the_fix(line, words):
    with pytest.raises(WrongLine) as told:
        read_rules(line, "policy test")
    assert words in str(told.value)


def test_a_line_that_was_not_changed_is_the_rule_that_it_was():
    known = [rule("allow all a", 3), rule("deny all b @5", 4), rule("allow all a", 5)]
    text = "deny all b (priority 5)\r\n\r\n# allow all off\r\nallow all a\r\nallow all a\r\nallow all a"
    read = read_rules(text, "policy test", known)
    assert [(each.id, each.ref.text) for each in read[:3]] == [
        (4, "deny all b (priority 5)"),
        (3, "allow all a"),
        (5, "allow all a"),
    ]
    assert read[3].id > UNSAVED, "a further one is younger than all that are stored"
