"""Policies that a caller only supposes: read from JSON, and put in force in memory alone."""

from itertools import count
from typing import Any

from rest_framework import serializers

from accounts.core.networks import Networks, parse_networks
from accounts.core.principal import Principal
from acl.core.rule_lines import UNSAVED, known_again
from acl.core.rules import Action, Effect
from acl.core.rules import Rule as CoreRule
from acl.drafts import NEW_POLICY, PolicyDraft, source_of, stored_draft
from acl.models import PRIORITY_LIMIT, Policy, Rule
from exhookadmin.api.fields import NetworksField

MOST_POLICIES = 20
MOST_RULES = 1_000
EVERYONE = "everyone"
DEVICE = "device"


class SupposedRuleSerializer(serializers.ModelSerializer[Rule]):
    """A rule as it would be stored, and checked as it would be then."""

    priority = serializers.IntegerField(
        required=False, default=0, min_value=-PRIORITY_LIMIT, max_value=PRIORITY_LIMIT
    )
    networks = NetworksField(required=False, default="")

    class Meta:
        model = Rule
        fields = ("priority", "effect", "action", "topic_filter", "literal", "networks", "enabled", "note")
        extra_kwargs = {
            "effect": {"required": True},
            "action": {"required": True},
            "literal": {"default": False},
            "enabled": {"default": True},
        }

    def validate_networks(self, value: str) -> Networks:
        try:
            return parse_networks(value.splitlines())
        except ValueError as problem:
            raise serializers.ValidationError([str(problem)]) from None


class SupposedPolicySerializer(serializers.Serializer[Any]):
    """A policy, stored or new, with all the rules that it would have. It counts as enabled."""

    name = serializers.CharField(max_length=150)
    rules = SupposedRuleSerializer(many=True, max_length=MOST_RULES)
    attach = serializers.ChoiceField(
        choices=[EVERYONE, DEVICE],
        required=False,
        allow_null=True,
        default=None,
        help_text="Also attached to everyone, or to the device that is asked about. Null: as it is stored.",
    )


class HypotheticalSerializer(serializers.Serializer[Any]):
    """Policies that take the place of the stored ones with their names, or are added."""

    policies = SupposedPolicySerializer(
        many=True,
        min_length=1,
        max_length=MOST_POLICIES,
        help_text=f"With at most {MOST_RULES:,} rules in all.",
    )

    def to_internal_value(self, data: Any) -> Any:
        # Before the rules are read: the limit is there to save that work.
        if _rules_in(data) > MOST_RULES:
            raise serializers.ValidationError(
                {"policies": [f"These are more than {MOST_RULES:,} rules in all; ask about fewer at a time."]}
            )
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Each policy with the stored one of its name."""
        policies = attrs["policies"]
        rows = Policy.objects.filter(name__in=[policy["name"] for policy in policies])
        stored = {row.name: row for row in rows.prefetch_related("rules", "groups")}
        errors: dict[int, dict[str, list[str]]] = {}
        seen: set[str] = set()
        for number, policy in enumerate(policies):
            name = policy["name"]
            policy["stored"] = stored.get(name)
            if name in seen:
                errors[number] = {"name": [f"“{name}” is here twice; put its rules together."]}
            elif policy["stored"] is None and policy["attach"] is None:
                fix = f"write “{EVERYONE}” or “{DEVICE}”, or correct the name"
                errors[number] = {"attach": [f"“{name}” is new and would apply to nobody; {fix}."]}
            seen.add(name)
        if errors:
            raise serializers.ValidationError({"policies": errors})
        return attrs


def drafts_of(hypothetical: dict[str, Any], principal: Principal | None) -> list[PolicyDraft]:
    """What the validated JSON supposes; “device” is the principal’s.

    A rule that says what a rule of the stored policy says is that rule; others are younger than all of them.
    """
    new_ids = count(NEW_POLICY, -1)
    rule_ids = count(UNSAVED)
    drafts = []
    for policy in hypothetical["policies"]:
        row: Policy | None = policy["stored"]
        before = PolicyDraft(next(new_ids), policy["name"], ()) if row is None else _stored(row)
        rules = [
            _rule(rule, next(rule_ids), source_of(policy["name"]))
            for rule in policy["rules"]
            if rule["enabled"]
        ]
        of_device = frozenset({principal.id}) if principal and policy["attach"] == DEVICE else None
        drafts.append(
            PolicyDraft(
                before.policy_id,
                before.name,
                known_again(rules, before.rules),
                everyone=before.everyone or policy["attach"] == EVERYONE,
                group_ids=before.group_ids,
                device_ids=of_device,
            )
        )
    return drafts


def _rules_in(data: Any) -> int:
    policies = data.get("policies") if isinstance(data, dict) else None
    listed = [
        policy.get("rules")
        for policy in (policies if isinstance(policies, list) else ())
        if isinstance(policy, dict)
    ]
    return sum(len(rules) for rules in listed if isinstance(rules, list))


def _stored(row: Policy) -> PolicyDraft:
    try:
        return stored_draft(row)
    except ValueError:
        # Its rules cannot be read, and are replaced: what repairs it can be tried out.
        group_ids = frozenset(group.pk for group in row.groups.all())
        return PolicyDraft(row.pk, row.name, (), everyone=row.everyone, group_ids=group_ids)


def _rule(given: dict[str, Any], number: int, source: str) -> CoreRule:
    return CoreRule(
        id=number,
        effect=Effect(given["effect"]),
        action=Action(given["action"]),
        topic_filter=given["topic_filter"],
        literal=given["literal"],
        networks=given["networks"],
        priority=given["priority"],
        source=source,
    )
