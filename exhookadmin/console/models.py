"""What staff keep for themselves."""

from django.conf import settings
from django.db import models


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
