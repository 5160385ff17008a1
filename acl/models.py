"""Policies and rules: what devices may publish and subscribe."""

from collections.abc import Collection

from django.db import models
from django.db.models import Q

from accounts.checked import CheckedModel
from accounts.core.networks import one_a_line
from accounts.models import Device, DeviceGroup
from accounts.validators import validate_networks
from acl.core.rules import Action, Effect
from acl.validators import validate_topic_filter

EFFECTS = [(Effect.ALLOW.value, "allow"), (Effect.DENY.value, "deny")]
ACTIONS = [
    (Action.PUBLISH.value, "publish"),
    (Action.SUBSCRIBE.value, "subscribe"),
    (Action.ALL.value, "publish and subscribe"),
]
PRIORITY_LIMIT = 1_000_000


class Policy(CheckedModel):
    """A named, reusable set of rules, attached to devices, to groups, or to everyone."""

    name = models.CharField(max_length=150, unique=True)
    description = models.TextField(blank=True)
    enabled = models.BooleanField(
        default=True, help_text="Off: none of its rules is tried, its denials included."
    )
    everyone = models.BooleanField(default=False, help_text="Applies to every device, now and later.")
    devices = models.ManyToManyField(Device, blank=True, related_name="policies")
    groups = models.ManyToManyField(DeviceGroup, blank=True, related_name="policies")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.name


class Rule(CheckedModel):
    """Allow or deny an action on the topics of one topic filter; in a policy, or of one device."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="rules", null=True, blank=True)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="rules", null=True, blank=True)
    priority = models.IntegerField(
        default=0,
        help_text="The highest is tried first, across all rules that apply to a device. "
        "At the same priority a deny is tried before an allow.",
    )
    effect = models.CharField(max_length=10, choices=EFFECTS, default=Effect.ALLOW.value)
    action = models.CharField(max_length=10, choices=ACTIONS, default=Action.ALL.value)
    topic_filter = models.TextField(
        validators=[validate_topic_filter],
        help_text="For example site/+/temperature or dev/${clientid}/#. "
        "Known: ${clientid}, ${username}, ${cn}, ${attr.name}.",
    )
    literal = models.BooleanField(
        default=False,
        help_text="Compare as text: “#” then means the subscription to “#” itself, "
        "not every topic (EMQX’s eq).",
    )
    networks = models.TextField(
        blank=True,
        validators=[validate_networks],
        help_text="Only for connections from these addresses or CIDRs, one a line. Empty: from anywhere.",
    )
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=250, blank=True, help_text="Why this rule is here.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="rule_is_in_a_policy_or_of_a_device",
                condition=Q(policy__isnull=False, device__isnull=True)
                | Q(policy__isnull=True, device__isnull=False),
                violation_error_message="A rule belongs either to a policy or to one device.",
            ),
            models.CheckConstraint(
                name="rule_effect_is_known", condition=Q(effect__in=[str(effect) for effect in Effect])
            ),
            models.CheckConstraint(
                name="rule_action_is_known", condition=Q(action__in=[str(action) for action in Action])
            ),
            models.CheckConstraint(name="rule_topic_filter_is_not_empty", condition=~Q(topic_filter="")),
            models.CheckConstraint(
                name="rule_priority_is_bounded",
                condition=Q(priority__gte=-PRIORITY_LIMIT, priority__lte=PRIORITY_LIMIT),
                violation_error_message="The priority must lie between "
                f"-{PRIORITY_LIMIT:,} and {PRIORITY_LIMIT:,}.",
            ),
        ]

    def __str__(self) -> str:
        literal = "eq " if self.literal else ""
        return f"{self.effect} {self.action} {literal}{self.topic_filter}"

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Stores networks one a line, as they are compared."""
        super().clean_fields(exclude)
        if "networks" not in (exclude or ()):
            self.networks = one_a_line(self.networks)
