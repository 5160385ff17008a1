"""Refuses wrong input where it is typed: the field, the reason and an example."""

import re
from typing import Any

from django.core.exceptions import ValidationError

from accounts.core.networks import parse_networks
from accounts.core.text import quoted, text_problem

MQTT_STRING_BYTES = 65_535
NAME_CHARACTERS = 512
ATTRIBUTE_CHARACTERS = 256
# The names that a placeholder can spell.
ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def validate_mqtt_name(value: str) -> None:
    """A username or client id that MQTT can carry (MQTT 5, 1.5.4: UTF-8 encoded string).

    Names are indexed by the database, so they are held to fewer characters than the
    65,535 bytes that MQTT allows.
    """
    problem = None
    if "\x00" in value:
        problem = "it holds a NUL character, which MQTT forbids"
    elif any("\ud800" <= character <= "\udfff" for character in value):
        problem = "it holds half of a surrogate pair, which is not valid UTF-8"
    elif len(value.encode()) > MQTT_STRING_BYTES:
        problem = f"it is longer than MQTT’s limit of {MQTT_STRING_BYTES:,} bytes"
    elif len(value) > NAME_CHARACTERS:
        problem = f"it is longer than {NAME_CHARACTERS} characters, the most that is indexed here"
    if problem:
        raise ValidationError(f"This cannot be used: {problem}. Example: “pump-17”.", code="mqtt_name")


def validate_networks(value: str) -> None:
    """One CIDR or address a line."""
    try:
        parse_networks(value.splitlines())
    except ValueError as error:
        raise ValidationError(str(error), code="network") from None


def validate_attributes(value: Any) -> None:
    """A flat object of short texts: they are used as ``${attr.<name>}`` in topic filters."""
    if not isinstance(value, dict):
        raise ValidationError("Write an object such as {“site”: “berlin”}.", code="attributes")
    for name, text in value.items():
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
            shown = quoted(name) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise ValidationError(
                f"The attribute name {shown} may hold the letters a to z and A to Z, digits, "
                "“_”, “-” and “.” only, for example “site_id”.",
                code="attributes",
            )
        if not isinstance(text, str) or len(text) > ATTRIBUTE_CHARACTERS:
            raise ValidationError(
                f"The attribute {quoted(name)} must be a text of at most {ATTRIBUTE_CHARACTERS} characters, "
                "for example “berlin”; put numbers in quotes.",
                code="attributes",
            )
        problem = text_problem(text)
        if problem:
            raise ValidationError(
                f"The attribute {quoted(name)} cannot be used: {problem}", code="attributes"
            )
