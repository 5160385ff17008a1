"""The pages that need several apps, beside the admin's own under the same roof."""

from django.contrib import admin
from django.urls import path

from exhookadmin.console import (
    explain_pages,
    explorer_pages,
    import_pages,
    stranger_pages,
    what_changes_pages,
)

app_name = "console"
urlpatterns = [
    path("explain/", admin.site.admin_view(explain_pages.explain), name="explain"),
    path("explorer/", admin.site.admin_view(explorer_pages.explorer), name="explorer"),
    path("explorer/newer/", admin.site.admin_view(explorer_pages.newer_rows), name="newer_rows"),
    path("explorer/export/<slug:format>/", admin.site.admin_view(explorer_pages.export), name="export"),
    path("explorer/save/", admin.site.admin_view(explorer_pages.save), name="save_search"),
    path("explorer/forget/<int:number>/", admin.site.admin_view(explorer_pages.forget), name="forget_search"),
    path("explain/devices/", admin.site.admin_view(explain_pages.device_names), name="device_names"),
    path("import/", admin.site.admin_view(import_pages.import_file), name="import"),
    path("strangers/", admin.site.admin_view(stranger_pages.strangers), name="strangers"),
    path("strangers/create/", admin.site.admin_view(stranger_pages.create), name="create_from_stranger"),
    path("strangers/dismiss/", admin.site.admin_view(stranger_pages.dismiss), name="dismiss_stranger"),
    path("strangers/recall/", admin.site.admin_view(stranger_pages.recall), name="recall_stranger"),
    path("explain/policy/", admin.site.admin_view(what_changes_pages.policy_changes), name="policy_changes"),
]
