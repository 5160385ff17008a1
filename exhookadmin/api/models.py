"""Keys of the REST API, and the answers it remembers for callers that ask again."""

from collections.abc import Collection

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.checked import CheckedModel
from accounts.core.networks import one_a_line
from accounts.validators import validate_networks
from exhookadmin.api.scopes import MEANINGS, Scope


class ApiKey(CheckedModel):
    """A program's way in. The key itself is shown once; only its digest is stored."""

    name = models.CharField(max_length=100, unique=True, help_text="Who or what uses it.")
    identifier = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=list, help_text="What it may do.")
    networks = models.TextField(
        blank=True,
        validators=[validate_networks],
        help_text="Only for calls from these addresses or CIDRs, one a line. Empty: from anywhere.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    class Meta:
        verbose_name = "API key"
        constraints = [models.CheckConstraint(name="api_key_digest_is_not_empty", condition=~Q(digest=""))]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<ApiKey {self.identifier}>"

    # What Django REST framework asks of whoever is calling.
    is_authenticated = True
    is_active = True

    @property
    def live(self) -> bool:
        """True while it opens anything."""
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not expired

    @property
    def state(self) -> str:
        """live, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.live else "expired"

    def may(self, scope: Scope) -> bool:
        """True when the key was given this scope."""
        return scope in self.scopes

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Each field; stores networks one a line, and scopes in the order of their list."""
        super().clean_fields(exclude)
        if not isinstance(self.scopes, list) or not self.scopes:
            raise ValidationError({"scopes": "Choose at least one."})
        unknown = [str(scope) for scope in self.scopes if scope not in list(MEANINGS)]
        if unknown:
            raise ValidationError(
                {"scopes": f"Unknown: {', '.join(unknown)}. Choose from: {', '.join(MEANINGS)}."}
            )
        self.scopes = [str(scope) for scope in MEANINGS if scope in self.scopes]
        self.networks = one_a_line(self.networks)


class RememberedAnswer(models.Model):
    """The answer to a call with an ``Idempotency-Key``, for when its caller did not get it.

    Encrypted under the caller's own key, which is not stored: an answer may hold a new token.
    """

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    idempotency_key = models.CharField(max_length=64, help_text="SHA-256 of what the caller sent.")
    request = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="remembered_answer_is_unique", fields=["key", "idempotency_key"])
        ]
        indexes = [models.Index(F("created_at"), name="remembered_answer_age")]

    def __str__(self) -> str:
        return str(self.created_at)
