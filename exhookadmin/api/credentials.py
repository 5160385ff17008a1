"""Credentials of one device. A new token is in the answer to the call that made it, and nowhere else."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services
from accounts.core.principal import CredentialKind
from accounts.models import CREDENTIAL_KINDS, Credential, Device
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import StoredView, assign

LONGEST_OVERLAP = timedelta(days=3650)


class CredentialSerializer(serializers.ModelSerializer[Credential]):
    """A way for a device to prove itself, without its secret."""

    class Meta:
        model = Credential
        fields = ("id", "kind", "label", "enabled", "expires_at", "last_used_at", "created_at")
        read_only_fields = ("kind", "last_used_at", "created_at")


class NewCredentialSerializer(serializers.Serializer[Any]):
    """A token, which is made here, or a password, which is given."""

    kind = serializers.ChoiceField(choices=CREDENTIAL_KINDS)
    password = serializers.CharField(
        write_only=True, required=False, trim_whitespace=False, help_text="Of a password only."
    )
    label = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["kind"] == CredentialKind.PASSWORD) != ("password" in attrs):
            fix = "is needed" if attrs["kind"] == CredentialKind.PASSWORD else "is made here: leave it out"
            raise serializers.ValidationError({"password": [f"For a {attrs['kind']} it {fix}."]})
        return attrs


class RotationSerializer(serializers.Serializer[Any]):
    """How a token takes another credential's place."""

    overlap_seconds = serializers.IntegerField(
        required=False,
        default=0,
        min_value=0,
        max_value=int(LONGEST_OVERLAP.total_seconds()),
        help_text="For how long the old one goes on being accepted.",
    )
    label = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class MadeCredentialSerializer(serializers.ModelSerializer[Credential]):
    """A credential that was just made; with the token, if it is one."""

    token = serializers.CharField(required=False, help_text="Shown once: it is not stored.")

    class Meta:
        model = Credential
        fields = (*CredentialSerializer.Meta.fields, "token")


@extend_schema_view(
    list=extend_schema(summary="List a device’s credentials"),
    create=extend_schema(
        summary="Give a device a token or a password",
        request=NewCredentialSerializer,
        responses={201: MadeCredentialSerializer},
    ),
    retrieve=extend_schema(summary="Read a credential"),
    update=extend_schema(summary="Replace label, expiry and switch of a credential"),
    partial_update=extend_schema(summary="Change label, expiry and switch of a credential"),
    destroy=extend_schema(summary="Delete a credential"),
)
class CredentialView(StoredView):
    """Ways for a device to prove itself; several may be live, so that they can be rotated."""

    queryset = Credential.objects.all()
    serializer_class = CredentialSerializer
    scopes: ClassVar = {
        "list": Scope.CREDENTIALS_READ,
        "retrieve": Scope.CREDENTIALS_READ,
        "create": Scope.CREDENTIALS_WRITE,
        "update": Scope.CREDENTIALS_WRITE,
        "partial_update": Scope.CREDENTIALS_WRITE,
        "destroy": Scope.CREDENTIALS_WRITE,
        "rotate": Scope.CREDENTIALS_WRITE,
    }

    def get_queryset(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset()
        return rows.filter(device_id=self.kwargs.get("device_pk"))

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.action == "list":
            self.device()
        rows: QuerySet[Any] = super().filter_queryset(queryset)
        return rows

    def device(self) -> Device:
        """Whose credentials they are."""
        return get_object_or_404(Device, pk=self.kwargs["device_pk"])

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        device = self.device()
        asked = NewCredentialSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        if given["kind"] == CredentialKind.TOKEN:
            credential, token = services.create_token(device, given["label"], given["expires_at"])
            return self._made(credential, token)
        credential = services.add_password(device, given["password"], given["label"], given["expires_at"])
        return self._made(credential)

    @extend_schema(
        summary="Put a new token in a credential’s place",
        request=RotationSerializer,
        responses={201: MadeCredentialSerializer},
    )
    @action(detail=True, methods=["post"])  # type: ignore[untyped-decorator]
    def rotate(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The old one stays live for the overlap, so that the device can be changed over."""
        old = self.get_object()
        asked = RotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        overlap = timedelta(seconds=given["overlap_seconds"])
        return self._made(*services.rotate_token(old, overlap, given["label"], given["expires_at"]))

    def _made(self, credential: Credential, token: str | None = None) -> Response:
        shown = dict(CredentialSerializer(credential).data)
        return Response(shown if token is None else {**shown, "token": token}, status=status.HTTP_201_CREATED)

    def change_row(self, row: Credential, given: dict[str, Any]) -> None:
        assign(row, given)
        services.save_credential(row)

    def delete_row(self, row: Credential) -> None:
        services.delete_credential(row)
