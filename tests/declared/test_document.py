"""The YAML file of groups, policies and rules: strict where it is read, equal where it is written."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exhookadmin.declared.document import (
    Declared,
    DeclaredGroup,
    DeclaredPolicy,
    DeclaredRule,
    NotUnderstood,
    read_document,
    write_document,
)

FLEET = """
groups:
  pumps: {description: all pumps}
policies:
  fleet:
    everyone: true
    groups: [pumps]
    rules:
      - {effect: deny, action: all, topic_filter: dev/+/secret, priority: 10, note: never}
      - effect: allow
        action: publish
        topic_filter: "dev/${clientid}/#"
        networks: [192.0.2.0/24, "2001:0DB8::/32"]
  empty:
"""


def test_what_a_file_says():
    declared = read_document(FLEET)
    assert declared.groups == {"pumps": DeclaredGroup("pumps", "all pumps")}
    assert declared.policies["empty"] == DeclaredPolicy("empty")
    fleet = declared.policies["fleet"]
    assert (fleet.enabled, fleet.everyone, fleet.groups) == (True, True, frozenset({"pumps"}))
    assert fleet.rules == (
        DeclaredRule("deny", "all", "dev/+/secret", 10, note="never"),
        DeclaredRule("allow", "publish", "dev/${clientid}/#", networks=("192.0.2.0/24", "2001:db8::/32")),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policies: [a]", ["policies", "mapping"]),
        ("policy: {}", ["policy", "did you mean policies?"]),
        ("policies: {a: {rule: []}}", ["policies.a", "did you mean rules?"]),
        ("policies: {a: {enabled: maybe}}", ["policies.a.enabled", "true or false"]),
        ("policies: {a: {rules: [{effect: allow}]}}", ["policies.a.rules.0", "action", "topic_filter"]),
        (
            "policies: {a: {rules: [{effect: alow, action: all, topic_filter: a}]}}",
            ["policies.a.rules.0.effect", "allow, deny"],
        ),
        (
            "policies: {a: {rules: [{effect: allow, action: all, topic_filter: a, priority: true}]}}",
            ["priority", "whole number"],
        ),
        ("policies: {a: {rules: [allow all a]}}", ["policies.a.rules.0", "a rule"]),
        ("policies:\n  a: {}\n  a: {}\n", ["line 3", "twice"]),
        ("policies:\n  on: {}\n", ["line 2", "quotes"]),
        ("policies: {", ["line", "no YAML"]),
        ("policies: {a: !!python/object/apply:os.system [id]}", ["no YAML"]),
        ("[" * 1500, ["nested", "no YAML"]),
        ("\x00", ["no YAML"]),
        # What looks like a value of a type and is none
        ("groups:\n  a: {description: 2026-02-31}", ["line 2", "“2026-02-31” is no timestamp", "quotes"]),
        ("groups: {a: {description: 0x_}}", ["line 1", "“0x_” is no int"]),
        ("policies: {a: {enabled: !!bool maybe}}", ["line 1", "“maybe” is no bool"]),
        ("groups: {a: {description: 2026-01-01T00:00:00+25:00}}", ["line 1", "is no timestamp"]),
        ("!!timestamp x", ["line 1", "“x” is no timestamp"]),
        ("!!map x", ["line 1", "“x” is no map"]),
        ("9" * 5_000, ["line 1", "…” is no int"]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_wrong_is_told_with_its_place(text: str, words: list[str]):
    with pytest.raises(NotUnderstood) as error:
        read_document(text)
    found = [word for word in words if word in str(error.value)]
    assert found == words or (text.startswith("[") and found)


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(NotUnderstood) as error:
        read_document("groups: {a: {x: 1}}\npolicies: {b: {y: 2}, c: {everyone: 3}}")
    assert len(error.value.problems) == 3


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
names = texts.filter(lambda text: text.strip() != "")
rules = st.builds(
    DeclaredRule,
    effect=st.sampled_from(["allow", "deny"]),
    action=st.sampled_from(["publish", "subscribe", "all"]),
    topic_filter=names,
    priority=st.integers(-1000, 1000),
    literal=st.booleans(),
    networks=st.sampled_from([(), ("192.0.2.0/24",), ("192.0.2.7/32", "2001:db8::/32")]),
    enabled=st.booleans(),
    note=texts,
)


@st.composite
def states(draw: Any) -> Declared:
    groups = {name: DeclaredGroup(name, draw(texts)) for name in draw(st.sets(names, max_size=3))}
    attached = st.frozensets(st.sampled_from(sorted(groups))) if groups else st.just(frozenset())
    policies = {
        name: DeclaredPolicy(
            name,
            draw(texts),
            draw(st.booleans()),
            draw(st.booleans()),
            draw(attached),
            tuple(draw(st.lists(rules, max_size=3))),
        )
        for name in draw(st.sets(names, max_size=3))
    }
    return Declared(groups, policies)


@given(states())
def test_what_is_written_is_read_again(declared: Declared):
    text = write_document(declared)
    assert read_document(text) == declared
    assert write_document(read_document(text)) == text


@given(st.one_of(st.text(max_size=60), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["groups", "policies", "rules", "enabled", "a", ""]), inner, max_size=3),
    max_leaves=10,
).map(str)))  # fmt: skip
def test_rubbish_is_refused_and_nothing_else_happens(text: str):
    with suppress(NotUnderstood):
        assert isinstance(read_document(text), Declared)
