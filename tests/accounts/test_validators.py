import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from accounts.validators import (
    ATTRIBUTE_CHARACTERS,
    MQTT_STRING_BYTES,
    NAME_CHARACTERS,
    validate_attributes,
    validate_mqtt_name,
    validate_networks,
)

any_text = st.text(st.characters())
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def refusal(validate, value) -> str:
    """The message for this value; empty when it is accepted."""
    try:
        validate(value)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


@pytest.mark.parametrize(
    "name",
    [
        "p",
        "pump-17",
        "größe",
        "日本/7",
        "🚰",
        "a b",
        "+",
        "#",
        "$SYS",
        "é" * NAME_CHARACTERS,
        "\U0010ffff" * NAME_CHARACTERS,
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_a_name_that_mqtt_can_carry_is_accepted(name):
    assert refusal(validate_mqtt_name, name) == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("\x00", "NUL"),
        ("pump\x00-17", "NUL"),
        ("\ud800", "surrogate"),
        ("pump\udfff", "surrogate"),
        ("x" * (NAME_CHARACTERS + 1), "512 characters"),
        ("é" * (NAME_CHARACTERS + 1), "512 characters"),
        ("x" * (MQTT_STRING_BYTES + 1), "65,535 bytes"),
        # bytes count, not characters (MQTT 5, 1.5.4)
        ("\U0001f6b0" * (MQTT_STRING_BYTES // 4 + 1), "65,535 bytes"),
        ("x" * 5_000_000, "65,535 bytes"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_name_that_mqtt_cannot_carry_is_refused_with_reason_and_example(name, says):
    message = refusal(validate_mqtt_name, name)
    assert says in message
    assert "Example: “pump-17”" in message
    assert len(message) < 300


@given(any_text)
def test_what_is_accepted_can_be_sent_and_so_can_every_refusal(name):
    message = refusal(validate_mqtt_name, name)
    assert (message or name).encode().decode() == (message or name)
    assert message or "\x00" not in name


@pytest.mark.parametrize("text", ["", "\n\n", "10.0.0.0/8", "10.0.0.0/8\n2001:db8::/32\n", " 192.0.2.1 \r\n"])
def test_networks_are_accepted_one_a_line(text):
    assert refusal(validate_networks, text) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.7/8", "10.0.0.0/8"),
        ("192.0.2.0/24\nnonsense", "“nonsense”"),
        ("10.0.0.0/8,192.0.2.0/24", "one a line"),
        ("10.0.0.0/8\x00", "such as 192.0.2.0/24"),
        ("\ud800", "such as 192.0.2.0/24"),
        ("x" * 5_000_000, "such as 192.0.2.0/24"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_line_that_is_no_network_is_refused_with_reason_and_example(text, says):
    message = refusal(validate_networks, text)
    assert says in message
    assert message.encode()
    assert len(message) < 300


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"site": "berlin"},
        {"site": ""},
        {"Site_ID-2": "größe 🚰", "a.b": "x", "7": "seven"},
        {"long": "x" * ATTRIBUTE_CHARACTERS},
        {"wild": "a/+/#"},
        {f"n{number}": "x" for number in range(1000)},
    ],
    ids=lambda value: str(value)[:20],
)
def test_attributes_are_a_flat_object_of_texts(attributes):
    assert refusal(validate_attributes, attributes) == ""


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        (None, "{“site”: “berlin”}"),
        ("site=berlin", "{“site”: “berlin”}"),
        (["site", "berlin"], "{“site”: “berlin”}"),
        (7, "{“site”: “berlin”}"),
        (True, "{“site”: “berlin”}"),
        ({"site": {"city": "berlin"}}, "must be a text"),
        ({"site": ["berlin"]}, "must be a text"),
        ({"floor": 7}, "put numbers in quotes"),
        ({"floor": 7.5}, "put numbers in quotes"),
        ({"on": True}, "must be a text"),
        ({"site": None}, "must be a text"),
        ({"site": float("nan")}, "must be a text"),
        ({"site": "x" * (ATTRIBUTE_CHARACTERS + 1)}, "256 characters"),
        ({"site": "nul\x00"}, "NUL"),
        ({"site": "\ud800"}, "surrogate"),
        ({"": "x"}, "“site_id”"),
        ({"a b": "x"}, "“site_id”"),
        ({"a/b": "x"}, "“site_id”"),
        ({"a}": "x"}, "“site_id”"),
        ({"größe": "x"}, "“site_id”"),
        ({"²": "x"}, "“site_id”"),
        ({"site\n": "x"}, "“site_id”"),
        ({"\ud800": "x"}, "“site_id”"),
        ({"x" * 100_000 + " ": "x"}, "“site_id”"),
        # what YAML can spell and JSON cannot
        ({7: "x"}, "of type int"),
        ({None: "x"}, "of type NoneType"),
        ({("a", "b"): "x"}, "of type tuple"),
        # the second of two
        ({"site": "berlin", "floor": 7}, "“floor”"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_other_attributes_are_refused_with_the_name_and_an_example(attributes, says):
    message = refusal(validate_attributes, attributes)
    assert says in message
    assert message.encode()
    assert len(message) < 400


@given(json)
def test_any_json_is_accepted_or_refused(value):
    if refusal(validate_attributes, value) == "":
        assert isinstance(value, dict)
        for name, text in value.items():
            assert (name + text).encode()
            assert "\x00" not in name + text
