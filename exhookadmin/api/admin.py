"""Keys for programs in the admin: made, narrowed and revoked here, and shown once."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.forms import AttributesField, networks_widget
from audit.admin import ReadOnlyAdmin, to_the_second
from exhookadmin.api import keys
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import MEANINGS
from exhookadmin.enrolment import services as enrolment
from exhookadmin.enrolment.models import EnrolmentAttempt, EnrolmentKey
from exhookadmin.staff.admin import HistoryAdmin

STATES = {"live": "success", "expired": "warning", "used up": "warning", "revoked": "danger"}


class KeyAdmin(HistoryAdmin):
    """The key itself leaves in the answer to the POST that made it, and is nowhere else."""

    actions = ("revoke",)
    list_per_page = 50

    @sensitive_variables("text")
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            self.store(obj)
            return
        made, text = self.make(created_by=request.user, **form.cleaned_data)
        obj.pk, obj.identifier = made.pk, made.identifier
        request.new_key = text  # type: ignore[attr-defined]

    @sensitive_variables("context")
    def response_add(
        self, request: HttpRequest, obj: Model, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": f"New {self.opts.verbose_name}",
            "key": request.new_key,  # type: ignore[attr-defined]
            "list_url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
        }
        response = render(request, "api/new_key.html", context)
        response["Cache-Control"] = "no-store, private"
        return response

    def make(self, **fields: Any) -> tuple[Any, str]:
        """A new key and its text, by the service."""
        raise NotImplementedError

    def store(self, key: Any) -> None:
        """Stores what was changed of a key, by the service."""
        raise NotImplementedError

    def end(self, rows: QuerySet[Any]) -> int:
        """Revokes keys, by the service; answers how many."""
        raise NotImplementedError

    @action(description="Revoke for good", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = self.end(queryset)
        messages.success(request, f"{count} {'key is' if count == 1 else 'keys are'} revoked.")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A key that is revoked stays, so that the history can be understood.
        return False

    @display(description="state", label=STATES)
    def state_label(self, key: Any) -> str:
        return str(key.state)

    @display(description="last used")
    def used(self, key: Any) -> str:
        return to_the_second(key.last_used_at) or "never"

    @display(description="expires")
    def ends(self, key: Any) -> str:
        return to_the_second(key.expires_at) or "never"


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Scopes as check boxes, each with what it means."""

    scopes = forms.MultipleChoiceField(
        choices=[(str(scope), f"{scope}: {meaning}") for scope, meaning in MEANINGS.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Give it what it needs, and no more.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "expires_at", "networks")
        widgets: ClassVar = {"networks": networks_widget()}


class ApiKeyAdmin(KeyAdmin):
    """Programs that call the REST API."""

    form = ApiKeyForm
    list_display = ("name", "state_label", "scope_names", "used", "ends")
    fields = ("name", "scopes", "expires_at", "networks")
    search_fields = ("name", "identifier")
    ordering = ("name",)
    nothing_yet_template = "api/no_keys.html"

    def make(self, **fields: Any) -> tuple[ApiKey, str]:
        return keys.create_key(**fields)

    def store(self, key: ApiKey) -> None:
        keys.save_key(key)

    def end(self, rows: QuerySet[Any]) -> int:
        return keys.revoke_keys(rows)

    @display(description="scopes")
    def scope_names(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)


class EnrolmentKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Networks and attributes as they are written for a device."""

    attributes = AttributesField(
        required=False,
        help_text="One name=value a line, for the devices it makes. None can choose its own: they decide "
        "about topics.",
    )

    class Meta:
        model = EnrolmentKey
        fields = (
            "name", "group", "username_prefix", "limit", "expires_at", "token_days", "networks", "attributes",
        )  # fmt: skip
        widgets: ClassVar = {"networks": networks_widget()}


class EnrolmentKeyAdmin(KeyAdmin):
    """Keys with which devices obtain their own token."""

    form = EnrolmentKeyForm
    list_display = ("name", "state_label", "group", "progress", "used", "ends")
    list_select_related = ("group",)
    autocomplete_fields = ("group",)
    fields = (
        "name", "group", "username_prefix", "limit", "expires_at", "token_days", "networks", "attributes",
    )  # fmt: skip
    search_fields = ("name", "identifier")
    ordering = ("-pk",)
    nothing_yet_template = "api/no_enrolment_keys.html"

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        if request.method == "GET":
            _warn_without_enrolment(request)
        return super().changeform_view(request, *args, **options)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if request.method == "GET":
            _warn_without_enrolment(request)
        return super().changelist_view(request, extra_context)

    def make(self, **fields: Any) -> tuple[EnrolmentKey, str]:
        return enrolment.create_key(**fields)

    def store(self, key: EnrolmentKey) -> None:
        enrolment.save_key(key)

    def end(self, rows: QuerySet[Any]) -> int:
        return enrolment.revoke_keys(rows)

    @display(description="enrolled")
    def progress(self, key: EnrolmentKey) -> str:
        return f"{key.used:,} of {key.limit:,}"


def _warn_without_enrolment(request: HttpRequest) -> None:
    if not settings.ENROLMENT:
        messages.warning(request, "Enrolment is switched off: no key works until ENROLMENT=true is set.")


class EnrolmentAttemptAdmin(ReadOnlyAdmin):
    """Who tried to enrol, and what came of it."""

    nothing_yet_template = "api/no_enrolments.html"

    list_display = ("when", "outcome", "username", "key_name", "address", "reason")
    list_filter = (("granted", BooleanRadioFilter),)
    ordering = ("-time", "-id")
    sortable_by = ()
    search_fields = ("username", "key_name")

    @display(description="time")
    def when(self, attempt: EnrolmentAttempt) -> str | None:
        return to_the_second(attempt.time)

    @display(description="outcome", label={"enrolled": "success", "refused": "danger"})
    def outcome(self, attempt: EnrolmentAttempt) -> str | SafeString:
        return "enrolled" if attempt.granted else "refused"
