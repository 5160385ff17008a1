"""Devices, their credentials and groups."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.checked import CheckedModel
from accounts.core.binding import Binding, binding_problem
from accounts.core.networks import one_a_line
from accounts.core.principal import CredentialKind
from accounts.validators import (
    NAME_CHARACTERS,
    validate_attributes,
    validate_mqtt_name,
    validate_networks,
)

BINDINGS = [
    (Binding.EQUALS_USERNAME.value, "equals the username"),
    (Binding.EXACT.value, "exactly this client id"),
    (Binding.PREFIX.value, "this prefix, then anything without its separator"),
    (Binding.ANY.value, "any client id (unsafe)"),
]

CREDENTIAL_KINDS = [
    (CredentialKind.TOKEN.value, "token"),
    (CredentialKind.PASSWORD.value, "password"),
]


class DeviceGroup(CheckedModel):
    """A named set of devices that policies can be attached to."""

    name = models.CharField(max_length=150, unique=True)
    description = models.TextField(blank=True)

    class Meta:
        verbose_name = "group"

    def __str__(self) -> str:
        return self.name


class DeviceQuerySet(models.QuerySet["Device"]):
    """Devices, by what one wants to know of them."""

    def inside_window(self) -> "DeviceQuerySet":
        now = timezone.now()
        return self.filter(
            Q(valid_from=None) | Q(valid_from__lte=now), Q(valid_until=None) | Q(valid_until__gt=now)
        )

    def for_decisions(self) -> "DeviceQuerySet":
        """With all that becomes part of a principal, in a fixed number of queries."""
        return self.prefetch_related("credentials", "groups")


class Device(CheckedModel):
    """An MQTT user: whatever may connect to the broker. Never a staff user of this site."""

    username = models.CharField(
        max_length=NAME_CHARACTERS,
        unique=True,
        validators=[validate_mqtt_name],
        help_text="The device’s name. "
        "Clients that send no username are looked up by their client id under this name.",
        error_messages={
            "unique": "A device with this username exists already: choose another, or edit that one."
        },
    )
    description = models.CharField(max_length=250, blank=True)
    enabled = models.BooleanField(
        default=True,
        help_text="Off: it cannot connect, and a connection that lives can no longer publish or subscribe.",
    )
    superuser = models.BooleanField(
        default=False, help_text="May publish and subscribe to everything. No rule is asked, not even a deny."
    )
    groups = models.ManyToManyField(DeviceGroup, blank=True, related_name="devices")

    client_id_binding = models.CharField(
        max_length=20,
        choices=BINDINGS,
        default=Binding.EQUALS_USERNAME.value,
        help_text="Which client ids it may use. MQTT disconnects the older of two connections "
        "with one client id, so an unbound device can throw out any other one "
        "and receive its queued messages.",
    )
    client_id = models.CharField(
        "bound client id",
        max_length=NAME_CHARACTERS,
        blank=True,
        validators=[validate_mqtt_name],
        help_text="The exact client id, or a prefix ending in a separator such as “fleet1-”.",
    )
    networks = models.TextField(
        blank=True,
        validators=[validate_networks],
        help_text="Addresses or CIDRs it may connect from, one a line. Empty: from anywhere.",
    )
    valid_from = models.DateTimeField(null=True, blank=True, help_text="Empty: since always.")
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: for ever.")
    certificate_cn = models.CharField(
        "certificate CN",
        max_length=NAME_CHARACTERS,
        blank=True,
        validators=[validate_mqtt_name],
        help_text="A client certificate with this common name, accepted by the broker’s TLS listener, "
        "is as good as a credential. Empty: certificates prove nothing for this device.",
    )
    credential_required = models.BooleanField(
        default=True,
        help_text="Off: whoever knows the name may connect. Only for hardware that cannot send a password; "
        "restrict its networks then.",
    )
    attributes = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_attributes],
        help_text="Texts for use in topic filters: {“site”: “berlin”} makes ${attr.site} mean berlin.",
    )
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="device_username_not_empty", condition=~Q(username="")),
            models.CheckConstraint(
                name="device_window_begins_before_it_ends",
                condition=Q(valid_from=None) | Q(valid_until=None) | Q(valid_from__lt=F("valid_until")),
                violation_error_message="“Valid until” must be later than “valid from”.",
            ),
            models.CheckConstraint(
                name="device_binding_is_known", condition=Q(client_id_binding__in=[str(b) for b in Binding])
            ),
            models.CheckConstraint(
                name="device_binding_has_its_client_id",
                condition=Q(client_id_binding__in=[Binding.EQUALS_USERNAME.value, Binding.ANY.value])
                | ~Q(client_id=""),
                violation_error_message="This client id binding needs a client id.",
            ),
            models.UniqueConstraint(
                name="device_certificate_cn_is_unique",
                fields=["certificate_cn"],
                condition=~Q(certificate_cn=""),
                # With this code Django shows the message at the field instead of above the form.
                violation_error_code="unique",
                violation_error_message="Another device has this certificate CN.",
            ),
        ]
        indexes = [
            # “Pump-17” is found where “pump-17” was refused.
            models.Index(Lower("username"), name="device_username_any_case")
        ]

    def __str__(self) -> str:
        return self.username

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Each field, then what concerns two of them, where each is right by itself.

        Stores networks one a line, as they are compared.
        """
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude)
        except ValidationError as error:
            error.update_error_dict(errors)
        unusable = errors.keys() | set(exclude or ())
        if not {"valid_from", "valid_until"} & unusable and not _in_order(self.valid_from, self.valid_until):
            errors["valid_until"] = "This must be later than “valid from”; leave it empty for no end."
        if not {"client_id_binding", "client_id"} & unusable:
            problem = binding_problem(Binding(self.client_id_binding), self.client_id)
            if problem:
                errors["client_id"] = problem
        if "networks" not in unusable:
            self.networks = one_a_line(self.networks)
        if errors:
            raise ValidationError(errors)


def _in_order(first: datetime | None, last: datetime | None) -> bool:
    return first is None or last is None or first < last


class CredentialQuerySet(models.QuerySet["Credential"]):
    """Credentials, by what one wants to know of them."""

    def live(self) -> "CredentialQuerySet":
        """Those that can be logged in with now."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), enabled=True)

    def with_successors(self) -> "CredentialQuerySet":
        """Each with ``replaced_at``: when the device got the next one that is on and lives longer."""
        later = Credential.objects.filter(
            Q(expires_at=None) | Q(expires_at__gt=OuterRef("expires_at")),
            device=OuterRef("device"),
            pk__gt=OuterRef("pk"),
            enabled=True,
        )
        first = later.order_by("pk").values("created_at")[:1]
        annotated: CredentialQuerySet = self.annotate(replaced_at=Subquery(first))
        return annotated


class Credential(CheckedModel):
    """A way for a device to prove itself. Several may be live at once, so that it can be rotated."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="credentials")
    kind = models.CharField(max_length=10, choices=CREDENTIAL_KINDS)
    label = models.CharField(max_length=100, blank=True, help_text="For example “installed 2026-03”.")
    encoded = models.CharField(max_length=512, editable=False)
    enabled = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CredentialQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="credential_kind_is_known", condition=Q(kind__in=[str(kind) for kind in CredentialKind])
            ),
            models.CheckConstraint(name="credential_is_not_empty", condition=~Q(encoded="")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} “{self.label}”" if self.label else self.get_kind_display()

    def __repr__(self) -> str:
        return f"<Credential {self.pk} {self.kind}>"
