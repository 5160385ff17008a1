"""What the editor remarks on rules: each remark as a row, and the promise behind “never decides”."""

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from acl.core.lint import SEVERITIES, Flaw, Fleet, Severity, attributes_in, lint
from acl.core.matching import compile_rule, earliest_match
from tests.acl.core.policies import rule
from tests.acl.core.test_covering import questions
from tests.acl.core.test_soundness import rule_sets


def remarks(*lines, fleet=None):
    rules = [rule(line, number) for number, line in enumerate(lines, start=1)]
    return [(found.rule.id, found.flaw, found.words) for found in lint(rules, fleet)]


def test_every_flaw_has_a_severity_and_only_an_invalid_filter_is_an_error():
    assert set(SEVERITIES) == set(Flaw)
    assert [flaw for flaw in Flaw if SEVERITIES[flaw] is Severity.ERROR] == [Flaw.INVALID]


def test_ordinary_rules_are_not_remarked_on():
    assert (
        remarks(
            "allow all dev/${clientid}/#",
            "allow publish site/+/temperature",
            "deny all site/+/secret",
            "deny all # @-1",
            "allow subscribe a/# @5",
        )
        == []
    )


REMARKS = [
    # Invalid
    (["allow all a/#/b"], [(1, Flaw.INVALID, "“a/#/b”: # is only allowed as the last level; write a/#")]),
    (["deny all $share/g/a"], [(1, Flaw.INVALID, "write the inner filter")]),
    (["allow all ${name}"], [(1, Flaw.INVALID, "“${name}” is not known here")]),
    (["allow all a/#/b", "allow all a/#/b"], [(1, Flaw.INVALID, "a/#"), (2, Flaw.INVALID, "a/#")]),
    # Never matches
    (
        ["deny publish eq a/#"],
        [(1, Flaw.NEVER_MATCHES, "It denies nothing: compared as text it means a subscription to “a/#”")],
    ),
    # Unreachable
    (
        ["allow all a/#", "allow publish a/b"],
        [(2, Flaw.UNREACHABLE, "It never decides: “allow all a/#” is tried before and matches all")],
    ),
    (
        ["allow all a/# @5", "deny publish a/b"],
        [(2, Flaw.UNREACHABLE, "It denies nothing: “allow all a/# (priority 5)” is tried before")],
    ),
    (["allow all a/# @5", "deny publish a/b"], [(2, Flaw.UNREACHABLE, "give it a priority above 5")]),
    (["deny all a/#", "allow publish a/b"], [(2, Flaw.UNREACHABLE, "It allows nothing: “deny all a/#” is")]),
    (
        ["allow publish a/#", "allow subscribe a/+", "allow all a/b"],
        [(3, Flaw.UNREACHABLE, "“allow publish a/#” and “allow subscribe a/+” are tried before")],
    ),
    (["allow publish a/#", "allow all a/b"], []),
    (["deny all a from 10.0.0.0/8", "allow all a"], []),
    (["allow all a"] * 3, [(2, Flaw.UNREACHABLE, "can go"), (3, Flaw.UNREACHABLE, "can go")]),
    # Opens more than it looks
    (["allow all #"], [(1, Flaw.OPENS, "every topic, whoever’s it is")]),
    (["allow all +/#"], [(1, Flaw.OPENS, "“+/#” is no less than “#”")]),
    (["allow publish +"], [(1, Flaw.OPENS, "every topic of 1 level, whoever’s")]),
    (["allow publish +/+/#"], [(1, Flaw.OPENS, "every topic of 2 levels or more, whoever’s")]),
    (["allow subscribe $SYS/#"], [(1, Flaw.OPENS, "Topics under “$SYS” are the broker’s own")]),
    (["allow subscribe /#"], []),
    (["allow subscribe eq #"], []),
    (["deny all #", "allow all +/#"], [(2, Flaw.UNREACHABLE, "It allows nothing")]),
    # Misleading
    (["allow publish eq a/b"], [(1, Flaw.MISLEADING, "“As text” changes nothing")]),
    (["deny all eq a/#"], [(1, Flaw.MISLEADING, "to “a/#” itself, and about no publish")]),
    (["allow all /a/b"], [(1, Flaw.MISLEADING, "it does not match “a/b”")]),
    (["allow all dev/%u"], [(1, Flaw.MISLEADING, "write ${username}")]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), REMARKS, ids=[" | ".join(lines) for lines, _ in REMARKS])
def test_what_is_remarked(lines, expected):
    found = remarks(*lines)
    assert [(number, flaw) for number, flaw, _ in found] == [(number, flaw) for number, flaw, _ in expected]
    for (_, _, words), (_, _, part) in zip(found, expected, strict=True):
        assert part in words


def test_a_space_at_the_end_is_remarked():
    spaced = replace(rule("allow all a"), topic_filter="a/b ")
    assert [found.flaw for found in lint([spaced])] == [Flaw.MISLEADING]


SITE = "allow all site/${attr.site}/#"
OWN = "allow all dev/${clientid}"
FLEET = [
    (SITE, None, None, ""),
    (SITE, Fleet(0), None, ""),
    (SITE, Fleet(120, {"site": 120}), None, ""),
    (
        SITE,
        Fleet(120, {"site": 0}),
        Flaw.NO_VALUE,
        "None of 120 devices has a usable attribute “site”: the rule allows them nothing.",
    ),
    (SITE, Fleet(1), Flaw.NO_VALUE, "The device has no usable attribute “site”: the rule allows"),
    (SITE, Fleet(120, {"site": 119}), Flaw.MISLEADING, "1 device of 120 has no usable attribute “site”"),
    (
        "deny all x/${attr.site}",
        Fleet(120, {"site": 118}),
        Flaw.NO_VALUE,
        "2 devices of 120 have no usable attribute “site”: the rule denies them everything.",
    ),
    (OWN, Fleet(120, choosing=2), Flaw.CHOSEN_CLIENT_ID, "2 devices may choose their client id"),
    (OWN, Fleet(120), None, ""),
    ("deny all dev/${clientid}", Fleet(120, choosing=2), None, ""),
    ("allow all dev/${username}", Fleet(120, choosing=2), None, ""),
]


@pytest.mark.parametrize(("line", "fleet", "flaw", "part"), FLEET)
def test_what_devices_cannot_fill_in_is_remarked(line, fleet, flaw, part):
    found = remarks(line, fleet=fleet)
    assert [flaw for _, flaw, _ in found] == ([flaw] if flaw else [])
    assert all(part in words for _, _, words in found)


def test_the_attributes_of_rules():
    lines = ["allow all ${attr.a}/${attr.b-c}", "allow all ${clientid}", "deny all ${attr.a}"]
    assert attributes_in(map(rule, lines)) == {"a", "b-c"}
    assert attributes_in([rule("allow all ${attr.a}/#/x")]) == set()


@settings(max_examples=120)
@given(rule_sets, st.lists(questions(), min_size=5, max_size=15))
def test_what_is_said_never_to_decide_never_does(sets, asked):
    rules = [each for one in sets for each in one]
    idle = {
        (found.rule.id, found.rule.source): found
        for found in lint(rules)
        if found.flaw in (Flaw.UNREACHABLE, Flaw.NEVER_MATCHES)
    }
    compiled = sorted((compile_rule(each) for each in rules), key=lambda each: each.order)
    for question in asked:
        deciding = earliest_match(compiled, question)
        if deciding is not None:
            event(f"decided, {'with' if idle else 'without'} idle rules")
            assert (deciding.rule.id, deciding.rule.source) not in idle


@given(rule_sets)
def test_what_is_in_the_way_is_tried_before(sets):
    rules = [each for one in sets for each in one]
    for found in lint(rules):
        assert all(higher.order < found.rule.order for higher in found.because)


def test_thousands_of_rules_are_checked_by_an_index():
    rules = [rule(f"allow all site/{number % 70}/{number}/+", number) for number in range(5_000)]
    found = lint([*rules, rule("deny publish site/7/7/x @-1", 6_000)])
    assert [(each.rule.id, each.because[0].id) for each in found] == [(6_000, 7)]
