"""Read-only fields of the admin that cost something to work out."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Value = TypeVar("Value")


def asked_once(field: Callable[[Any, Any], Value]) -> Callable[[Any, Any], Value]:
    """For a method of a ModelAdmin that shows something of a row: unfold asks for it five times a page.

    The value is kept with the row, so that it lives as long as that does: for one request.
    """

    @wraps(field)
    def kept(model_admin: Any, row: Any) -> Value:
        values: dict[str, Value] = row.__dict__.setdefault("_asked_once", {})
        if field.__name__ not in values:
            values[field.__name__] = field(model_admin, row)
        return values[field.__name__]

    return kept
