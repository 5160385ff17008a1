"""What a command says, instead of a traceback, where its surroundings are at fault and not the program."""

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError
from django.db.utils import Error

EXIT_NOT_UNDERSTOOD = 2
EXIT_DATABASE = 4

# What SQLite and PostgreSQL (in English, the language of its server's messages unless set otherwise) say.
_NO_TABLE = ("no such table", "no such column", "does not exist")


def in_plain_words(error: Exception) -> tuple[str, int] | None:
    """What to tell the person, and the exit status; None for an error that only a traceback explains."""
    if isinstance(error, ImproperlyConfigured):
        return f"The settings cannot be used. {error}", EXIT_NOT_UNDERSTOOD
    if not isinstance(error, Error):
        return None
    text = " ".join(str(error).split()).rstrip(".?")
    if isinstance(error, OperationalError | ProgrammingError) and _is_of_a_table(text):
        return f"The database is not up to date ({text}). Run: python manage.py migrate", EXIT_DATABASE
    if isinstance(error, OperationalError):
        return f"The database cannot be used: {text}. Check that it runs, and DATABASE_URL.", EXIT_DATABASE
    return None


def _is_of_a_table(text: str) -> bool:
    # “database "x" does not exist” and the like for a role are not mended by migrating.
    return any(words in text for words in _NO_TABLE) and not any(
        words in text for words in ("FATAL", 'database "', 'role "')
    )
