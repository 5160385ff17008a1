"""The OpenAPI document: what drf-spectacular cannot see, namely keys, scopes, tags and problems."""

from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from exhookadmin.api.authentication import SCHEME
from exhookadmin.api.idempotency import HEADER
from exhookadmin.api.problems import ProblemRenderer, ProblemSerializer

IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag that was read: changes only that state."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Any text of your choice. The same call with the same text is done once, and answered "
    "the same for 24 hours.",
)
Direction = Literal["request", "response"]

NUMBERS = {
    name: OpenApiParameter(name, {"type": "integer", "minimum": 1, "maximum": 10**18 - 1}, "path")
    for name in ("id", "device_pk")
}
PROBLEMS = {
    400: "What was sent is not right.",
    401: "No live key was sent.",
    403: "The key may not do this.",
    404: "There is none here.",
    412: "It has been changed meanwhile.",
    415: "The body is of another media type.",
    422: "The Idempotency-Key was used for another request.",
    429: "The key called too often.",
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Names the way in for the document."""

    target_class = "exhookadmin.api.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": SCHEME.lower(), "bearerFormat": "exk_…"}


class Schema(AutoSchema):
    """Adds to each operation its scope, its headers and the problems it can answer with."""

    def get_description(self) -> str:
        scope = getattr(self.view, "scopes", {}).get(self.view.action)
        text = super().get_description() or ""
        return f"{text}\n\nNeeds the scope `{scope}`.".strip() if scope else text

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        parameters += [NUMBERS[name] for name in NUMBERS if f"{{{name}}}" in self.path]
        if self.method == "POST" and not getattr(self.view, "repeatable", False):
            parameters.append(IDEMPOTENCY_KEY)
        elif self.method in ("PUT", "PATCH", "DELETE"):
            parameters.append(IF_MATCH)
        return parameters

    def _get_response_bodies(self, direction: Direction = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        component = self.resolve_serializer(ProblemSerializer, direction)
        for code in self._problems():
            bodies.setdefault(
                str(code),
                {
                    "description": PROBLEMS[code],
                    "content": {ProblemRenderer.media_type: {"schema": component.ref}},
                },
            )
        return bodies

    def _problems(self) -> list[int]:
        codes = [400, 401, 403, 429]
        if "{" in self.path or self.path.endswith("/enrol/"):
            codes.append(404)
        if self.method in ("PUT", "PATCH", "DELETE"):
            codes.append(412)
        if self.method in ("POST", "PUT", "PATCH"):
            codes.append(415)
        if self.method == "POST":
            codes.append(422)
        return sorted(codes)
