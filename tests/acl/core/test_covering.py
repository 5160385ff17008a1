"""A rule is said to cover another one only where it matches whatever that one matches."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from acl.core.covering import ASKED, CoveringIndex, actions_of, can_match, covers
from acl.core.decide import AccessRequest
from acl.core.matching import compile_rule, rule_matches
from acl.core.question import ask
from acl.core.rules import Action
from tests.acl.core.policies import rule
from tests.acl.core.test_soundness import (
    connections,
    devices,
    permissions,
    published_topics,
    requested_filters,
    rules,
)

COVERED = [
    # Filters
    ("allow all a/#", "allow publish a/b", "p"),
    ("allow all a/#", "allow all a/#", "ps"),
    ("allow all a/#", "allow all a", "ps"),
    ("allow all a/+", "allow all a/#", ""),
    ("allow all #", "allow all $SYS/a", ""),
    ("allow all #", "allow all +/#", "ps"),
    ("allow all +/#", "allow all #", "ps"),
    ("allow publish a/#", "allow all a/b", "p"),
    ("allow subscribe a/#", "allow all a/b", "s"),
    # Effects: a deny rule matches a subscription that it merely overlaps
    ("deny all a/#", "allow all a/b", "ps"),
    ("deny all a/#", "deny all a/b", "ps"),
    ("allow all a/#", "deny all a/b", "p"),
    ("allow all #", "deny all a/b", "ps"),
    ("allow all #", "deny all $SYS/#", ""),
    ("deny all a/+", "allow all a/#", ""),
    # Networks: an unknown address is in every network to a deny rule, and in none to an allow rule
    ("allow all a from 10.0.0.0/8", "allow all a", ""),
    ("allow all a", "allow all a from 10.0.0.0/8", "ps"),
    ("allow all a from 10.0.0.0/8", "allow all a from 10.1.0.0/16", "ps"),
    ("allow all a from 10.0.0.0/8,192.0.2.0/24", "allow all a from 192.0.2.1,10.1.1.1", "ps"),
    ("allow all a from 10.0.0.0/8", "allow all a from 192.0.2.0/24", ""),
    ("allow all a from 0.0.0.0/0", "allow all a from ::1", ""),
    ("deny all a from 10.0.0.0/8", "deny all a from 10.1.0.0/16", "ps"),
    ("deny all a from 10.0.0.0/8", "allow all a from 10.1.0.0/16", "ps"),
    ("allow all # from 10.0.0.0/8", "deny all a from 10.1.0.0/16", ""),
    # Placeholders: without a value an allow rule matches nothing, and a deny rule everything
    ("allow all dev/+/#", "allow all dev/${clientid}/#", "ps"),
    ("allow all +/#", "allow all ${clientid}/#", "ps"),
    ("allow all dev/${clientid}/#", "allow all dev/${clientid}/up", "ps"),
    ("allow all dev/${clientid}/#", "allow all dev/${username}/up", ""),
    ("allow all dev/${clientid}", "allow all dev/a", ""),
    ("allow all ${clientid}/#", "allow all ${clientid}/${cn}", "ps"),
    ("allow all ${clientid}/+", "allow all dev/${clientid}", ""),
    ("allow all #", "deny all dev/${clientid}", ""),
    ("deny all dev/+", "deny all dev/${clientid}", ""),
    ("deny all dev/+/${clientid}", "deny all dev/a/${clientid}", "ps"),
    ("deny all +/${clientid}", "deny all ${clientid}/${clientid}", ""),
    ("deny all dev/${clientid}/#", "allow all dev/${clientid}/up", "ps"),
    ("deny all dev/${clientid}/#", "deny all dev/${clientid}/up", "ps"),
    ("deny all dev/${attr.x}/#", "allow all dev/a", ""),
    # Literal filters
    ("allow all eq a/#", "allow all a/#", ""),
    ("allow all a/#", "allow all eq a/#", "ps"),
    ("allow all eq a/#", "deny subscribe eq a/#", "s"),
    ("deny all a/b", "allow subscribe eq a/+", "s"),
    ("allow all a/b", "allow subscribe eq a/+", ""),
    ("allow all eq a/b", "allow all a/b", "ps"),
    ("deny all eq ${cn}/#", "deny all eq ${cn}/#", "ps"),
]


@pytest.mark.parametrize(("higher", "lower", "actions"), COVERED, ids=str)
def test_which_rules_cover_which(higher, lower, actions):
    one, other = compile_rule(rule(higher)), compile_rule(rule(lower, 2))
    covered = [action for action in actions_of(other) if covers(one, other, action)]
    assert "".join(action.value[0] for action in covered) == actions


def test_a_literal_filter_with_wildcards_is_never_published_to():
    assert not can_match(compile_rule(rule("deny publish eq a/#")), Action.PUBLISH)
    assert can_match(compile_rule(rule("deny subscribe eq a/#")), Action.SUBSCRIBE)
    assert can_match(compile_rule(rule("deny publish eq ${cn}/#")), Action.PUBLISH), (
        "it denies all without a CN"
    )


@st.composite
def questions(draw):
    action = draw(st.sampled_from(ASKED))
    asked = draw(published_topics if action is Action.PUBLISH else requested_filters)
    return ask(draw(connections), draw(devices), AccessRequest(action, asked))


any_rule = (rules | permissions).map(compile_rule)


@settings(max_examples=120)
@given(any_rule, any_rule, st.lists(questions(), min_size=8, max_size=20))
def test_what_covers_matches_whatever_the_covered_one_matches(higher, lower, asked):
    for question in asked:
        if covers(higher, lower, question.action) and rule_matches(lower, question).matched:
            event("covered and matched")
            assert rule_matches(higher, question).matched


@given(st.lists(any_rule, max_size=12), any_rule, st.sampled_from(ASKED))
def test_the_index_finds_the_first_that_covers(others, lower, action):
    index = CoveringIndex()
    for other in others:
        index.add(other)
    expected = next((other for other in others if covers(other, lower, action)), None)
    assert index.covering(lower, action) is expected
