"""What belongs to no single app."""

from django.db import models


class Revision(models.Model):
    """One row whose number moves with every change that a decision could depend on.

    Database triggers move it, so it does not matter who made the change.
    """

    number = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(name="revision_is_one_row", condition=models.Q(pk=1))]

    def __str__(self) -> str:
        return str(self.number)
