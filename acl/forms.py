"""What staff type about rules, in one row of a table each."""

from typing import Any

from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.changes import Change
from accounts.forms import ChangeForm
from acl import states
from acl.core.rules import Action
from acl.models import ACTIONS, Policy, Rule


class PolicyForm(ChangeForm):
    """A policy, and what it is attached to."""

    class Meta:
        model = Policy
        fields = ("name", "description", "enabled", "everyone", "groups", "devices")

    def change(self) -> Change:
        return states.policy_change(
            self.instance, self.cleaned_data.get("devices"), self.cleaned_data.get("groups")
        )


class RuleForm(ChangeForm):
    """One rule, compact enough for a table."""

    class Meta:
        model = Rule
        fields = ("priority", "effect", "action", "topic_filter", "literal", "networks", "note", "enabled")
        labels = {"literal": "As text", "networks": "Only from", "enabled": "On"}
        widgets = {
            "priority": UnfoldAdminIntegerFieldWidget({"class": "exhook-narrow"}),
            "effect": UnfoldAdminSelectWidget({"class": "exhook-narrow"}),
            "action": UnfoldAdminSelectWidget({"class": "exhook-select"}),
            "topic_filter": UnfoldAdminTextInputWidget(
                {"class": "exhook-wide", "placeholder": "site/+/temperature", "spellcheck": "false"}
            ),
            "networks": UnfoldAdminExpandableTextareaWidget(
                {"class": "exhook-medium", "placeholder": "anywhere", "spellcheck": "false"}
            ),
            "note": UnfoldAdminTextInputWidget({"class": "exhook-medium"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # “publish and subscribe” is too long for a column; beside the other two, “both” says as much.
        self.fields["action"].choices = [  # type: ignore[attr-defined]
            (value, "both" if value == Action.ALL else words) for value, words in ACTIONS
        ]

    def change(self) -> Change:
        return states.rule_change(self.instance)
