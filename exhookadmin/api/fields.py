"""How some values are written in JSON."""

from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


@extend_schema_field({"type": "array", "items": {"type": "string"}, "example": ["192.0.2.0/24"]})
class NetworksField(serializers.Field[Any, Any, Any, Any]):
    """Addresses and CIDRs: a list in JSON, one a line in the database."""

    default_error_messages = {"invalid": 'Write a list of texts such as ["192.0.2.0/24"].'}

    def to_representation(self, value: str) -> list[str]:
        return value.splitlines()

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
            self.fail("invalid")
        return "\n".join(data)


class NamesField(serializers.ManyRelatedField):
    """Other things by their names, in the order of the names."""

    def __init__(self, queryset: QuerySet[Any], name: str, **options: Any) -> None:
        child = NamedField(queryset=queryset, slug_field=name)
        super().__init__(child_relation=child, **options)

    def to_representation(self, iterable: Any) -> list[str]:
        return sorted(super().to_representation(iterable))


class NamedField(serializers.SlugRelatedField[Any]):
    """A thing by its name. What is no name is told as such, also where a database would raise."""

    def to_internal_value(self, data: Any) -> Model:
        if not isinstance(data, str):
            raise serializers.ValidationError("Write a name.")
        try:
            found: Model = self.get_queryset().get(**{str(self.slug_field): data.replace("\x00", "\ufffd")})
        except (ObjectDoesNotExist, ValueError, UnicodeError):
            raise serializers.ValidationError(f"There is none with the name “{data}”.") from None
        return found
