"""Rows that people fill in: whatever they send is either stored or refused with the field's name."""

import json
from collections.abc import Collection
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from accounts.core.text import text_problem

FIRST_YEAR, LAST_YEAR = 1900, 9998


class CheckedModel(models.Model):
    """Refuses in ``full_clean`` what Django would let through to the database, which then raises.

    NUL (PostgreSQL knows no such text), half of a surrogate pair (UTF-8 cannot spell it), a moment
    without time zone, or one so near the end of the calendar that another time zone has no name
    for it; infinity as a number, a number as a date, JSON too deep to be written. A field that may
    be left empty and holds None becomes empty.
    """

    class Meta:
        abstract = True

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        checked = [field for field in self._meta.concrete_fields if field.name not in (exclude or ())]
        for field in checked:
            value = getattr(self, field.attname)
            if field.blank and not field.null and _is_nothing(field, value):
                setattr(self, field.attname, field.get_default())
            elif field.blank and field.null and isinstance(value, str) and not value:
                # Django lets an empty text pass for a moment or a number, and stores it as none.
                setattr(self, field.attname, None)
        errors = {
            field.name: [ValidationError("A value of this kind cannot be stored here.", code="unstorable")]
            for field in checked
            if not _can_be_asked(field, getattr(self, field.attname))
        }
        # Of other fields than texts Django's message repeats the value, and no page could be sent with it.
        errors |= {
            field.name: [ValidationError(problem, code="unstorable")]
            for field in checked
            if not isinstance(field, models.CharField | models.TextField)
            and isinstance(value := getattr(self, field.attname), str)
            and (problem := text_problem(value))
        }
        try:
            super().clean_fields({*(exclude or ()), *errors})
        except ValidationError as error:
            error.update_error_dict(errors)
        for field in checked:
            problem = _problem(getattr(self, field.attname))
            if problem and field.name not in errors:
                errors[field.name] = [ValidationError(problem, code="unstorable")]
        if errors:
            raise ValidationError(errors)


def _is_nothing(field: "models.Field[object, object]", value: object) -> bool:
    # An emptied form field for JSON arrives as None; Django validates no empty value of any type.
    return value is None or (isinstance(field, models.JSONField) and value in ("", [], ()))


def _can_be_asked(field: "models.Field[object, object]", value: object) -> bool:
    # Of some values Django's fields make other exceptions than ValidationError.
    try:
        field.to_python(value)
        if isinstance(field, models.JSONField):
            json.dumps(value, cls=field.encoder)
    except (ValidationError, TypeError) as error:
        # JSON that cannot be written is told by Django itself.
        return isinstance(error, ValidationError) or isinstance(field, models.JSONField)
    except (ValueError, OverflowError, RecursionError):
        return False
    return True


def _problem(value: object) -> str | None:
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, datetime):
        if timezone.is_naive(value):
            return "Give the time zone too, for example 2027-03-01 08:00+01:00."
        if not FIRST_YEAR <= value.year <= LAST_YEAR:
            return f"The year must lie between {FIRST_YEAR} and {LAST_YEAR}; leave it empty for no limit."
    return None
