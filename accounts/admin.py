"""Devices and their groups in the admin. Declares what is shown; every write is a service’s."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Prefetch, QuerySet, TextField
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from accounts import credential_pages, services
from accounts.core.binding import Binding
from accounts.credential_use import use_of
from accounts.device_filters import LiveCredentialFilter, ValidityFilter
from accounts.forms import DeviceForm, NewDeviceForm
from accounts.models import Credential, CredentialQuerySet, Device, DeviceGroup, DeviceQuerySet

STATES = {"live": "success", "expired": "warning", "revoked": "danger"}


def credential_state(credential: Credential) -> str:
    """One of the keys of ``STATES``."""
    if not credential.enabled:
        return "revoked"
    if credential.expires_at is not None and credential.expires_at <= timezone.now():
        return "expired"
    return "live"


def moment(when: datetime | None) -> SafeString | None:
    """In the viewer’s zone, with the exact UTC on hover."""
    return render_to_string("console/time.html", {"moment": when}) if when else None


class CredentialInline(TabularInline):
    """The device’s credentials, newest first. A secret is not shown, and never changes."""

    model = Credential
    verbose_name_plural = "credentials"
    fields = readonly_fields = ("credential", "state", "use", "expires", "created")
    extra = 0
    hide_title = True
    tab = True
    show_count = True
    template_before = "accounts/credentials.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Credential]:
        credentials: CredentialQuerySet = super().get_queryset(request)
        return credentials.with_successors().defer("encoded").order_by("-pk")

    def get_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        may_step = request.user.has_perms(
            [f"accounts.{verb}_credential" for verb in ("add", "change", "delete")]
        )
        return (*self.fields, "steps") if may_step else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:
        return False

    @display(description="credential")
    def credential(self, credential: Credential) -> str:
        return str(credential)

    @display(description="state")
    def state(self, credential: Credential) -> SafeString:
        if credential.pk is None:
            # A form that is shown again with its errors has a row for whatever was sent as a number.
            return render_to_string("unfold/helpers/label.html", {"text": "unknown", "type": ""})
        state = credential_state(credential)
        return render_to_string("unfold/helpers/label.html", {"text": state, "type": STATES[state]})

    @display(description="use")
    def use(self, credential: Any) -> SafeString | None:
        if credential.pk is None:
            return None
        use = use_of(credential, credential.replaced_at, timezone.now())
        return render_to_string("accounts/credential_use.html", {"credential": credential, "use": use})

    @display(description="expires")
    def expires(self, credential: Credential) -> SafeString | None:
        return moment(credential.expires_at)

    @display(description="created")
    def created(self, credential: Credential) -> SafeString | None:
        return moment(credential.created_at)

    @display(description="")
    def steps(self, credential: Credential) -> SafeString | None:
        if credential.pk is None:
            return None
        context = {"credential": credential, "state": credential_state(credential)}
        return render_to_string("accounts/credential_steps.html", context)


class DeviceList(ChangeList):
    """The list of devices, with what its columns show of groups and credentials: two queries a page."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> DeviceQuerySet:
        devices: DeviceQuerySet = super().get_queryset(request, exclude_parameters)
        return devices.prefetch_related(
            "groups",
            Prefetch("credentials", Credential.objects.only("device_id", "enabled", "expires_at")),
        )


@admin.register(Device)
class DeviceAdmin(ModelAdmin):
    """Fast with 100,000 devices and more: no COUNT(*), and a fixed number of queries a page."""

    form = DeviceForm
    list_display: tuple[str, ...] = (
        "name",
        "state",
        "client_ids",
        "group_names",
        "credential_states",
        "superuser_label",
    )
    list_filter = (
        ("client_id_binding", ChoicesDropdownFilter),
        ValidityFilter,
        LiveCredentialFilter,
        ("groups", AutocompleteSelectFilter),
        "enabled",
        "superuser",
    )
    list_filter_submit = True
    list_disable_select_all = True
    search_fields = ("username", "description", "client_id", "certificate_cn")
    search_help_text = "Username, description, client id, CN"
    ordering = ("username",)
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    autocomplete_fields = ("groups",)
    readonly_fields: tuple[str, ...] = ("created", "changed")
    inlines: tuple[type[TabularInline], ...] = (CredentialInline,)
    actions_detail: tuple[str, ...] = ("rotate", "new_token", "new_password")
    warn_unsaved_form = True
    nothing_yet_template = "accounts/no_devices.html"

    def get_fieldsets(self, request: HttpRequest, obj: Device | None = None) -> list[Any]:
        credential = (
            "Credential",
            {
                "fields": ("generate_token", "password"),
                "description": "How the device proves that it is itself. Others can be added later.",
            },
        )
        return [
            ("Identity", {"fields": ("username", "description", "groups", "enabled", "superuser")}),
            *([credential] if obj is None and _may_add_credentials(request) else []),
            (
                "Client id binding",
                {
                    "fields": ("client_id_binding", "client_id"),
                    "description": "Protects other devices from this one. MQTT admits one connection per "
                    "client id and closes the older one, so a device free to choose its client id could "
                    "throw any other device out and receive the messages queued for it.",
                },
            ),
            ("Validity and networks", {"fields": ("valid_from", "valid_until", "networks")}),
            ("Certificate", {"fields": ("certificate_cn", "credential_required")}),
            ("Attributes", {"fields": ("attributes",)}),
            *([("Record", {"fields": (("created", "changed"),)})] if obj else []),
        ]

    def get_form(
        self, request: HttpRequest, obj: Device | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None and _may_add_credentials(request):
            kwargs["form"] = NewDeviceForm
        return super().get_form(request, obj, change, **kwargs)

    def get_inlines(self, request: HttpRequest, obj: Device | None) -> list[Any]:
        return [inline for inline in self.inlines if obj is not None or inline is not CredentialInline]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DeviceList]:
        return DeviceList

    @display(description="created")
    def created(self, device: Device) -> SafeString | None:
        return moment(device.created_at)

    @display(description="changed last")
    def changed(self, device: Device) -> SafeString | None:
        return moment(device.updated_at)

    @display(description="device", header=True, ordering="username")
    def name(self, device: Device) -> list[str]:
        return [device.username, device.description]

    @display(
        description="state",
        label={"enabled": "success", "disabled": "danger", "not yet valid": "warning", "expired": "warning"},
    )
    def state(self, device: Device) -> str:
        now = timezone.now()
        if not device.enabled:
            return "disabled"
        if device.valid_from and now < device.valid_from:
            return "not yet valid"
        if device.valid_until and device.valid_until <= now:
            return "expired"
        return "enabled"

    @display(description="client ids")
    def client_ids(self, device: Device) -> str:
        match device.client_id_binding:
            case Binding.EXACT:
                return device.client_id
            case Binding.PREFIX:
                return f"{device.client_id}…"
            case Binding.ANY:
                return "any"
        return "as the username"

    @display(description="groups")
    def group_names(self, device: Device) -> str | None:
        return ", ".join(group.name for group in device.groups.all()) or None

    @display(description="credentials")
    def credential_states(self, device: Device) -> str:
        states = [credential_state(credential) for credential in device.credentials.all()]
        counted = [f"{states.count(state)} {state}" for state in STATES if state in states]
        if not counted and not device.credential_required:
            return "not required"
        return ", ".join(counted) or ("certificate" if device.certificate_cn else "none")

    @display(description="superuser", label={"yes": "info"})
    def superuser_label(self, device: Device) -> str | None:
        return "yes" if device.superuser else None

    @action(
        description="Rotate",
        url_path="rotate",
        icon="autorenew",
        permissions=["rotate"],
    )
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return credential_pages.rotate_device(self, request, self._device(request, object_id))

    def has_rotate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_change_permission(request) and may_rotate(request)

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_change_permission(request) and request.user.has_perm("accounts.change_credential")

    @action(
        description="New token",
        url_path="new-token",
        icon="key",
        permissions=["new_credential"],
    )
    def new_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return credential_pages.new_token(self, request, self._device(request, object_id))

    @action(
        description="Set a password",
        url_path="new-password",
        icon="password",
        permissions=["new_credential"],
    )
    @method_decorator(sensitive_post_parameters("password"))
    def new_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return credential_pages.new_password(self, request, self._device(request, object_id))

    def has_new_credential_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_change_permission(request) and _may_add_credentials(request)

    def _device(self, request: HttpRequest, object_id: str) -> Device:
        device: Device | None = self.get_object(request, unquote(object_id))
        if device is None:
            raise Http404(f"There is no device {object_id}.")
        return device

    def get_urls(self) -> list[URLPattern]:
        steps: dict[str, Callable[..., HttpResponse]] = {
            "revoke": self.revoke_credential,
            "restore": self.restore_credential,
            "delete": self.delete_credential,
            "rotate": self.rotate_credential,
        }
        own = [
            path(
                f"<int:device_id>/credentials/<int:credential_id>/{step}/",
                self.admin_site.admin_view(view),
                name=f"accounts_credential_{step}",
            )
            for step, view in steps.items()
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def revoke_credential(self, request: HttpRequest, device_id: int, credential_id: int) -> HttpResponse:
        return self._switch_credential(request, device_id, credential_id, enabled=False)

    @method_decorator(require_POST)
    def restore_credential(self, request: HttpRequest, device_id: int, credential_id: int) -> HttpResponse:
        return self._switch_credential(request, device_id, credential_id, enabled=True)

    def _switch_credential(
        self, request: HttpRequest, device_id: int, credential_id: int, enabled: bool
    ) -> HttpResponse:
        credential = _credential(request, device_id, credential_id, "accounts.change_credential")
        services.switch_credential(credential, enabled)
        words = "is live again" if enabled else "is revoked: it admits nobody any more"
        messages.success(request, f"The {credential} {words}.")
        return HttpResponseRedirect(credential_pages.credentials_url(credential.device))

    def rotate_credential(self, request: HttpRequest, device_id: int, credential_id: int) -> HttpResponse:
        credential = _credential(request, device_id, credential_id, "accounts.change_credential")
        if not may_rotate(request):
            raise PermissionDenied
        return credential_pages.rotate_credential(self, request, credential.device, credential)

    def delete_credential(self, request: HttpRequest, device_id: int, credential_id: int) -> HttpResponse:
        credential = _credential(request, device_id, credential_id, "accounts.delete_credential")
        device = credential.device
        if request.method == "POST":
            services.delete_credential(credential)
            messages.success(request, f"The {credential} is deleted.")
            return HttpResponseRedirect(credential_pages.credentials_url(device))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": device,
            "title": f"Delete the {credential}",
            "credential": credential,
            "device_url": credential_pages.credentials_url(device),
        }
        return render(request, "accounts/delete_credential.html", context)

    @method_decorator(sensitive_post_parameters("password"))
    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().add_view(request, *args, **kwargs)
        return response

    def save_model(self, request: HttpRequest, obj: Device, form: Form, change: bool) -> None:
        services.save_device(obj, form.cleaned_data.get("groups"))
        if form.cleaned_data.get("password"):
            services.add_password(obj, form.cleaned_data["password"])

    def save_related(self, request: HttpRequest, form: Form, formsets: list[Any], change: bool) -> None:
        # The groups were stored with the device; what is left are the inlines.
        for formset in formsets:
            self.save_formset(request, form, formset, change=change)

    def save_formset(self, request: HttpRequest, form: Form, formset: Any, change: bool) -> None:
        # Of the credentials, which the inline cannot change; the history asks every formset what it did.
        formset.save(commit=False)

    def response_add(
        self, request: HttpRequest, obj: Device, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Made here, inside the transaction of the form, because this answer is its only way out.
        if request.POST.get("generate_token") == "on" and _may_add_credentials(request):
            _, token = services.create_token(obj)
            return credential_pages.token_page(self, request, obj, token)
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        services.delete_devices(Device.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: DeviceQuerySet) -> None:
        services.delete_devices(queryset)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """The devices by name; what belongs to them is counted, not listed."""
        _, counts, missing, protected = super().get_deleted_objects(objs, request)
        counts.pop(Device.groups.through._meta.verbose_name_plural, None)
        return [str(device) for device in objs], counts, missing, protected


def _may_add_credentials(request: HttpRequest) -> bool:
    return request.user.has_perm("accounts.add_credential")


def may_rotate(request: HttpRequest) -> bool:
    """Rotating makes a credential and changes when another one ends."""
    return request.user.has_perms(["accounts.add_credential", "accounts.change_credential"])


def _credential(request: HttpRequest, device_id: int, credential_id: int, permission: str) -> Credential:
    if not request.user.has_perms(["accounts.change_device", permission]):
        raise PermissionDenied
    credentials = Credential.objects.select_related("device")
    return get_object_or_404(credentials, pk=credential_id, device_id=device_id)


@admin.register(DeviceGroup)
class DeviceGroupAdmin(ModelAdmin):
    """Groups, each with a way to its devices."""

    list_display = ("name", "description", "device_count")
    search_fields = ("name", "description")
    ordering = ("name",)
    fields = ("name", "description")
    formfield_overrides = {TextField: {"widget": UnfoldAdminExpandableTextareaWidget}}
    nothing_yet_template = "accounts/no_groups.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceGroup]:
        groups: QuerySet[DeviceGroup] = super().get_queryset(request)
        return groups.annotate(devices_in_it=Count("devices"))

    @display(description="devices", ordering="devices_in_it")
    def device_count(self, group: Any) -> SafeString:
        url = f"{reverse('admin:accounts_device_changelist')}?groups__id__exact={group.pk}"
        return format_html('<a class="text-link" href="{}">{}</a>', url, f"{group.devices_in_it:,}")

    def save_model(self, request: HttpRequest, obj: DeviceGroup, form: Form, change: bool) -> None:
        services.save_group(obj)

    def delete_model(self, request: HttpRequest, obj: DeviceGroup) -> None:
        services.delete_groups(DeviceGroup.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[DeviceGroup]) -> None:
        services.delete_groups(DeviceGroup.objects.filter(pk__in=queryset.values("pk")))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """The groups by name. Their devices stay, so no membership is listed."""
        _, counts, missing, protected = super().get_deleted_objects(objs, request)
        counts = {name: count for name, count in counts.items() if name == self.opts.verbose_name_plural}
        return [str(group) for group in objs], counts, missing, protected
