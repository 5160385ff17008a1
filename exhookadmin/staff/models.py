"""What is kept of the staff’s work."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from accounts.changes import Channel, Verb

CHANNELS = [
    (Channel.ADMIN.value, "the admin"),
    (Channel.API.value, "the API"),
    (Channel.CLI.value, "a command"),
    (Channel.IMPORT.value, "an import"),
]
VERBS = [(Verb.ADD.value, "added"), (Verb.CHANGE.value, "changed"), (Verb.DELETE.value, "deleted")]


class RecordedChange(models.Model):
    """Who changed what, when and from where. Holds names, not foreign keys: it outlives what it tells of.

    Of a change, ``before`` and ``after`` hold the fields that differ; of a field that is a set, what was
    taken out of it and put in. Secrets are in neither.
    """

    time = models.DateTimeField(default=timezone.now)
    actor = models.CharField("who", max_length=150)
    user_id = models.BigIntegerField(null=True, blank=True)
    channel = models.CharField("by way of", max_length=10, choices=CHANNELS)
    address = models.CharField("from", max_length=255, blank=True)
    verb = models.CharField("what", max_length=10, choices=VERBS)
    kind = models.CharField(max_length=100, help_text="The model, such as accounts.device.")
    object_id = models.BigIntegerField(null=True, blank=True)
    name = models.TextField()
    part_of_kind = models.CharField(max_length=100, help_text="On whose page it belongs.")
    part_of_id = models.BigIntegerField(null=True, blank=True)
    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = "change"
        default_permissions = ("view",)
        permissions = [
            ("open_everything", "Can make superuser devices, and rules that open everything"),
        ]
        indexes = [
            models.Index(fields=["-time", "-id"], name="change_newest"),
            models.Index(fields=["part_of_kind", "part_of_id", "-time"], name="change_of_object"),
            models.Index(fields=["actor", "-time"], name="change_of_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.get_verb_display()} {self.name}"
