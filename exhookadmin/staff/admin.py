"""Staff, their groups, and the history of what was changed."""

from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from audit.admin import ReadOnlyAdmin, to_the_second
from audit.filters import ExactTextFilter, TimeRangeFilter
from exhookadmin.staff import second_factor, services
from exhookadmin.staff.history import history_of, lines
from exhookadmin.staff.models import RecordedChange
from exhookadmin.staff.permissions import SUPERUSER
from exhookadmin.staff.roles import ROLES

HISTORY_PAGE = 50


class HistoryAdmin(ModelAdmin):
    """The history button shows what was recorded of the object. Django's own log of the admin stays empty:
    it knows neither the API nor the values, and what there is twice soon differs."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            gone: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return gone
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        changes = Paginator(history_of(self.opts.label_lower, row.pk), HISTORY_PAGE)
        page = changes.get_page(request.GET.get("p"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of “{row}”",
            "opts": self.opts,
            "object": row,
            "original": row,
            "page": page,
            "changes": [(change, list(lines(change))) for change in page],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "staff/object_history.html", context)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded by the service."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Recorded by the service."""

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Recorded by the service."""


class ActorFilter(ExactTextFilter):
    """Who, by the whole name."""

    title = "who (whole name)"
    parameter_name = "actor"


class NameFilter(ExactTextFilter):
    """What it was about, by the whole name."""

    title = "about (whole name)"
    parameter_name = "name"


class KindFilter(DropdownFilter):
    """What kind of object it was about."""

    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(KINDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


KINDS = {
    "accounts.device": "device",
    "accounts.credential": "credential",
    "accounts.devicegroup": "group",
    "acl.policy": "policy",
    "acl.rule": "rule",
    "auth.user": "user",
    "auth.group": "user group",
    "exhookadmin.apikey": "API key",
    "exhookadmin.enrolmentkey": "enrolment key",
    "axes.accessattempt": "failed logins",
}


class RecordedChangeAdmin(ReadOnlyAdmin):
    """Who changed what, newest first. Nobody writes or deletes here."""

    list_display = ("when", "actor", "whence", "what", "about", "differences")
    list_display_links = ("when",)
    list_filter = (
        ActorFilter,
        NameFilter,
        KindFilter,
        ("verb", ChoicesDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("time", TimeRangeFilter),
    )
    ordering = ("-time", "-id")
    sortable_by = ()
    search_fields = ("name", "actor")
    search_help_text = "What it was about, who"
    nothing_yet_template = "staff/no_changes.html"
    fields = ("when", "actor", "whence", "what", "about", "differences")

    def get_readonly_fields(self, request: HttpRequest, obj: RecordedChange | None = None) -> tuple[str, ...]:
        return self.fields

    @display(description="time")
    def when(self, change: RecordedChange) -> str | None:
        return to_the_second(change.time)

    @display(description="from", header=True)
    def whence(self, change: RecordedChange) -> tuple[str, str]:
        return change.address, change.get_channel_display()

    @display(description="what", label={"added": "success", "changed": "info", "deleted": "danger"})
    def what(self, change: RecordedChange) -> str:
        return str(change.get_verb_display())

    @display(description="about", header=True)
    def about(self, change: RecordedChange) -> tuple[str, str]:
        return change.name, KINDS.get(change.kind, change.kind)

    @display(description="before → after")
    def differences(self, change: RecordedChange) -> SafeString:
        return render_to_string("staff/differences.html", {"lines": lines(change)})


class StaffAdmin(UserAdmin, HistoryAdmin):  # type: ignore[type-arg]
    """Those who may use this site. Only superusers make superusers, or touch their accounts."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username", "first_name", "last_name", "email", "role_names", "second_factor", "is_active",
        "is_superuser",
    )  # fmt: skip
    actions_detail = ("reset_second_factor",)
    list_filter = ("is_active", "is_superuser", "groups")
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("username", "groups", "usable_password", "password1", "password2"),
                "description": "The groups viewer, operator and administrator are the roles of this site.",
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)
        confirmed = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        return users.prefetch_related("groups").annotate(has_factor=Exists(confirmed))

    @display(description="second factor", boolean=True)
    def second_factor(self, user: Any) -> bool:
        return bool(user.has_factor)

    @action(description="Reset second factor", url_path="reset-second-factor", permissions=["reset"])
    def reset_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = get_object_or_404(User, pk=object_id)
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        url = reverse("admin:auth_user_change", args=[user.pk])
        if request.method == "POST":
            known = second_factor.reset(user)
            words = "is forgotten" if known else "was not set up"
            messages.success(request, f"The second factor of “{user}” {words}.")
            return HttpResponseRedirect(url)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": user,
            "title": "Reset second factor",
            "user_url": url,
        }
        return render(request, "staff/reset_second_factor.html", context)

    def has_reset_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        user = User.objects.filter(pk=object_id).first() if object_id else None
        return self.has_change_permission(request, user)

    @display(description="groups")
    def role_names(self, user: User) -> str | None:
        return ", ".join(group.name for group in user.groups.all()) or None

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        always = ("last_login", "date_joined")
        if request.user.has_perm(SUPERUSER):
            return always
        if request.user.has_perm("auth.change_group"):
            return (*always, "is_superuser", "user_permissions")
        return (*always, "is_superuser", "is_staff", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._may_touch(request, obj) and super().has_delete_permission(request, obj)

    def _may_touch(self, request: HttpRequest, user: User | None) -> bool:
        return request.user.has_perm(SUPERUSER) or user is None or not user.is_superuser

    def save_model(self, request: HttpRequest, obj: User, form: Form, change: bool) -> None:
        if not change:
            obj.is_staff = True  # whoever may not log in here is of no use
        given = form.cleaned_data
        services.save_user(obj, given.get("groups"), given.get("user_permissions"))

    def save_related(self, request: HttpRequest, form: Form, formsets: list[Any], change: bool) -> None:
        """Groups and permissions were stored with the user."""

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        services.delete_users(User.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        services.delete_users(queryset)


class FailedLoginAdmin(ReadOnlyAdmin):
    """Names and addresses that failed lately. Deleting a row lets it try again at once."""

    list_title = "Failed logins"
    actions = []
    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    list_filter = (("attempt_time", TimeRangeFilter),)
    ordering = ("-attempt_time",)
    sortable_by = ()
    search_fields = ("username", "ip_address")
    fields = ("attempt_time", "username", "ip_address", "user_agent", "failures_since_start")
    nothing_yet_template = "staff/no_failed_logins.html"

    def get_readonly_fields(self, request: HttpRequest, obj: AccessAttempt | None = None) -> tuple[str, ...]:
        return self.fields

    def has_delete_permission(self, request: HttpRequest, obj: AccessAttempt | None = None) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")

    def delete_model(self, request: HttpRequest, obj: AccessAttempt) -> None:
        services.forgive(AccessAttempt.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AccessAttempt]) -> None:
        services.forgive(queryset)


class LoginAdmin(ReadOnlyAdmin):
    """Who logged in when, and from where."""

    list_title = "Logins"
    list_display = ("attempt_time", "username", "ip_address", "logout_time")
    list_filter = (("attempt_time", TimeRangeFilter),)
    ordering = ("-attempt_time", "-id")
    sortable_by = ()
    search_fields = ("username", "ip_address")
    fields = ("attempt_time", "username", "ip_address", "user_agent", "logout_time")

    def get_readonly_fields(self, request: HttpRequest, obj: AccessLog | None = None) -> tuple[str, ...]:
        return self.fields


class StaffGroupAdmin(GroupAdmin, HistoryAdmin):
    """Sets of permissions for staff. The three roles are the program's, and the same everywhere."""

    list_title = "User groups"

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Group, form: Form, change: bool) -> None:
        services.save_group(obj, form.cleaned_data["permissions"])

    def save_related(self, request: HttpRequest, form: Form, formsets: list[Any], change: bool) -> None:
        """Permissions were stored with the group."""

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        services.delete_groups(Group.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        services.delete_groups(queryset)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in ROLES
