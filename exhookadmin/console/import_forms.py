"""What the import page asks: the file, and of the options those that the format looks at."""

import time
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.core.binding import Binding
from accounts.core.text import quoted, text_problem
from accounts.stored_hashes import MACS, SALT_POSITIONS
from accounts.validators import ATTRIBUTE_NAME
from acl.models import PRIORITY_LIMIT
from exhookadmin.fleet.formats.emqx_users import ALGORITHMS
from exhookadmin.fleet.formats.go_auth_hash import SALT_ENCODINGS
from exhookadmin.fleet.formats.options import LIST_NAME_CHARACTERS, Options

MEBIBYTES = 5
LARGEST = MEBIBYTES * 1024 * 1024
MOST_ITERATIONS = 2_147_483_647

_HASHES = ("plain", "algorithm", "salt_position", "mac", "iterations", "dk_length")
_BINDING = ("client_id_binding",)
_ACCEPT = ("drop_allows", "widen_denies")
_LIST = ("name", "priority", *_ACCEPT)

FIELDS: dict[str, tuple[str, ...]] = {
    "devices-csv": (),
    "fleet-jsonl": (),
    "emqx-users-csv": (*_HASHES, *_BINDING),
    "emqx-users-json": (*_HASHES, *_BINDING),
    "emqx-rules-json": (*_LIST, "map_attribute"),
    "emqx-cloud-csv": (*_LIST, "map_attribute"),
    "emqx-acl-conf": (*_LIST, "map_attribute"),
    "emqx-mqtt-acl-csv": _LIST,
    "emqx-mqtt-acl-json": _LIST,
    "emqx-banned-csv": (),
    "mosquitto-passwords": ("salt_encoding", *_BINDING),
    "mosquitto-acl": _LIST,
    "mosquitto-dynamic-security": (*_BINDING, *_LIST),
    "go-auth-users-csv": ("salt_encoding", *_BINDING),
    "go-auth-acls-csv": _LIST,
    "vernemq-json": (*_BINDING, *_LIST),
    "vernemq-jsonl": (*_BINDING, *_LIST),
}
"""The options of each format."""

HAVE_RULES = frozenset({"fleet-jsonl", *(name for name, fields in FIELDS.items() if "priority" in fields)})
"""The formats whose files hold rules, so that whoever imports one must be allowed to add these."""


def _choices(*values: str, **words: str) -> list[tuple[str, str]]:
    return [*((value, value) for value in values), *((value, text) for value, text in words.items())]


def _number(least: int, most: int, initial: int | None, help_text: str, label: str) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, min_value=least, max_value=most, initial=initial, required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "numeric", "autocomplete": "off"}),
        help_text=help_text,
    )  # fmt: skip


def _tick(label: str, help_text: str) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget, help_text=help_text)


class ImportForm(forms.Form):
    """A file, and how to read it. What the format does not look at is not asked."""

    file = forms.FileField(help_text=f"At most {MEBIBYTES} MiB.")
    plain = _tick("Passwords in clear", "The file holds passwords, no hashes.")
    algorithm = forms.ChoiceField(
        required=False, widget=UnfoldAdminSelectWidget,
        choices=[("", "choose"), *_choices(*ALGORITHMS)],
        help_text="As EMQX’s authenticator is configured: the file does not say. In clear: none.",
    )  # fmt: skip
    salt_position = forms.ChoiceField(
        label="Salt", required=False, widget=UnfoldAdminSelectWidget, choices=_choices(*SALT_POSITIONS),
        initial="prefix", help_text="Where it stands.",
    )  # fmt: skip
    mac = forms.ChoiceField(
        label="MAC", required=False, widget=UnfoldAdminSelectWidget, choices=_choices(*MACS),
        initial="sha256", help_text="Of pbkdf2.",
    )  # fmt: skip
    iterations = _number(1, MOST_ITERATIONS, 4096, "Of pbkdf2. Empty: 4096.", "Iterations")
    dk_length = _number(1, 1024, None, "Of pbkdf2, in bytes. Empty: the MAC’s own.", "Length of the key")
    salt_encoding = forms.ChoiceField(
        label="Salt encoding", required=False, widget=UnfoldAdminSelectWidget,
        choices=_choices(*SALT_ENCODINGS), initial="base64", help_text="Of mosquitto-go-auth.",
    )  # fmt: skip
    client_id_binding = forms.ChoiceField(
        label="Client ids", required=False, widget=UnfoldAdminSelectWidget,
        choices=_choices(**{
            "": "as the file says, else the username",
            Binding.EQUALS_USERNAME.value: "the username",
            Binding.ANY.value: "any: a device can throw out any other",
        }),
        help_text="For devices whose file does not bind them to a client id.",
    )  # fmt: skip
    name = forms.CharField(
        label="Name of the list", max_length=LIST_NAME_CHARACTERS, required=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="Its rules are known by it when it is imported again. Empty: the name of the file.",
    )  # fmt: skip
    priority = _number(
        -PRIORITY_LIMIT, PRIORITY_LIMIT, 0, "Of the list’s first rule; then downwards.", "Priority"
    )
    drop_allows = _tick("Drop allows", "Leave out allows with a condition that cannot be kept.")
    widen_denies = _tick("Widen denies", "Take denies without a condition that cannot be kept.")
    map_attribute = forms.CharField(
        label="Attributes", required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "spellcheck": "false", "placeholder": "theirs=ours"}),
        help_text="One a line: theirs=ours makes ${client_attrs.theirs} into ${attr.ours}.",
    )  # fmt: skip

    def __init__(self, format_name: str, data: Any = None, files: Any = None) -> None:
        super().__init__(data, files)
        for name in set(self.fields) - {"file", *FIELDS[format_name]}:
            del self.fields[name]

    def clean_file(self) -> Any:
        file: Any = self.cleaned_data["file"]
        if (file.size or 0) > LARGEST:
            raise ValidationError(
                f"This file is larger than {MEBIBYTES} MiB: import it with “manage.py import” on the server."
            )
        return file

    def clean_map_attribute(self) -> dict[str, str]:
        mapped = {}
        for line in self.cleaned_data["map_attribute"].split():
            theirs, equals, ours = line.partition("=")
            if not equals or not theirs or not ATTRIBUTE_NAME.fullmatch(ours):
                raise ValidationError(f"Write {quoted(line)} as theirs=ours.")
            mapped[theirs] = ours
        return mapped

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        file = cleaned.get("file")
        if file is None or "name" in self.errors:
            return cleaned
        cleaned["name"] = cleaned.get("name") or file.name
        asked = "name" if "name" in self.fields else None
        problem = text_problem(cleaned["name"])
        if problem:
            self.add_error(asked or "file", f"The name of the file: {problem}")
        elif len(cleaned["name"]) > LIST_NAME_CHARACTERS:
            self.add_error(
                asked or "file", f"The name of the file is longer than {LIST_NAME_CHARACTERS} characters."
            )
        return cleaned

    @property
    def options(self) -> Options:
        """How to read the file."""
        said = self.cleaned_data
        binding, iterations = said.get("client_id_binding"), said.get("iterations")
        return Options(
            plain=said.get("plain", False),
            algorithm=said.get("algorithm", ""),
            salt_position=said.get("salt_position") or "prefix",
            mac=said.get("mac") or "sha256",
            iterations=4096 if iterations is None else iterations,
            dk_length=said.get("dk_length"),
            salt_encoding=said.get("salt_encoding") or "base64",
            attributes=said.get("map_attribute") or {},
            binding=Binding(binding) if binding else None,
            priority=said.get("priority") or 0,
            name=said["name"],
            now=time.time(),
            widen_denies=said.get("widen_denies", False),
        )

    @property
    def repeated(self) -> list[tuple[str, str]]:
        """What a form must send to mean the same again: all but the file."""
        sent = {name: self.data.get(name, "") for name in self.fields if name != "file"}
        if "name" in sent:
            sent["name"] = self.cleaned_data["name"]
        return [(name, text) for name, text in sent.items() if text]
