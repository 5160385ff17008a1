"""What staff keep: their searches, and what they have seen and put aside."""

from django.conf import settings
from django.db import models

from audit.fact import NAME_CHARACTERS


class SavedSearch(models.Model):
    """A search of the audit log under a name: one's own, or shared with all who may see the log."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_searches"
    )
    name = models.CharField(max_length=100)
    query = models.TextField(help_text="As it stands in the address of the page.")
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "saved searches"
        constraints = [models.UniqueConstraint(name="saved_search_name_is_unique", fields=["user", "name"])]

    def __str__(self) -> str:
        return self.name


class Dismissal(models.Model):
    """Somebody who was refused, put aside: until he comes again, or until a time if there is one."""

    source = models.CharField(max_length=20, help_text="What the identity is: username, client_id …")
    identity = models.CharField(max_length=NAME_CHARACTERS)
    reason = models.CharField(max_length=40, blank=True)
    dismissed_at = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    dismissed_by = models.CharField(max_length=150, help_text="The name, which outlives the account.")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="dismissal_is_unique", fields=["identity", "source", "reason"])
        ]
        indexes = [models.Index(fields=["-dismissed_at"], name="dismissal_newest")]

    def __str__(self) -> str:
        return self.identity
