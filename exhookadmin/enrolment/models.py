"""Keys with which a factory line, or a device itself, obtains its own token once; and who tried."""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.checked import CheckedModel
from accounts.core.networks import one_a_line
from accounts.models import DeviceGroup
from accounts.validators import NAME_CHARACTERS, validate_attributes, validate_mqtt_name, validate_networks


class EnrolmentKey(CheckedModel):
    """Makes devices of one group, so many, until then, from there. Only its digest is stored."""

    name = models.CharField(max_length=100, unique=True, help_text="For example “line 3, spring batch”.")
    identifier = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    group = models.ForeignKey(
        DeviceGroup,
        on_delete=models.CASCADE,
        related_name="enrolment_keys",
        help_text="Which group its devices come into. One whose policies open everything is refused.",
    )
    username_prefix = models.CharField(
        max_length=NAME_CHARACTERS,
        blank=True,
        validators=[validate_mqtt_name],
        help_text="Only for usernames that begin so, for example “pump-”. Empty: any that is free.",
    )
    attributes = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_attributes],
        help_text="Attributes of the devices it makes. None can choose its own: they decide about topics.",
    )
    limit = models.PositiveIntegerField(
        default=100, validators=[MinValueValidator(1)], help_text="How many devices it may enrol."
    )
    used = models.PositiveIntegerField(default=0, editable=False)
    expires_at = models.DateTimeField(help_text="From then on it enrols nobody.")
    token_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="For how many days the tokens hold. Empty: for ever.",
    )
    networks = models.TextField(
        blank=True,
        validators=[validate_networks],
        help_text="Only for calls from these addresses or CIDRs, one a line. Empty: from anywhere.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    class Meta:
        constraints = [
            models.CheckConstraint(name="enrolment_key_digest_is_not_empty", condition=~Q(digest="")),
            models.CheckConstraint(name="enrolment_key_is_not_overdrawn", condition=Q(used__lte=F("limit"))),
        ]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<EnrolmentKey {self.identifier}>"

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Stores networks one a line, as they are compared."""
        super().clean_fields(exclude)
        if "networks" not in (exclude or ()):
            self.networks = one_a_line(self.networks)

    @property
    def state(self) -> str:
        """live, used up, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at <= timezone.now():
            return "expired"
        return "used up" if self.used >= self.limit else "live"


class EnrolmentAttempt(models.Model):
    """One call: who asked for what with which key, and what came of it."""

    time = models.DateTimeField(default=timezone.now)
    key = models.ForeignKey(EnrolmentKey, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    key_name = models.CharField(max_length=100, blank=True)
    username = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    granted = models.BooleanField()
    reason = models.CharField(max_length=250, blank=True)
    device_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["-time", "-id"], name="enrolment_attempt_newest")]

    def __str__(self) -> str:
        return f"{self.username} {'enrolled' if self.granted else 'refused'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        for name, most in (("username", NAME_CHARACTERS), ("reason", 250)):
            setattr(self, name, getattr(self, name).replace("\x00", "\ufffd")[:most])
        super().save(*args, **kwargs)
