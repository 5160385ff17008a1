"""The audit log. Rows are facts: self-contained, appended, never changed, deleted by age only."""

from django.db import models
from django.db.models import Q

from audit.fact import NAME_CHARACTERS, Kind

KINDS = [
    (Kind.AUTHENTICATE.value, "login"),
    (Kind.AUTHORIZE.value, "access"),
    (Kind.CONNECT.value, "connection asked for"),
    (Kind.CONNACK.value, "connection refused"),
    (Kind.CONNECTED.value, "connected"),
    (Kind.DISCONNECTED.value, "disconnected"),
    (Kind.SUBSCRIBE.value, "subscription asked for"),
    (Kind.UNSUBSCRIBE.value, "subscription given up"),
    (Kind.SESSION_CREATED.value, "session created"),
    (Kind.SESSION_SUBSCRIBED.value, "session subscribed"),
    (Kind.SESSION_UNSUBSCRIBED.value, "session unsubscribed"),
    (Kind.SESSION_RESUMED.value, "session resumed"),
    (Kind.SESSION_DISCARDED.value, "session discarded"),
    (Kind.SESSION_TAKENOVER.value, "session taken over"),
    (Kind.SESSION_TERMINATED.value, "session ended"),
    (Kind.MESSAGE_PUBLISH.value, "message published"),
    (Kind.MESSAGE_DELIVERED.value, "message delivered"),
    (Kind.MESSAGE_ACKED.value, "message acknowledged"),
    (Kind.MESSAGE_DROPPED.value, "message dropped"),
    (Kind.PROVIDER_LOADED.value, "broker node attached"),
    (Kind.PROVIDER_UNLOADED.value, "broker node detached"),
    (Kind.ENDPOINT_BACK.value, "endpoint back"),
]
DECIDED = {
    (Kind.AUTHENTICATE.value, True): "login allowed",
    (Kind.AUTHENTICATE.value, False): "login refused",
    (Kind.AUTHORIZE.value, True): "access allowed",
    (Kind.AUTHORIZE.value, False): "access denied",
}


def kind_choices() -> list[tuple[str, str]]:
    """Asked for by the field, so that a further kind needs no migration."""
    return KINDS


class Event(models.Model):
    """One fact. Holds names, not foreign keys: it outlives what it tells of."""

    id = models.UUIDField(primary_key=True, editable=False)
    time = models.DateTimeField(help_text="When the endpoint received the hook (UTC).")
    kind = models.CharField(max_length=40, choices=kind_choices)
    allowed = models.BooleanField(null=True, help_text="Empty where nothing was decided.")
    reason = models.CharField(max_length=40, blank=True)
    device_id = models.BigIntegerField(null=True, blank=True)
    device = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    client_id = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    username = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    port = models.PositiveIntegerField(default=0)
    listener_port = models.PositiveIntegerField(default=0)
    protocol = models.CharField(max_length=40, blank=True)
    cn = models.CharField("certificate CN", max_length=NAME_CHARACTERS, blank=True)
    node = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    cluster = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    action = models.CharField(max_length=10, blank=True)
    topic = models.TextField(blank=True)
    rule_id = models.BigIntegerField(null=True, blank=True)
    rule = models.TextField(blank=True, help_text="The rule that decided, as it read then.")
    credential_id = models.BigIntegerField(null=True, blank=True)
    detail = models.TextField(
        blank=True, help_text="The broker’s own words: reason of a disconnect, code of a CONNACK."
    )
    revision = models.CharField(
        max_length=16,
        blank=True,
        help_text="Which state of the shared policies decided: a fingerprint of them. A device’s own rules, "
        "and which policies it has, are no part of it.",
    )
    repeats = models.PositiveIntegerField(
        default=0, help_text="How many more times the same client was refused the same for the same reason."
    )
    last_time = models.DateTimeField(null=True, blank=True, help_text="When it was repeated last (UTC).")

    class Meta:
        indexes = [
            # Each in the order of the pages. docs/audit.md has the queries, their plans and what is left out.
            models.Index(fields=["-time", "-id"], name="event_newest"),
            models.Index(fields=["device", "-time", "-id"], name="event_of_device"),
            models.Index(fields=["client_id", "-time", "-id"], name="event_of_client"),
            models.Index(fields=["username", "-time", "-id"], name="event_of_username"),
            models.Index(fields=["address", "-time", "-id"], name="event_of_address"),
            models.Index(fields=["kind", "-time", "-id"], name="event_of_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.device or self.client_id}".strip()

    @property
    def title(self) -> str:
        """What happened, in a few words: the kind, and how it was decided."""
        return DECIDED.get((self.kind, bool(self.allowed))) or str(self.get_kind_display())


class SessionQuerySet(models.QuerySet["Session"]):
    """Sessions, by what one wants to know of them."""

    def online(self) -> "SessionQuerySet":
        """Those that have not ended as far as is known, of which some are ``unknown``."""
        return self.filter(disconnected_at=None)

    def unknown(self) -> "SessionQuerySet":
        """Those that may have ended unheard."""
        return self.filter(disconnected_at=None, unknown_since__isnull=False)


class Session(models.Model):
    """The presence of one client: online from … to …, on which node. Derived from events."""

    client_id = models.CharField(max_length=NAME_CHARACTERS)
    cluster = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    node = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    device_id = models.BigIntegerField(null=True, blank=True)
    device = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    username = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    port = models.PositiveIntegerField(default=0)
    protocol = models.CharField(max_length=40, blank=True)
    connected_at = models.DateTimeField()
    disconnected_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.TextField(blank=True)
    unknown_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="From when on its end may have been missed. One that has ended did so after this.",
    )
    unknown_reason = models.CharField(max_length=40, blank=True)
    doubted_at = models.DateTimeField(
        null=True, blank=True, help_text="When that was told: what is heard later settles it."
    )

    objects = SessionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="session_one_online_per_client_id",
                fields=["cluster", "client_id"],
                condition=Q(disconnected_at=None),
            )
        ]
        indexes = [
            models.Index(fields=["-connected_at", "-id"], name="session_newest"),
            models.Index(fields=["device", "-connected_at"], name="session_of_device"),
            models.Index(fields=["cluster", "client_id", "-connected_at"], name="session_of_client"),
            models.Index(fields=["device_id", "disconnected_at"], name="session_of_device_id"),
            models.Index(fields=["node", "disconnected_at"], name="session_of_node"),
            # Nearly always empty: what is asked of each batch costs nothing.
            models.Index(
                fields=["cluster", "client_id"],
                name="session_unknown",
                condition=Q(disconnected_at=None, unknown_since__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.client_id


class BrokerNode(models.Model):
    """A node of the broker, as it introduced itself and was heard last. Derived from events."""

    cluster = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    name = models.CharField(max_length=NAME_CHARACTERS)
    version = models.CharField(max_length=100, blank=True)
    protocol = models.CharField(max_length=10, blank=True, help_text="ExHook’s version: v1, v2 or v3.")
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the node itself was started.")
    attached_at = models.DateTimeField(null=True, blank=True)
    detached_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="When a call of it was received last.")
    attended_at = models.DateTimeField(
        null=True, blank=True, help_text="When an endpoint was up last that would have received its calls."
    )

    class Meta:
        constraints = [models.UniqueConstraint(name="broker_node_is_unique", fields=["cluster", "name"])]

    def __str__(self) -> str:
        return self.name


class NodeChange(models.Model):
    """What a fact told of a broker node, for sessions that are written later than it."""

    event_id = models.UUIDField(primary_key=True, editable=False)
    cluster = models.CharField(max_length=NAME_CHARACTERS, blank=True)
    node = models.CharField(max_length=NAME_CHARACTERS)
    kind = models.CharField(max_length=40)
    time = models.DateTimeField()
    node_started = models.DateTimeField(null=True)
    node_heard = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["time"], name="node_change_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.node}"


class SpoolPosition(models.Model):
    """How far a spool has been dealt with: moved in the transaction that stores its facts."""

    spool = models.CharField(max_length=40, primary_key=True)
    segment = models.BigIntegerField()
    offset = models.BigIntegerField(help_text="Bytes of the segment that have been dealt with.")
    moved_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.spool


class Chain(models.Model):
    """A hash chain over the events that one writer stored of one day (UTC): where it stands."""

    writer = models.CharField(max_length=40)
    day = models.DateField(help_text="The day of the events’ times.")
    method = models.CharField(max_length=16, help_text="The digest and, where there is one, the key’s name.")
    started_at = models.DateTimeField()
    count = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, help_text="Of the last link.")
    seal = models.CharField(max_length=64, help_text="Made of all of the above.")

    class Meta:
        constraints = [models.UniqueConstraint(name="chain_is_unique", fields=["day", "writer", "method"])]

    def __str__(self) -> str:
        return f"{self.day} {self.writer} {self.method}"


class ChainLink(models.Model):
    """A link of a chain: one event, as it was stored, and everything before it."""

    writer = models.CharField(max_length=40)
    day = models.DateField()
    method = models.CharField(max_length=16, default="")
    number = models.BigIntegerField(help_text="0, 1, 2 … within the chain.")
    event_id = models.UUIDField()
    event_time = models.DateTimeField()
    event_kind = models.CharField(max_length=40, default="")
    content = models.CharField(max_length=64, default="", help_text="The event’s digest.")
    digest = models.CharField(max_length=64, help_text="Of all of the above and the link before.")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="chain_link_is_unique", fields=["day", "writer", "method", "number"])
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.writer} {self.method} {self.number}"


class Maintenance(models.Model):
    """What the upkeep of the log remembers from run to run. One row; all times by the database's clock."""

    done_at = models.DateTimeField(null=True, help_text="When it was done last.")
    warnings = models.JSONField(default=list, help_text="What somebody should look at, as texts.")
    outside = models.JSONField(
        default=dict, help_text="Events in no partition but the default one, by group of kinds."
    )
    clock_trusted_at = models.DateTimeField(help_text="The latest that the clock was when it was trusted.")
    clock_seen_at = models.DateTimeField()
    clock_doubted_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"done {self.done_at}"
