"""Reads settings from the environment, or from the file that NAME_FILE names, and is loud about mistakes.

A setting that is misspelt must not quietly mean its opposite: every reader raises
ImproperlyConfigured with the variable's name and what it takes.
"""

from collections.abc import Collection, Sequence
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from acl.core.topic_problems import filter_problem
from acl.core.wrappers import WRAPPERS

SECRET_CHARACTERS = 32
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0", ""}


class Environment(environ.FileAwareEnv):
    """django-environ, with limits and without guesses."""

    def bool(self, var: str, default: bool) -> bool:
        text = self.str(var, default=str(default)).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ImproperlyConfigured(f"{var}: “{text}” is neither true nor false.")
        return text in _TRUE

    def int(self, var: str, default: int, at_least: int = 0, at_most: int | None = None) -> int:
        return int(self._number(var, default, int, at_least, at_most))

    def float(self, var: str, default: float, at_least: float = 0.0, at_most: float | None = None) -> float:
        return float(self._number(var, default, float, at_least, at_most))

    def list(self, var: str, default: Collection[str], choices: Collection[str] = ()) -> list[str]:
        """Texts separated by commas; with ``choices``, one of these at least."""
        text = self.str(var, default=",".join(default))
        values = _separated(text)
        for value in values:
            if choices and value not in choices:
                raise ImproperlyConfigured(
                    f"{var}: “{value}” is not known. Choose from: {', '.join(sorted(choices))}."
                )
        if choices and not values:
            raise ImproperlyConfigured(f"{var} is empty. Choose from: {', '.join(sorted(choices))}.")
        return values

    def topic_filters(self, var: str, default: Collection[str]) -> Sequence[str]:
        """Topic filters (MQTT 5, 4.7) separated by commas."""
        # Not with self.str, which takes a value that begins with $ for the name of another variable.
        values = _separated(self.ENVIRON.get(var, ",".join(default)))
        for value in values:
            problem = filter_problem(value)
            if value.startswith(WRAPPERS):
                problem = (
                    f"“{value}” is a way to subscribe, not a topic of messages; write the filter inside."
                )
            if problem:
                raise ImproperlyConfigured(f"{var}: {problem}")
        return values

    def choice(self, var: str, default: str, choices: Collection[str]) -> str:
        values = self.list(var, [default], choices)
        if len(values) > 1:
            raise ImproperlyConfigured(f"{var}: choose one of: {', '.join(sorted(choices))}.")
        return values[0]

    def secret(self, var: str, default: str) -> str:
        """A secret that is too long to be guessed; empty for none."""
        text: str = self.str(var, default=default).strip()
        if text and len(text) < SECRET_CHARACTERS:
            raise ImproperlyConfigured(
                f"{var} has fewer than {SECRET_CHARACTERS} characters. Make one with: openssl rand -hex 32"
            )
        return text

    def database(self, var: str, default: str) -> dict[str, Any]:
        """A database URL as Django's settings have it."""
        try:
            found: dict[str, Any] = self.db_url(var, default=default)
        except Exception:
            found = {}
        if not found.get("ENGINE"):
            # The value itself is not repeated: it holds a password.
            raise ImproperlyConfigured(
                f"{var} cannot be read. Write postgres://user:password@host:5432/name or sqlite:////path/to/file."
            )
        return found

    def _number(self, var: str, default: Any, kind: Any, at_least: Any, at_most: Any) -> Any:
        text = self.str(var, default=str(default)).strip()
        try:
            number = kind(text)
        except ValueError:
            raise ImproperlyConfigured(f"{var}: “{text}” is no number.") from None
        if not number >= at_least or (at_most is not None and number > at_most):
            limits = f"at least {at_least}" + ("" if at_most is None else f" and at most {at_most}")
            raise ImproperlyConfigured(f"{var}: {text} is out of range; it must be {limits}.")
        return number


def _separated(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
