"""What the explain page is asked: by a form, by the address of the page, or by an event of the audit log."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.urls import reverse, reverse_lazy
from django.utils.http import urlencode
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.core.client import Client
from accounts.core.decision import Reason
from accounts.validators import NAME_CHARACTERS
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from audit.fact import Kind
from audit.models import Event
from exhookadmin.explain import Secret

CONNECT = "connect"
ACTIONS = [
    (CONNECT, "connect"),
    (Action.PUBLISH.value, "publish to"),
    (Action.SUBSCRIBE.value, "subscribe to"),
]
SECRETS = [
    (Secret.RIGHT.value, "a right credential"),
    (Secret.WRONG.value, "a wrong credential"),
    (Secret.NONE.value, "no credential"),
]
TOPICS = 50
"""So many at once: each is tried against every rule that applies."""

EXPLAINED_KINDS = (Kind.AUTHENTICATE, Kind.AUTHORIZE, Kind.CONNACK)
_SECRETS_SENT = {
    Reason.CREDENTIAL_WRONG: Secret.WRONG,
    Reason.CREDENTIAL_MISSING: Secret.NONE,
    Reason.CERTIFICATE_VERIFIED: Secret.NONE,
    Reason.NO_CREDENTIAL_REQUIRED: Secret.NONE,
}


def _text(placeholder: str = "", **more: Any) -> UnfoldAdminTextInputWidget:
    off = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
    return UnfoldAdminTextInputWidget({**off, "placeholder": placeholder, **more})


# The names of devices are offered while one types; whatever is typed can be asked about.
_SUGGESTING = {
    "list": "device-names",
    "hx-get": reverse_lazy("console:device_names"),
    "hx-trigger": "input changed delay:250ms",
    "hx-target": "#device-names",
}


class QuestionForm(forms.Form):
    """May this client do that? A secret is never asked for: what it would prove is chosen instead."""

    username = forms.CharField(
        max_length=NAME_CHARACTERS, required=False, strip=False,
        widget=_text("pump-17", **_SUGGESTING),
        help_text="What the client sends, as it sends it. Empty: it is looked up by its client id.",
    )  # fmt: skip
    client_id = forms.CharField(
        label="Client id", max_length=NAME_CHARACTERS, required=False, strip=False, widget=_text(),
        help_text="Empty: the one that its device is bound to.",
    )  # fmt: skip
    address = forms.CharField(
        max_length=100, required=False, widget=_text("192.0.2.7"), help_text="Where it connects from."
    )
    cn = forms.CharField(
        label="Certificate CN", max_length=NAME_CHARACTERS, required=False, strip=False, widget=_text(),
        help_text="The common name of its client certificate, if it has one.",
    )  # fmt: skip
    action = forms.ChoiceField(label="May it", choices=ACTIONS, widget=UnfoldAdminSelectWidget)
    topics = forms.CharField(
        label="Topics or filters", required=False, strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false", "placeholder": "site/1/on"}),
        help_text="One a line; a subscription may hold + and #, and begin with $share/group/.",
    )  # fmt: skip
    secret = forms.ChoiceField(
        label="And sends", choices=SECRETS, required=False, widget=UnfoldAdminSelectWidget,
        help_text="When connecting. No secret is needed here.",
    )  # fmt: skip

    def clean_topics(self) -> list[str]:
        lines = self.cleaned_data["topics"].replace("\r\n", "\n").split("\n")
        topics = list(dict.fromkeys(line for line in lines if line))
        if len(topics) > TOPICS:
            raise ValidationError(f"These are {len(topics)} topics; ask about at most {TOPICS} at once.")
        return topics

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not (cleaned.get("username") or cleaned.get("client_id") or cleaned.get("cn")) and not self.errors:
            self.add_error("username", "Who asks? Enter a username, a client id or a certificate CN.")
        if cleaned.get("action") != CONNECT and cleaned.get("topics") == []:
            self.add_error("topics", "Enter at least one topic or filter, for example site/1/temperature.")
        return cleaned

    @property
    def client(self) -> Client:
        """The connection that is asked about."""
        said = self.cleaned_data
        return Client(
            client_id=said["client_id"], username=said["username"], address=said["address"], cn=said["cn"]
        )

    @property
    def sent(self) -> Secret:
        """What it sends to prove itself."""
        return Secret(self.cleaned_data["secret"] or Secret.RIGHT)

    @property
    def requests(self) -> list[AccessRequest]:
        """What it wants; nothing when it connects."""
        if self.cleaned_data["action"] == CONNECT:
            return []
        action = Action(self.cleaned_data["action"])
        return [AccessRequest(action, topic) for topic in self.cleaned_data["topics"]]


def question_of(event: Event) -> QueryDict:
    """What was asked when this event was recorded, as the form has it."""
    asked = QueryDict(mutable=True)
    action = event.action if event.kind == Kind.AUTHORIZE else CONNECT
    asked.update(
        {
            "username": event.username,
            "client_id": event.client_id,
            "address": event.address or "",
            "cn": event.cn,
            "action": action or CONNECT,
            "topics": event.topic if event.kind == Kind.AUTHORIZE else "",
            "secret": _secret_sent(event.reason),
        }
    )
    return asked


def explain_url(**asked: str) -> str:
    """The address of the page with this question."""
    return f"{reverse('console:explain')}?{urlencode({name: text for name, text in asked.items() if text})}"


def why_url(event: Event) -> str | None:
    """The address of the explanation of a recorded decision; None where nothing was decided."""
    if event.allowed is None or event.kind not in EXPLAINED_KINDS:
        return None
    return explain_url(event=str(event.pk))


def _secret_sent(reason: str) -> str:
    try:
        return _SECRETS_SENT.get(Reason(reason), Secret.RIGHT).value
    except ValueError:
        return Secret.RIGHT.value
