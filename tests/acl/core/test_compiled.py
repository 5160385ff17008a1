import random

import pytest

from acl.core import matching
from acl.core.compiled import compile_rules
from acl.core.decide import AccessRequest, authorize
from acl.core.matching import PolicyError, earliest_match
from acl.core.question import ask
from acl.core.rules import Action, Effect, Rule
from acl.core.topics import has_wildcards
from tests.acl.core.policies import client, principal, rule
from tests.acl.core.topic_sets import all_filters

MANY = 2_000


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


RULE_FILTERS = all_filters(["", "a", "$s", "${clientid}", "d-${clientid}"], 3)
REQUESTED = all_filters(["", "a", "$s", "d-a", "d-$s"], 3)
CLIENT_IDS = ["a", "$s", "+"]


def questions(client_id):
    for text in REQUESTED:
        yield ask(client(client_id), principal(), AccessRequest(Action.SUBSCRIBE, text))
        if not has_wildcards(text):
            yield ask(client(client_id), principal(), AccessRequest(Action.PUBLISH, text))


def differences(compiled, client_id):
    """Where the index does not answer as the rules do, tried one by one."""
    return [
        question
        for question in questions(client_id)
        if compiled.first_match(question) is not earliest_match(compiled.rules, question)
    ]


@pytest.mark.parametrize("client_id", ["a", "$s"])
@pytest.mark.parametrize("effect", Effect)
def test_an_index_of_one_rule_finds_it_for_every_request_that_it_matches(effect, client_id):
    wrong = []
    for text in RULE_FILTERS:
        compiled = compile_rules([rule(f"{effect} all {text}")], scanned=0)
        wrong += [(text, question.text) for question in differences(compiled, client_id)]
    assert wrong == []


@pytest.mark.parametrize("seed", range(6))
def test_an_index_of_many_rules_finds_the_first_that_matches(seed):
    dice = random.Random(seed)
    # Rare rules leave room for late ones: the broad ones would decide everything.
    rare = [text for text in RULE_FILTERS if "+" not in text and "#" not in text]
    lines = [
        f"{dice.choice(['deny', 'allow'])} {dice.choice(list(Action))} {dice.choice(['', '', 'eq '])}{text}"
        f" @{dice.randint(0, 2)}"
        for text in dice.choices(rare, k=200 * (seed % 3)) + dice.choices(RULE_FILTERS, k=40)
    ]
    compiled = compile_rules([rule(line, number) for number, line in enumerate(lines)])
    for client_id in CLIENT_IDS:
        assert differences(compiled, client_id) == []


@pytest.mark.parametrize(
    ("pattern", "asked", "allowed"),
    [
        ("allow all site-{}/up", "publish site-1900/up", True),
        ("allow all site-{}/up", "publish elsewhere", False),
        ("allow all site-{}/${{clientid}}/up", "publish site-1900/pump-17/up", True),
        ("allow all site-{}/${{clientid}}/up", "subscribe site-1900/pump-17/up", True),
        ("allow all ${{clientid}}/up-{}", "publish pump-17/up-1900", True),
        ("allow all ${{clientid}}/up-{}", "publish pump-18/up-1900", False),
        ("allow all +/up-{}/#", "subscribe +/up-1900/a/+", True),
        ("deny all site-{}/private/#", "subscribe #", False),
        ("deny all site-{}/private/#", "subscribe +/public/#", False),
        ("deny all site-{}/private/#", "subscribe site-1900/+", False),
        ("deny all site-{}/${{clientid}}/private", "subscribe +/other/private", False),
        ("deny all site-{}/a/b", "subscribe +/+", False),
        ("deny all $site-{}/a/b", "subscribe #", False),
        ("deny all site-{}/a", "subscribe +/+/+", False),
        ("deny all site-{}/a", "subscribe +/+/+/#", False),
        ("deny all +/{}/x", "subscribe $SYS/+/x", False),
        ("allow all a/${{clientid}}-{}", "subscribe a/#", False),
        ("allow all +/+/+/{}/${{cn}}", "subscribe +/+/+/1900/x", False),
        ("deny all a/${{cn}}/{}", "publish a", False),
    ],
)
def test_few_of_many_rules_are_tried(pattern, asked, allowed, monkeypatch):
    compiled = compile_rules([rule(pattern.format(number), number) for number in range(MANY)])
    tried = []
    real = matching.rule_matches

    def counted(rule, question):
        tried.append(rule)
        return real(rule, question)

    monkeypatch.setattr(matching, "rule_matches", counted)
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
