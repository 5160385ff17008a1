"""What staff type about rules, in one row of a table each."""

from typing import Any

from django.core.exceptions import ValidationError
from django.forms.models import construct_instance
from django.utils.html import format_html
from django.utils.safestring import SafeString
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

DEVICES_IN_A_FORM = 500
"""How many attached devices a form can carry: browsers and Django bound the number of its fields."""


class FilterInput(UnfoldAdminTextInputWidget):
    """A topic filter, with the place below it for remarks on its rule: templates/acl/rule_findings.html."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, value, attrs, renderer)
        place = f"{(attrs or {}).get('id', name)}_findings"
        return format_html('{}<ul class="exhook-findings" id="{}"></ul>', field, place)


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
            "topic_filter": FilterInput(
                {"class": "exhook-wide", "placeholder": "site/+/temperature", "spellcheck": "false"}
            ),
            "networks": UnfoldAdminExpandableTextareaWidget(
                {"class": "exhook-medium", "placeholder": "anywhere", "spellcheck": "false"}
            ),
            "note": UnfoldAdminTextInputWidget({"class": "exhook-medium"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            # The table has headings and no labels.
            field.widget.attrs["aria-label"] = str(field.label or name)
        # “publish and subscribe” is too long for a column; beside the other two, “both” says as much.
        self.fields["action"].choices = [  # type: ignore[attr-defined]
            (value, "both" if value == Action.ALL else words) for value, words in ACTIONS
        ]

    def change(self) -> Change:
        return states.rule_change(self.instance)


class UnstoredRuleForm(RuleForm):
    """A rule that is only looked at: Django would ask the database about the constraints of every row."""

    def _post_clean(self) -> None:
        meta = self._meta
        self.instance = construct_instance(self, self.instance, meta.fields, meta.exclude)
        try:
            self.instance.clean_fields(exclude=self._get_validation_exclusions())  # type: ignore[attr-defined]
        except ValidationError as error:
            self._update_errors(error)  # type: ignore[attr-defined]
