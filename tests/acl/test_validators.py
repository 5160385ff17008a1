import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from accounts.validators import validate_attributes
from acl.core.matching import PolicyError, compile_rule
from acl.core.rules import Action, Effect, Rule
from acl.validators import validate_topic_filter

any_text = st.text(st.characters(), max_size=30)
filter_like = st.lists(
    st.sampled_from(
        ["a", "b", "", "+", "#", "$SYS", "$share", "${clientid}", "${attr.x}", "${nope}", "${", "a+"]
    ),
    max_size=5,
).map("/".join)


def refusal(text: str) -> str:
    """The message for this filter; empty when it is accepted."""
    try:
        validate_topic_filter(text)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "a", "a/b", "/", "/a", "a/", "a//b", "+", "#", "+/#", "a/+/b", "a/#", "/#", "$SYS/#", "$SYS/+/a",
        "größe/🚰", "a b", "x" * 65_535, "é" * 32_767,
        "dev/${clientid}/#", "${username}", "a-${cn}-b/+", "${attr.site}/${attr.a-b_c.d}", "%c/%u",
        "a$b", "$", "a/$x",
    ],
    ids=lambda text: ascii(text)[:30],
)  # fmt: skip
def test_a_topic_filter_is_accepted(text):
    assert refusal(text) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # MQTT 5, 4.7.1: wildcards stand alone in their level, # is the last one
        ("a/#/b", "write a/#"),
        ("#/a", "write #"),
        ("a+/b", "write +/b"),
        ("a/+b", "write a/+"),
        ("a/b#", "write a/b/#"),
        ("a/#b", "write a/#"),
        ("++", "write +"),
        ("##", "write #"),
        # MQTT 5, 4.7.3: at least one character, no NUL, at most 65,535 bytes
        ("", "for example a/b"),
        ("\x00", "NUL"),
        ("a/\x00/b", "NUL"),
        ("x" * 65_536, "65,535"),
        ("é" * 32_768, "65,535"),
        ("a/" * 3_000_000, "65,535"),
        ("a/\ud800", "surrogate"),
        # placeholders
        ("${client}", "${clientid}, ${username}, ${cn} and ${attr.name}"),
        ("dev/${client_id}/#", "you may mean ${clientid}"),
        ("${Username}", "you may mean ${username}"),
        ("${client_attrs.site}", "you may mean ${attr.site}"),
        ("${attr.}", "known are"),
        ("${attr.a b}", "known are"),
        ("${}", "known are"),
        ("dev/${clientid", "never closed"),
        ("$SYS${clientid}/a", "write it out"),
        # wrappers belong to requests, not to rules
        ("$share/g/a", "write the inner filter"),
        ("$queue/a", "write the inner filter"),
        ("$exclusive/a", "write the inner filter"),
        ("$delayed/5/a", "write the inner filter"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_topic_filter_is_refused_with_reason_and_example(text, says):
    message = refusal(text)
    assert says in message
    assert len(message) < 400
    assert message.encode()


@given(any_text | filter_like)
def test_what_the_form_accepts_compiles_and_nothing_else_does(text):
    rule = Rule(1, Effect.ALLOW, Action.ALL, text)
    if refusal(text):
        with pytest.raises(PolicyError):
            compile_rule(rule)
    else:
        assert compile_rule(rule).text == text


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True) | any_text)
def test_an_attribute_can_be_named_exactly_when_a_placeholder_can_name_it(name):
    try:
        validate_attributes({name: "x"})
    except ValidationError:
        assert refusal("a/${attr." + name + "}") or "}" in name
    else:
        assert refusal("a/${attr." + name + "}") == ""
