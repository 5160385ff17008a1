"""Errors as ``application/problem+json`` (RFC 9457): one shape, with the field and the fix."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions, renderers, serializers
from rest_framework.response import Response
from rest_framework.views import set_rollback

WHOLE = "whole"
"""Stands for the name of a field where the complaint is about several together."""


class ProblemSerializer(serializers.Serializer[Any]):
    """Every answer from 400 on."""

    type = serializers.CharField(
        help_text="Always “about:blank”: the status says what kind of problem it is."
    )
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(required=False, help_text="What is wrong, in words.")
    errors = serializers.DictField(
        required=False,
        child=serializers.ListField(child=serializers.CharField()),
        help_text="What is wrong with each field, by its name.",
    )


class ProblemRenderer(renderers.JSONRenderer):
    media_type = "application/problem+json"


class PreconditionFailed(exceptions.APIException):
    """``If-Match`` names another state (RFC 9110, 13.1.1)."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    default_detail = "It has been changed meanwhile: read it again."


class Unprocessable(exceptions.APIException):
    """Understood, and impossible."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to an exception; None for one that nobody expected, which becomes a 500."""
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is none here.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, ValidationError):
        error = exceptions.ValidationError(_texts(error))
    elif isinstance(error, ProtectedError):
        error = exceptions.ValidationError({WHOLE: ["Others depend on it."]})
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(error.auth_header)
    if isinstance(error, exceptions.Throttled) and error.wait is not None:
        headers["Retry-After"] = str(int(error.wait) + 1)
    body = _problem(error)
    return Response(body, status=error.status_code, headers=headers, content_type=ProblemRenderer.media_type)


def _problem(error: exceptions.APIException) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": int(error.status_code),
    }
    if isinstance(error, exceptions.ValidationError):
        body["detail"] = "Some fields are not right."
        body["errors"] = _flat(error.detail)
    else:
        body["detail"] = str(error.detail)
    return body


def _texts(error: ValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return {
            WHOLE if field == NON_FIELD_ERRORS else field: list(messages)
            for field, messages in error.message_dict.items()
        }
    return {WHOLE: list(error.messages)}


def _flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Nested complaints as one mapping: ``rules.0.topic_filter`` → texts."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            name = WHOLE if name == "non_field_errors" else str(name)
            found |= _flat(inner, f"{path}.{name}" if path else name)
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for number, item in enumerate(detail):
            if item:
                found |= _flat(item, f"{path}.{number}" if path else str(number))
        return found
    texts = detail if isinstance(detail, list) else [detail]
    return {path or WHOLE: [str(text) for text in texts]}
