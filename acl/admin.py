"""Policies and rules in the admin. Declares what is shown; every write is a service’s."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Coalesce
from django.forms import Form
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from accounts.admin import DeviceAdmin, DeviceGroupAdmin
from accounts.models import Device, DeviceGroup
from accounts.readonly_fields import asked_once
from acl import services
from acl.effective import permissions_of
from acl.forms import DEVICES_IN_A_FORM, PolicyForm, RuleForm
from acl.models import Policy, Rule
from acl.rule_checks import check_rules, tell_after_saving

PERMISSIONS_SHOWN = 100
"""So many effective rules on the page of a device; few devices have more."""


class RuleInline(TabularInline):
    """Rules in the order in which they are tried: `acl.core.rules.Rule.order`."""

    model = Rule
    form = RuleForm
    # “deny” sorts after “allow”, so descending puts it first.
    ordering = ("-priority", "-effect", "id")
    extra = 0
    # Django refuses a form of more than 1,000 fields.
    per_page = 40
    hide_title = True
    template_before = "acl/rule_order.html"


class PolicyRuleInline(RuleInline):
    """The rules of a policy."""

    fk_name = "policy"


class DeviceRuleInline(RuleInline):
    """The rules of one device alone."""

    fk_name = "device"
    verbose_name_plural = "own rules"
    tab = True
    show_count = True
    template_before = "acl/device_rule_order.html"


def save_rules(formset: Any) -> None:
    """Stores what a formset of rules says, through the services."""
    formset.save(commit=False)
    for rule in formset.deleted_objects:
        services.delete_rule(rule)
    for rule in [*formset.new_objects, *(rule for rule, _ in formset.changed_objects)]:
        services.save_rule(rule)


def policy_links(policies: QuerySet[Policy]) -> SafeString:
    """Links to policies; those that are switched off say so."""
    return format_html_join(
        ", ",
        '<a class="text-link" href="{}">{}</a>{}',
        (
            (
                reverse("admin:acl_policy_change", args=[policy.pk]),
                policy.name,
                "" if policy.enabled else " (disabled)",
            )
            for policy in policies
        ),
    ) or SafeString("none")


def _count(through: Any) -> Coalesce:
    counted = through.objects.filter(policy=OuterRef("pk")).order_by().values("policy")
    return Coalesce(Subquery(counted.annotate(number=Count("pk")).values("number")), 0)


@admin.register(Policy)
class PolicyAdmin(ModelAdmin):
    """Policies with their rules, and to whom they apply."""

    form = PolicyForm
    list_display = ("name", "state", "applies_to", "rule_count", "description")
    list_filter = ("enabled", "everyone", ("groups", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("name", "description", "rules__topic_filter", "rules__note")
    search_help_text = "Name, description, a rule’s filter or note"
    ordering = ("name",)
    autocomplete_fields = ("devices", "groups")
    formfield_overrides = {TextField: {"widget": UnfoldAdminExpandableTextareaWidget}}
    inlines = (PolicyRuleInline,)
    warn_unsaved_form = True
    nothing_yet_template = "acl/no_policies.html"

    def get_fieldsets(self, request: HttpRequest, obj: Policy | None = None) -> list[Any]:
        return [
            (None, {"fields": ("name", "description", "enabled")}),
            (
                "Applies to",
                {
                    "fields": ("everyone", "groups", self._devices_field(obj)),
                    "description": "To everyone, to groups, to single devices, or to any mixture of them.",
                },
            ),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> tuple[str, ...]:
        return ("many_devices",)

    def _devices_field(self, policy: Policy | None) -> str:
        if policy is None or policy.devices.all()[: DEVICES_IN_A_FORM + 1].count() <= DEVICES_IN_A_FORM:
            return "devices"
        return "many_devices"

    @display(description="devices")
    def many_devices(self, policy: Policy) -> str:
        return (
            f"{policy.devices.count():,} devices, too many to edit here. Put them in a group "
            "and attach the policy to the group."
        )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.help_text = ""
        return field

    def get_form(
        self, request: HttpRequest, obj: Policy | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if "devices" in form.base_fields:
            # A device added in a popup could not show its token.
            form.base_fields["devices"].widget.can_add_related = False
        return form

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        policies: QuerySet[Policy] = super().get_queryset(request)
        return policies.annotate(
            rules_in_it=_count(Rule),
            device_count=_count(Policy.devices.through),
            group_count=_count(Policy.groups.through),
        )

    @display(description="state", label={"enabled": "success", "disabled": "danger"})
    def state(self, policy: Policy) -> str:
        return "enabled" if policy.enabled else "disabled"

    @display(description="applies to")
    def applies_to(self, policy: Any) -> str:
        if policy.everyone:
            return "everyone"
        counts = ((policy.group_count, "group"), (policy.device_count, "device"))
        words = [f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count]
        return ", ".join(words) or "nobody yet"

    @display(description="rules", ordering="rules_in_it")
    def rule_count(self, policy: Any) -> int:
        return int(policy.rules_in_it)

    def save_model(self, request: HttpRequest, obj: Policy, form: Form, change: bool) -> None:
        services.save_policy(obj, form.cleaned_data.get("devices"), form.cleaned_data.get("groups"))

    def save_related(self, request: HttpRequest, form: Any, formsets: list[Any], change: bool) -> None:
        # Devices and groups were stored with the policy; what is left are its rules.
        for formset in formsets:
            save_rules(formset)
        policy = form.instance
        if any(formset.has_changed() for formset in formsets):
            tell_after_saving(request, policy)
        if not (policy.everyone or policy.devices.exists() or policy.groups.exists()):
            messages.warning(request, "This policy applies to nobody yet: attach it to a group or a device.")

    def get_urls(self) -> list[URLPattern]:
        check = self.admin_site.admin_view(check_rules)
        return [path("check/", check, name="acl_policy_check"), *super().get_urls()]

    def delete_model(self, request: HttpRequest, obj: Policy) -> None:
        services.delete_policies(Policy.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        services.delete_policies(Policy.objects.filter(pk__in=queryset.values("pk")))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """The policies by name; their rules are counted, not listed."""
        _, counts, missing, protected = super().get_deleted_objects(objs, request)
        shown = (self.opts.verbose_name_plural, Rule._meta.verbose_name_plural)
        counts = {name: count for name, count in counts.items() if name in shown}
        return [str(policy) for policy in objs], counts, missing, protected


admin.site.unregister(Device)
admin.site.unregister(DeviceGroup)


@admin.register(Device)
class DeviceWithRulesAdmin(DeviceAdmin):
    """Adds to the device what it may do: `accounts` does not know of rules."""

    inlines = (*DeviceAdmin.inlines, DeviceRuleInline)
    readonly_fields = (*DeviceAdmin.readonly_fields, "applying_policies", "permissions")

    def get_fieldsets(self, request: HttpRequest, obj: Device | None = None) -> list[Any]:
        policies = ("What it may do", {"fields": ("applying_policies", "permissions")})
        return super().get_fieldsets(request, obj) + ([policies] if obj else [])

    @display(description="policies")
    @asked_once
    def applying_policies(self, device: Device) -> SafeString:
        applying = Policy.objects.filter(
            Q(everyone=True) | Q(devices=device) | Q(groups__in=device.groups.all())
        )
        return policy_links(Policy.objects.filter(pk__in=applying.values("pk")).order_by("name"))

    @display(description="effective permissions")
    @asked_once
    def permissions(self, device: Device) -> SafeString:
        effective = permissions_of(device)
        hidden = max(0, len(effective.rules) - PERMISSIONS_SHOWN)
        context = {"permissions": effective, "rules": effective.rules[:PERMISSIONS_SHOWN], "hidden": hidden}
        return render_to_string("acl/permissions.html", context)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is Rule:
            save_rules(formset)
            if formset.has_changed():
                tell_after_saving(request, form.instance)
        else:
            super().save_formset(request, form, formset, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        counts.pop(Policy.devices.through._meta.verbose_name_plural, None)
        return deleted, counts, missing, protected


@admin.register(DeviceGroup)
class DeviceGroupWithPoliciesAdmin(DeviceGroupAdmin):
    """Adds to the group which policies are attached to it."""

    readonly_fields = ("attached_policies",)

    def get_fields(self, request: HttpRequest, obj: DeviceGroup | None = None) -> tuple[str, ...]:
        return (*self.fields, "attached_policies") if obj else self.fields

    @display(description="policies")
    def attached_policies(self, group: DeviceGroup) -> SafeString:
        return policy_links(group.policies.order_by("name"))
