"""The admin of what spans several apps: words and links in the audit log, and the staff."""

from collections.abc import Iterable
from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin, messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.decorators import action, display

from accounts.admin import DeviceList, moment
from accounts.models import Device, DeviceGroup
from acl.admin import DeviceGroupWithPoliciesAdmin, DeviceWithRulesAdmin, PolicyAdmin
from acl.models import Policy
from audit.admin import STANDING_COLOURS, EventAdmin, ReadOnlyAdmin, SessionAdmin
from audit.models import Event, Session
from audit.paging import BadCursor
from audit.states import presence_of_devices
from exhookadmin.api.admin import ApiKeyAdmin, EnrolmentAttemptAdmin, EnrolmentKeyAdmin
from exhookadmin.api.models import ApiKey
from exhookadmin.console.bulk_steps import BULK_ACTIONS
from exhookadmin.console.device_page import panels_of, presence_of, timeline_of
from exhookadmin.console.explain_pages import may_explain
from exhookadmin.console.group_steps import GROUP_ACTIONS
from exhookadmin.console.import_pages import formats_for
from exhookadmin.console.questions import explain_url, why_url
from exhookadmin.console.what_changes_pages import note_of
from exhookadmin.enrolment.models import EnrolmentAttempt, EnrolmentKey
from exhookadmin.staff.admin import (
    FailedLoginAdmin,
    HistoryAdmin,
    LoginAdmin,
    RecordedChangeAdmin,
    StaffAdmin,
    StaffGroupAdmin,
)
from exhookadmin.staff.models import RecordedChange
from exhookadmin.words import REASONS, reason_words


class LinksToDevices(ReadOnlyAdmin):
    """Makes the name of a device a link while that device exists."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        device = Device.objects.filter(pk=OuterRef("device_id"))
        annotated: QuerySet[Any] = rows.annotate(device_exists=Exists(device))
        return annotated

    @display(description="device")
    def device_name(self, row: Any) -> str:
        if not row.device_exists:
            return str(row.device)
        url = reverse("admin:accounts_device_change", args=[row.device_id])
        return format_html('<a class="text-link" href="{}">{}</a>', url, row.device)


admin.site.unregister([Event, Session, Device, DeviceGroup, Policy, User, Group])


@admin.register(Event)
class EventInWordsAdmin(LinksToDevices, EventAdmin):
    """Events with each reason in plain words."""

    reason_words = {str(reason): words.title for reason, words in REASONS.items()}

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return tuple(self._explained(request, super().get_list_display(request)))

    def get_fieldsets(self, request: HttpRequest, obj: Event | None = None) -> Any:
        return [
            (title, {"fields": self._explained(request, options["fields"])})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Event | None = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "why_linked"]

    def _explained(self, request: HttpRequest, names: Iterable[str]) -> list[str]:
        """With the way to the explanation, for those who may see it."""
        linked = may_explain(request)
        return ["why_linked" if name == "why" and linked else name for name in names]

    @display(description="reason")
    def why_linked(self, event: Event) -> SafeString | str | None:
        url = why_url(event)
        reason: str | None = self.why(event)
        if url is None:
            return reason
        words = f"Why? Explain this {event.title}: {reason}"
        link = format_html('<a class="text-link" href="{}#answer" aria-label="{}">Why?</a>', url, words)
        return format_html("{} {}", reason or "", link)

    @display(description="meaning")
    def meaning(self, event: Event) -> str | None:
        return reason_words(event.reason).meaning or None


@admin.register(Session)
class SessionWithLinksAdmin(LinksToDevices, SessionAdmin):
    """Sessions with links to their devices."""


class DevicesWithPresence(DeviceList):
    """The list of devices, which knows of all on its page at once whether they are online."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        devices: list[Any] = list(self.result_list)
        states = presence_of_devices({device.pk: device.last_seen_at for device in devices})
        for device in devices:
            device.state_of_presence = states[device.pk]
        self.result_list = devices


@admin.register(Device)
class DeviceWithHistoryAdmin(HistoryAdmin, DeviceWithRulesAdmin):
    """Adds to the device whether it is online, its events, and who changed it."""

    actions = BULK_ACTIONS
    actions_list = ("import_file",)
    actions_detail = (*DeviceWithRulesAdmin.actions_detail, "events", "simulate")
    list_display: tuple[str, ...] = (
        DeviceWithRulesAdmin.list_display[0], "presence", "last_seen", *DeviceWithRulesAdmin.list_display[1:],
    )  # fmt: skip
    change_form_outer_before_template = "console/device_presence.html"

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: Device | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        if obj is not None:
            # Not of what is in the form, which may be wrong.
            stored = Device.objects.get(pk=obj.pk)
            context["presence"] = presence_of(stored)
            context["inline_admin_formsets"] = [
                *context["inline_admin_formsets"], *panels_of(request, stored),
            ]  # fmt: skip
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.timeline_view)
        own = path("<path:object_id>/timeline/", view, name="accounts_device_timeline")
        return [own, *super().get_urls()]

    def timeline_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """All that happened to a device, in pages found by place."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        device = self._device(request, object_id)
        before = request.GET.get("before", "")
        try:
            shown = timeline_of(request, device, before)
        except BadCursor:
            before, shown = "", timeline_of(request, device)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Timeline of “{device}”",
            "opts": self.opts,
            "original": device,
            "shown": shown,
            "first_url": request.path if before else "",
        }
        return TemplateResponse(request, "console/timeline_page.html", context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DevicesWithPresence]:
        return DevicesWithPresence

    @display(description="presence", label=STANDING_COLOURS)
    def presence(self, device: Any) -> str:
        return str(device.state_of_presence.standing)

    @display(description="last seen")
    def last_seen(self, device: Device) -> SafeString | None:
        return moment(device.last_seen_at)

    @action(description="Import", url_path="import", icon="upload_file", permissions=["import_file"])
    def import_file(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("console:import"))

    def has_import_file_permission(self, request: HttpRequest) -> bool:
        return bool(formats_for(request))

    @action(description="Explain", url_path="explain", icon="question_mark", permissions=["simulate"])
    def simulate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(explain_url(username=self._device(request, object_id).username))

    def has_simulate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may_explain(request)

    @action(
        description="Its events",
        url_path="events",
        icon="receipt_long",
        permissions=["events"],
    )
    def events(self, request: HttpRequest, object_id: str) -> HttpResponse:
        device = self._device(request, object_id)
        return HttpResponseRedirect(f"{reverse('console:explorer')}?{urlencode({'device': device.username})}")

    def has_events_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("audit.view_event")


@admin.register(Policy)
class PolicyWithHistoryAdmin(HistoryAdmin, PolicyAdmin):
    """Policies, with who changed them."""

    # A look ahead below the rules; see exhookadmin.console.what_changes.
    change_form_after_template = "console/what_changes_panel.html"

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        note = note_of(request, obj)
        super().save_model(request, obj, form, change)
        if note:
            messages.info(request, note)


@admin.register(DeviceGroup)
class DeviceGroupWithHistoryAdmin(HistoryAdmin, DeviceGroupWithPoliciesAdmin):
    """Groups of devices, with who changed them, and steps on all of their devices."""

    actions = GROUP_ACTIONS

    def has_change_devices_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_device")


admin.site.register(RecordedChange, RecordedChangeAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)
admin.site.register(EnrolmentKey, EnrolmentKeyAdmin)
admin.site.register(EnrolmentAttempt, EnrolmentAttemptAdmin)
admin.site.register(User, StaffAdmin)
admin.site.register(Group, StaffGroupAdmin)
admin.site.register(AccessAttempt, FailedLoginAdmin)
admin.site.register(AccessLog, LoginAdmin)
# Their own pages would show the keys of everybody's second factor.
admin.site.unregister([TOTPDevice, StaticDevice])
