"""The pages that need several apps, beside the admin's own under the same roof."""

from django.contrib import admin
from django.urls import path

from exhookadmin.console import explain_pages

app_name = "console"
urlpatterns = [
    path("explain/", admin.site.admin_view(explain_pages.explain), name="explain"),
    path("explain/devices/", admin.site.admin_view(explain_pages.device_names), name="device_names"),
]
