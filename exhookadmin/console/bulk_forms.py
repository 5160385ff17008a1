"""What is asked before a step is taken on many devices."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from unfold.widgets import AutocompleteWidgetMixin

from accounts.forms import RotateForm
from accounts.models import Credential, Device, DeviceGroup


class BulkForm(forms.Form):
    """Nothing but yes or no."""

    def __init__(self, data: Any, devices: Sequence[Device]) -> None:
        super().__init__(data)


class GroupSelect(AutocompleteWidgetMixin, AutocompleteSelect):
    """Groups by typing: there may be thousands."""

    def __init__(self) -> None:
        AutocompleteSelect.__init__(
            self,
            Device._meta.get_field("groups"),
            admin.site,
            attrs={"class": "unfold-admin-autocomplete admin-autocomplete"},
        )


class GroupForm(BulkForm):
    """Which group."""

    group = forms.ModelChoiceField(DeviceGroup.objects.all(), widget=GroupSelect)


class BulkRotateForm(RotateForm):
    """When the old tokens end. Refuses to be sent twice: the tokens are in the first answer alone."""

    field_order = ("newest", "overlap", "label", "expires_at")

    def __init__(self, data: Any, devices: Sequence[Device]) -> None:
        newest = Credential.objects.filter(device__in=devices).order_by("-pk").values_list("pk", flat=True)
        super().__init__(data, newest=newest.first())
        self.fields["overlap"].label = "The old ones end"
        self.fields["label"].help_text = "Empty: each keeps the label of its device’s newest token."
