"""Everything below /api/v1/, and the document that describes it."""

from django.contrib.admin.views.decorators import staff_member_required
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from exhookadmin.api.audit import EventView, SessionView
from exhookadmin.api.bulk import BulkDeviceView
from exhookadmin.api.check import CheckView
from exhookadmin.api.credentials import CredentialView
from exhookadmin.api.devices import DeviceView, GroupView
from exhookadmin.api.enrol import EnrolmentView
from exhookadmin.api.policies import PolicyView, RuleView
from exhookadmin.api.views import NUMBER, Nothing

router = SimpleRouter()
router.register("devices", DeviceView, "device")
router.register(rf"devices/(?P<device_pk>{NUMBER})/credentials", CredentialView, "credential")
router.register("bulk/devices", BulkDeviceView, "bulk-device")
router.register("groups", GroupView, "group")
router.register("policies", PolicyView, "policy")
router.register("rules", RuleView, "rule")
router.register("enrol", EnrolmentView, "enrol")
router.register("check", CheckView, "check")
router.register("audit/events", EventView, "event")
router.register("audit/sessions", SessionView, "session")

app_name = "api"
urlpatterns = [
    path("v1/", include(router.urls)),
    path("v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/",
        staff_member_required(SpectacularSwaggerSplitView.as_view(url_name="api:schema")),
        name="docs",
    ),
    re_path("^v1/", Nothing.as_view(), name="nothing"),
]
