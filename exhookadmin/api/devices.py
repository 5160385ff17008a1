"""Devices and their groups."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from accounts import services
from accounts.models import Device, DeviceGroup
from acl.models import Policy
from acl.services import attach_policies
from exhookadmin.api.fields import NamesField, NetworksField
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import StoredView, assign


class GroupSerializer(serializers.ModelSerializer[DeviceGroup]):
    """A named set of devices."""

    class Meta:
        model = DeviceGroup
        fields = ("id", "name", "description")


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """An MQTT user. Groups and policies are given by name."""

    groups = NamesField(DeviceGroup.objects.all(), "name", required=False, default=[])
    policies = NamesField(Policy.objects.all(), "name", required=False, default=[])
    networks = NetworksField(required=False, default="")
    attributes = serializers.DictField(child=serializers.CharField(), required=False, default={})

    class Meta:
        model = Device
        fields = (
            "id", "username", "description", "enabled", "superuser", "groups", "policies",
            "client_id_binding", "client_id", "networks", "valid_from", "valid_until", "certificate_cn",
            "credential_required", "attributes", "last_seen_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("last_seen_at", "created_at", "updated_at")


@extend_schema_view(
    list=extend_schema(summary="List groups"),
    create=extend_schema(summary="Create a group"),
    retrieve=extend_schema(summary="Read a group"),
    update=extend_schema(summary="Replace a group"),
    partial_update=extend_schema(summary="Change a group"),
    destroy=extend_schema(summary="Delete a group; its devices stay"),
)
class GroupView(StoredView):
    """Groups of devices, which policies can be attached to."""

    queryset = DeviceGroup.objects.all()
    serializer_class = GroupSerializer
    scopes: ClassVar = {
        "list": Scope.DEVICES_READ,
        "retrieve": Scope.DEVICES_READ,
        "create": Scope.DEVICES_WRITE,
        "update": Scope.DEVICES_WRITE,
        "partial_update": Scope.DEVICES_WRITE,
        "destroy": Scope.DEVICES_WRITE,
    }

    def create_row(self, given: dict[str, Any]) -> DeviceGroup:
        return services.save_group(DeviceGroup(**given))

    def change_row(self, row: DeviceGroup, given: dict[str, Any]) -> None:
        assign(row, given)
        services.save_group(row)

    def delete_row(self, row: DeviceGroup) -> None:
        services.delete_groups(DeviceGroup.objects.filter(pk=row.pk))


class DeviceQuery(serializers.Serializer[Any]):
    """What the list of devices can be narrowed to."""

    username = serializers.CharField(required=False)
    group = serializers.CharField(required=False)
    enabled = serializers.BooleanField(required=False, allow_null=True, default=None)

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that were asked for."""
        asked = self.validated_data
        if "username" in asked:
            rows = rows.filter(username=asked["username"])
        if "group" in asked:
            rows = rows.filter(groups__name=asked["group"])
        if asked["enabled"] is not None:
            rows = rows.filter(enabled=asked["enabled"])
        return rows


@extend_schema_view(
    list=extend_schema(summary="List devices", parameters=[DeviceQuery]),
    create=extend_schema(summary="Create a device"),
    retrieve=extend_schema(summary="Read a device"),
    update=extend_schema(summary="Replace a device"),
    partial_update=extend_schema(summary="Change a device"),
    destroy=extend_schema(summary="Delete a device with its credentials and its own rules"),
)
class DeviceView(StoredView):
    """MQTT users: whatever may connect to the broker."""

    queryset = Device.objects.prefetch_related("groups", "policies")
    serializer_class = DeviceSerializer
    scopes: ClassVar = GroupView.scopes

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().filter_queryset(queryset)
        if self.action != "list":
            return rows
        asked = DeviceQuery(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return asked.narrow(rows)

    def create_row(self, given: dict[str, Any]) -> Device:
        device = Device()
        self.change_row(device, given)
        return device

    def change_row(self, row: Device, given: dict[str, Any]) -> None:
        groups, policies = given.pop("groups", None), given.pop("policies", None)
        assign(row, given)
        services.save_device(row, groups)
        if policies is not None:
            attach_policies(row, policies)

    def delete_row(self, row: Device) -> None:
        services.delete_devices(Device.objects.filter(pk=row.pk))
