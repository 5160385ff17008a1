"""Reads settings from the environment, or from the file that NAME_FILE names, and is loud about mistakes.

A setting that is misspelt must not quietly mean its opposite: every reader raises
ImproperlyConfigured with the variable's name and what it takes.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

from acl.core.topic_problems import filter_problem
from acl.core.wrappers import WRAPPERS

SECRET_CHARACTERS = 32
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0", ""}
_ENGINES = {"django.db.backends.sqlite3", "django.db.backends.postgresql"}


@contextmanager
def writing(var: str, directory: Path) -> Iterator[None]:
    """Whatever cannot be written inside is the fault of this variable's directory."""
    try:
        yield
    except OSError as error:
        raise ImproperlyConfigured(
            f"{var}: “{directory}” cannot be written: {error.strerror or error}. Let the user that runs this "
            "write there, or choose another directory."
        ) from None


class Environment(environ.FileAwareEnv):
    """django-environ, with limits and without guesses."""

    def get_value(self, var: str, *args: Any, **options: Any) -> Any:
        try:
            return super().get_value(var, *args, **options)
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise ImproperlyConfigured(
                f"{var}_FILE: “{self.ENVIRON.get(f'{var}_FILE')}” cannot be read: {what}."
            ) from None

    def time_zone(self, var: str, default: str) -> str:
        """The name of a time zone, as in the tz database."""
        name: str = self.str(var, default=default).strip()
        try:
            ZoneInfo(name)
        except (LookupError, OSError, ValueError):
            raise ImproperlyConfigured(
                f"{var}: “{name}” is no time zone. Write one such as UTC or Europe/Berlin."
            ) from None
        return name

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
        if found.get("ENGINE") not in _ENGINES:
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
