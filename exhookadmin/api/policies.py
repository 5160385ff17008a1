"""Policies and rules."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from accounts.models import Device, DeviceGroup
from acl import services
from acl.models import Policy, Rule
from exhookadmin.api.fields import NamedField, NamesField, NetworksField
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import StoredView, assign

SCOPES = {
    "list": Scope.POLICIES_READ,
    "retrieve": Scope.POLICIES_READ,
    "create": Scope.POLICIES_WRITE,
    "update": Scope.POLICIES_WRITE,
    "partial_update": Scope.POLICIES_WRITE,
    "destroy": Scope.POLICIES_WRITE,
}


class PolicySerializer(serializers.ModelSerializer[Policy]):
    """A named set of rules. Groups are given by name; devices name their policies themselves."""

    groups = NamesField(DeviceGroup.objects.all(), "name", required=False, default=[])

    class Meta:
        model = Policy
        fields = (
            "id", "name", "description", "enabled", "everyone", "groups", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("created_at", "updated_at")


class RuleSerializer(serializers.ModelSerializer[Rule]):
    """Allow or deny an action on topics; in a policy, or of one device."""

    policy = NamedField(queryset=Policy.objects.all(), slug_field="name", required=False, allow_null=True)
    device = NamedField(queryset=Device.objects.all(), slug_field="username", required=False, allow_null=True)
    networks = NetworksField(required=False, default="")

    class Meta:
        model = Rule
        fields = (
            "id", "policy", "device", "priority", "effect", "action", "topic_filter", "literal", "networks",
            "enabled", "note",
        )  # fmt: skip


class RuleQuery(serializers.Serializer[Any]):
    """What the list of rules can be narrowed to."""

    policy = serializers.CharField(required=False, help_text="The name of a policy.")
    device = serializers.CharField(required=False, help_text="The username of a device.")


@extend_schema_view(
    list=extend_schema(summary="List policies"),
    create=extend_schema(summary="Create a policy, without rules yet"),
    retrieve=extend_schema(summary="Read a policy"),
    update=extend_schema(summary="Replace a policy; its rules stay"),
    partial_update=extend_schema(summary="Change a policy; its rules stay"),
    destroy=extend_schema(summary="Delete a policy with its rules"),
)
class PolicyView(StoredView):
    """Named sets of rules, attached to devices, to groups, or to everyone."""

    queryset = Policy.objects.prefetch_related("groups")
    serializer_class = PolicySerializer
    scopes: ClassVar = SCOPES

    def create_row(self, given: dict[str, Any]) -> Policy:
        policy = Policy()
        self.change_row(policy, given)
        return policy

    def change_row(self, row: Policy, given: dict[str, Any]) -> None:
        groups = given.pop("groups", None)
        assign(row, given)
        services.save_policy(row, groups=groups)

    def delete_row(self, row: Policy) -> None:
        services.delete_policies(Policy.objects.filter(pk=row.pk))


@extend_schema_view(
    list=extend_schema(summary="List rules", parameters=[RuleQuery]),
    create=extend_schema(summary="Create a rule, in a policy or of a device"),
    retrieve=extend_schema(summary="Read a rule"),
    update=extend_schema(summary="Replace a rule"),
    partial_update=extend_schema(summary="Change a rule"),
    destroy=extend_schema(summary="Delete a rule"),
)
class RuleView(StoredView):
    """What is allowed and denied, one topic filter each."""

    queryset = Rule.objects.select_related("policy", "device")
    serializer_class = RuleSerializer
    scopes: ClassVar = SCOPES

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().filter_queryset(queryset)
        if self.action != "list":
            return rows
        asked = RuleQuery(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        names = {"policy": "policy__name", "device": "device__username"}
        return rows.filter(**{names[name]: value for name, value in asked.validated_data.items()})

    def create_row(self, given: dict[str, Any]) -> Rule:
        rule = Rule()
        self.change_row(rule, given)
        return rule

    def change_row(self, row: Rule, given: dict[str, Any]) -> None:
        assign(row, given)
        services.save_rule(row)

    def delete_row(self, row: Rule) -> None:
        services.delete_rule(row)
