"""Finding what a command's arguments name."""

from typing import Any, TypeVar

from django.core.management.base import CommandError
from django.db.models import Model, QuerySet

from exhookadmin.cli.output import NOT_FOUND

Row = TypeVar("Row", bound=Model)


def named(rows: QuerySet[Row], name: str, field: str = "name") -> Row:
    """The row with this name. Raises CommandError."""
    found = rows.filter(**{field: name}).first() if "\x00" not in name else None
    if found is None:
        kind: Any = rows.model._meta.verbose_name
        raise CommandError(f"There is no {kind} with the {field} “{name}”.", returncode=NOT_FOUND)
    return found
