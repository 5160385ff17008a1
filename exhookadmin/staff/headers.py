"""What each answer of the site tells a browser it may do: nearly nothing, and nothing from elsewhere."""

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]
Directives = Mapping[str, str]

STRICT: Directives = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
"""Content Security Policy, level 3, where nothing else is said."""

EXCEPTIONS: Mapping[str, Directives] = {
    # Alpine.js, which unfold's pages are made with, turns attributes into functions, and
    # positions menus with style attributes. Neither lets markup that was smuggled in run a script.
    "/admin/": {"script-src": "'self' 'unsafe-eval'", "style-src-attr": "'unsafe-inline'"},
    # Swagger UI writes its own styles.
    "/api/docs/": {"style-src": "'self' 'unsafe-inline'"},
}
"""What single parts of the site need beside it, by how their addresses begin. docs/security.md names them."""

PERMISSIONS = ", ".join(
    f"{feature}=()" for feature in ("camera", "microphone", "geolocation", "payment", "usb", "serial", "midi")
)


def content_policy(path: str) -> str:
    """The Content-Security-Policy of the page at this address."""
    directives = dict(STRICT)
    for prefix, more in EXCEPTIONS.items():
        if path.startswith(prefix):
            directives |= more
    return "; ".join(f"{name} {value}" for name, value in directives.items())


class HeadersMiddleware:
    """Puts these on every answer, files and errors included."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", content_policy(request.path))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response
