"""The pages of one's own account, beside the admin's own."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from exhookadmin.staff import second_factor_pages as pages

app_name = "staff"


def _own(route: str, view: Callable[[HttpRequest], HttpResponse], name: str) -> URLPattern:
    return path(route, admin.site.admin_view(view), name=name)


urlpatterns = [
    _own("second-factor/", pages.overview, "second_factor"),
    _own("second-factor/set-up/", pages.set_up, "set_up"),
    _own("second-factor/code/", pages.code, "code"),
    _own("second-factor/codes/", pages.new_codes, "new_codes"),
    _own("second-factor/off/", pages.give_up, "give_up"),
]
