from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

admin.autodiscover()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("admin/", include("exhookadmin.console.urls")),
    path("admin/", include("exhookadmin.staff.urls")),
    path("admin/", admin.site.urls),
    path("api/", include("exhookadmin.api.urls")),
]

handler403 = "exhookadmin.staff.pages.not_allowed"
