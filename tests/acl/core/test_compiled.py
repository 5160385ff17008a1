import pytest

from acl.core import matching
from acl.core.compiled import compile_rules
from acl.core.decide import AccessRequest, authorize
from acl.core.matching import PolicyError
from acl.core.rules import Action, Effect, Rule
from tests.acl.core.policies import client, principal, rule

MANY = 10_000


@pytest.mark.parametrize(
    ("topic_filter", "words"),
    [
        ("a/#/b", "write a/#"),
        ("", "It is empty"),
        ("a/${peerhost}", "is not known here"),
        ("$share/g/a", "write the inner filter"),
    ],
)
@pytest.mark.parametrize("literal", [False, True])
def test_the_compiler_refuses_what_forms_refuse_and_names_the_rule(topic_filter, words, literal):
    bad = Rule(7, Effect.DENY, Action.ALL, topic_filter, literal, source="policy fleet")
    with pytest.raises(PolicyError, match=r"^rule 7 \(policy fleet\): ") as raised:
        compile_rules([rule("allow all a"), bad])
    assert raised.value.rule is bad
    assert words in raised.value.problem


def test_rules_are_kept_in_evaluation_order():
    compiled = compile_rules([rule("allow all a", 1), rule("deny all b", 2), rule("allow all c @1", 3)])
    assert [kept.rule.id for kept in compiled.rules] == [3, 2, 1]
    assert len(compiled) == 3


@pytest.mark.parametrize(
    ("pattern", "asked", "allowed"),
    [
        ("allow all site-{}/up", "publish site-9000/up", True),
        ("allow all site-{}/up", "publish elsewhere", False),
        ("allow all site-{}/${{clientid}}/up", "publish site-9000/pump-17/up", True),
        ("allow all site-{}/${{clientid}}/up", "subscribe site-9000/pump-17/up", True),
        ("allow all ${{clientid}}/up-{}", "publish pump-17/up-9000", True),
        ("allow all ${{clientid}}/up-{}", "publish pump-18/up-9000", False),
        ("allow all +/up-{}/#", "subscribe +/up-9000/a/+", True),
        ("deny all site-{}/private/#", "subscribe #", False),
        ("deny all site-{}/private/#", "subscribe +/public/#", False),
        ("deny all site-{}/private/#", "subscribe site-9000/+", False),
        ("deny all site-{}/${{clientid}}/private", "subscribe +/other/private", False),
        ("deny all site-{}/a/b", "subscribe +/+", False),
        ("deny all $site-{}/a/b", "subscribe #", False),
        ("deny all a/${{cn}}/{}", "publish a", False),
    ],
)
def test_few_of_many_rules_are_tried(pattern, asked, allowed, monkeypatch):
    compiled = compile_rules([rule(pattern.format(number), number) for number in range(MANY)])
    tried = []
    real = matching.rule_matches
    monkeypatch.setattr(
        matching, "rule_matches", lambda rule, question: tried.append(rule.rule.id) or real(rule, question)
    )
    action, _, topic = asked.partition(" ")
    decision = authorize(client(), principal(), AccessRequest(Action(action), topic), [compiled], 0.0)
    assert decision.allow is allowed
    assert len(tried) <= 3


def test_a_filter_with_very_many_levels_is_compiled_and_matched():
    deep = "/".join("a" * 30_000)
    rules = [rule(f"allow all {deep}/#"), *(rule(f"deny all b/{n}", n + 2) for n in range(10))]
    compiled = compile_rules(rules)
    for topic, action in ((deep, Action.PUBLISH), (f"{deep}/+", Action.SUBSCRIBE)):
        assert authorize(client(), principal(), AccessRequest(action, topic), [compiled], 0.0).allow
    shallow = AccessRequest(Action.SUBSCRIBE, deep[:-2] + "/#")
    assert not authorize(client(), principal(), shallow, [compiled], 0.0).allow
