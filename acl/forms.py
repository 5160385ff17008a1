"""What staff type about rules, in one row of a table each."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from acl.core.rules import Action
from acl.models import ACTIONS, Rule


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
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
