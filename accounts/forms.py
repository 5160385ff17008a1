"""What staff type about devices. Rules that hold everywhere are the models’ and the services’."""

from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminPasswordToggleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
    UnfoldBooleanWidget,
)

from accounts import services, states
from accounts.changes import Change, NotAllowed, check
from accounts.models import Credential, Device


class ChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    """Tells beside the form what the services would refuse whoever sends it."""

    def change(self) -> Change:
        """What saving this form would change."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            check(self.change())
        except NotAllowed as refused:
            self.add_error(None, str(refused))


def networks_widget() -> UnfoldAdminTextareaWidget:
    """For networks, one a line."""
    return UnfoldAdminTextareaWidget({"rows": 3, "placeholder": "192.0.2.0/24\n2001:db8::/32"})


class AttributesField(forms.CharField):
    """Attributes as people write them: one ``name=value`` a line."""

    widget = UnfoldAdminTextareaWidget({"rows": 3, "placeholder": "site=berlin"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{name}={text}" for name, text in sorted(value.items()))
        return value

    def to_python(self, value: Any) -> dict[str, str]:  # type: ignore[override]
        attributes: dict[str, str] = {}
        for number, line in enumerate((super().to_python(value) or "").splitlines(), start=1):
            if not line.strip():
                continue
            name, equals, text = (part.strip() for part in line.partition("="))
            if not equals:
                raise ValidationError(f"Line {number}: “{line}” has no “=”. Write for example site=berlin.")
            if name in attributes:
                raise ValidationError(f"Line {number}: “{name}” is there twice. Keep one of them.")
            attributes[name] = text
        return attributes

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


def _check_password(password: str) -> None:
    try:
        services.check_password(password)
    except ValidationError as error:
        raise ValidationError(error.messages) from None  # Django adds the field itself


class DeviceForm(ChangeForm):
    """A device as it is edited."""

    attributes = AttributesField(
        required=False,
        help_text="One name=value a line. In topic filters “${attr.site}” then stands for “berlin”.",
    )

    class Meta:
        model = Device
        fields = (
            "username", "description", "enabled", "superuser", "groups", "client_id_binding", "client_id",
            "networks", "valid_from", "valid_until", "certificate_cn", "credential_required", "attributes",
        )  # fmt: skip
        help_texts = {
            "client_id_binding": "The first is right for most devices. Choose another one only where the "
            "device cannot send its username as its client id.",
        }
        widgets = {
            "networks": networks_widget(),
        }

    def change(self) -> Change:
        return states.device_change(self.instance, self.cleaned_data.get("groups"))


class NewDeviceForm(DeviceForm):
    """A device as it is added: with its first credential."""

    generate_token = forms.BooleanField(
        required=False,
        initial=True,
        label="Generate a token",
        widget=UnfoldBooleanSwitchWidget,
        help_text="A long random secret that the device sends as its MQTT password. It is shown once, "
        "right after saving.",
    )
    password = forms.CharField(
        required=False,
        strip=False,
        label="Or set a password",
        widget=UnfoldAdminPasswordToggleWidget({"autocomplete": "new-password"}),
        help_text="For a person, or a device whose password cannot be changed. Switch the token off then.",
    )

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            _check_password(password)
        return password


class CredentialForm(forms.Form):
    """What every new credential can have. ``newest`` is the newest credential the page knew of."""

    newest = forms.IntegerField(widget=forms.HiddenInput, required=False)
    label = forms.CharField(
        required=False,
        max_length=Credential._meta.get_field("label").max_length,
        widget=UnfoldAdminTextInputWidget,
        help_text="To tell it from the others, for example “installed 2026-03”.",
    )
    expires_at = forms.SplitDateTimeField(
        required=False,
        label="Expires",
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: never.",
    )

    def __init__(self, *args: Any, newest: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["newest"] = newest
        self._newest = newest

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise ValidationError("This has passed. Choose a later time, or leave it empty for “never”.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        """Refuses what a reload sends again: it would quietly make a second credential."""
        if self.cleaned_data.get("newest") != self._newest:
            # Whoever does want a further one only has to send the form again.
            sent: Any = self.data
            self.data = {**sent.dict(), "newest": self._newest}
            raise ValidationError(
                "This page was used before: the device got a new credential since it was opened, and a token "
                "is shown once only. Nothing was made this time. Send the page again for one more."
            )
        return self.cleaned_data


class NewTokenForm(CredentialForm):
    """A further token for a device."""


OVERLAPS = {
    "0": "at once",
    "3600": "after one hour",
    "86400": "after one day",
    "604800": "after 7 days",
    "2592000": "after 30 days",
    "7776000": "after 90 days",
}
"""How long the old credential stays live beside the new one: seconds, and in words."""


class OverlapField(forms.TypedChoiceField):
    """When what is replaced ends; a timedelta."""

    def __init__(self) -> None:
        super().__init__(
            label="The old one ends",
            choices=list(OVERLAPS.items()),
            initial=str(7 * 24 * 60 * 60),
            coerce=lambda seconds: timedelta(seconds=int(seconds)),
            widget=UnfoldAdminSelectWidget,
            help_text="Until then both are live, so that the device can be changed over without a gap. "
            "What would end earlier anyway does.",
        )


class RotateForm(CredentialForm):
    """A new token in the place of what a device has."""

    overlap = OverlapField()
    field_order = ("newest", "overlap", "label", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["label"].help_text = "Empty: the label of the old one."


class NewPasswordForm(CredentialForm):
    """A further password for a device."""

    password = forms.CharField(
        strip=False, widget=UnfoldAdminPasswordToggleWidget({"autocomplete": "new-password"})
    )
    revoke_others = forms.BooleanField(
        required=False,
        initial=True,
        label="Revoke the device’s earlier passwords",
        widget=UnfoldBooleanWidget,
        help_text="Off: they stay live, so that the device can be changed over without a gap.",
    )
    field_order = ("newest", "password", "revoke_others", "label", "expires_at")

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        _check_password(password)
        return password
