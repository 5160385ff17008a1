"""Self-provisioning: a device, or the line that makes it, obtains its token once."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.authentication import get_authorization_header
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.viewsets import GenericViewSet

from accounts.core.binding import Binding
from accounts.validators import NAME_CHARACTERS
from exhookadmin.api.authentication import SCHEME
from exhookadmin.enrolment.services import Refused, enrol
from exhookadmin.staff.actors import client_address


class EnrolmentSerializer(serializers.Serializer[Any]):
    """What the device shall be called."""

    username = serializers.CharField(max_length=NAME_CHARACTERS)
    client_id = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=NAME_CHARACTERS,
        help_text="The one client id it will use; the same as the username unless given.",
    )


class EnrolledSerializer(serializers.Serializer[Any]):
    """What the device connects with from now on."""

    username = serializers.CharField()
    client_id = serializers.CharField(help_text="Empty: any that its binding allows.", allow_blank=True)
    token = serializers.CharField(help_text="The MQTT password. Shown once: it is not stored.")
    expires_at = serializers.DateTimeField(allow_null=True)


class AddressThrottle(SimpleRateThrottle):
    """Counts by address, in each process for itself."""

    scope = "enrolment"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return str(self.cache_format % {"scope": self.scope, "ident": client_address(request._request)})


class EnrolmentView(GenericViewSet[Any]):
    """One call in the life of a device."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AddressThrottle,)
    serializer_class = EnrolmentSerializer

    def get_authenticate_header(self, request: Request) -> str:
        return f'{SCHEME} realm="ExHook Admin"'

    @extend_schema(
        summary="Enrol a device and get its token, once",
        responses={201: EnrolledSerializer},
        auth=[],
    )
    def create(self, request: Request) -> Response:
        """Needs an enrolment key as the bearer token. Off unless `ENROLMENT` is set."""
        if not settings.ENROLMENT:
            raise exceptions.NotFound("Enrolment is switched off: set ENROLMENT=true.")
        scheme, _, key = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != SCHEME.lower():
            raise exceptions.NotAuthenticated("Send the enrolment key as “Authorization: Bearer exe_…”.")
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        try:
            enrolled = enrol(
                key.strip(),
                given["username"],
                given["client_id"],
                client_address(request._request),
                timezone.now(),
            )
        except Refused as refusal:
            raise exceptions.PermissionDenied(refusal.public) from None
        device = enrolled.device
        client_ids = {Binding.EQUALS_USERNAME: device.username, Binding.EXACT: device.client_id}
        answer = {
            "username": device.username,
            "client_id": client_ids.get(Binding(device.client_id_binding), ""),
            "token": enrolled.token,
            "expires_at": enrolled.expires_at,
        }
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
