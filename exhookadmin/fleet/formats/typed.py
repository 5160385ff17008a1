"""Values of a JSON object by name and type. A value of another type is an error of its line and field."""

from collections.abc import Collection, Mapping
from typing import Any

from accounts.core.text import text_problem
from exhookadmin.fleet.formats.malformed import Malformed


def an_object(value: Any, line: int, field: str = "") -> dict[str, Any]:
    """Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(line, f"this must be an object in braces, not {_name(value)}", field)
    return value


def a_list(value: Any, line: int, field: str) -> list[Any]:
    """Raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(line, f"this must be a list in brackets, not {_name(value)}", field)
    return value


def a_text(value: Any, line: int, field: str) -> str:
    """Raises Malformed, also for a text that no database can hold."""
    if not isinstance(value, str):
        raise Malformed(line, f"this must be a text in quotes, not {_name(value)}", field)
    problem = text_problem(value)
    if problem:
        raise Malformed(line, problem, field)
    return value


def required_text(object_: Mapping[str, Any], name: str, line: int) -> str:
    """Raises Malformed, also for an empty one."""
    text = a_text(object_.get(name, ""), line, name)
    if not text:
        raise Malformed(line, "this is missing", name)
    return text


def optional_text(object_: Mapping[str, Any], name: str, line: int) -> str:
    """Empty where the member is missing or null. Raises Malformed."""
    value = object_.get(name)
    return "" if value is None else a_text(value, line, name)


def optional_bool(object_: Mapping[str, Any], name: str, line: int, otherwise: bool) -> bool:
    """Raises Malformed."""
    value = object_.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise Malformed(line, f"this must be true or false, not {_name(value)}", name)
    return value


def optional_int(object_: Mapping[str, Any], name: str, line: int, otherwise: int) -> int:
    """Raises Malformed."""
    value = object_.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(line, f"this must be a whole number, not {_name(value)}", name)
    return value


def one_of(text: str, choices: Collection[str], line: int, field: str) -> str:
    """Raises Malformed."""
    if text not in choices:
        raise Malformed(line, f"this must be one of {', '.join(choices)}", field)
    return text


def no_others(object_: Mapping[str, Any], known: Collection[str], line: int) -> None:
    """Raises Malformed for a member that nobody would read."""
    for number, name in enumerate(object_, start=1):
        if name not in known:
            raise Malformed(line, f"member {number} of the object is not known; known are {', '.join(known)}")


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
