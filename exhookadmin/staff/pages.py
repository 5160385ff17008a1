"""Pages about what somebody may not do, and about how he proves who he is."""

from typing import Any

from django.conf import settings
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


def locked_out(request: HttpRequest, *arguments: Any, **more: Any) -> HttpResponse:
    """Says after too many wrong passwords how long none is heard. django-axes calls it."""
    context = {
        **admin.site.each_context(request),
        "title": "Too many failures",
        "failures": settings.AXES_FAILURE_LIMIT,
        "minutes": int(settings.AXES_COOLOFF_TIME.total_seconds() / 60),
    }
    return render(request, "staff/locked_out.html", context, status=429)
