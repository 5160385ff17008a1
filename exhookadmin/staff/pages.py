"""Pages about what somebody may not do, and about how he proves who he is."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Says in the words of whoever refused it why something may not be done."""
    context = {
        **admin.site.each_context(request),
        "title": "Not allowed",
        "refusal": str(exception) or "You have no permission for this page.",
    }
    return render(request, "403.html", context, status=403)
