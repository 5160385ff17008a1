"""What a report says of a field that cannot be stored: without repeating it, as forms do to who typed it."""

from collections.abc import Iterable

from accounts.core.binding import Binding
from accounts.validators import ATTRIBUTE_CHARACTERS
from exhookadmin.fleet.formats.unrepeated import MOMENT, NETWORKS

_OF_FIELDS = {
    "client_id_binding": f"Write one of {', '.join(Binding)}.",
    "networks": f"This is no list of networks: {NETWORKS}.",
    "valid_from": f"Write a moment such as {MOMENT}.",
    "valid_until": f"Write a moment such as {MOMENT}.",
    "expires_at": f"Write a moment such as {MOMENT}.",
    "attributes": (
        "The name of an attribute holds letters, digits, “_”, “-” and “.” only, for example “site_id”, and "
        f"its value is a text of at most {ATTRIBUTE_CHARACTERS} characters."
    ),
}


def reason_of_field(field: str, reasons: Iterable[str]) -> str:
    """What a report says where this field of a device or credential cannot be stored."""
    return _OF_FIELDS.get(field) or " ".join(reasons)
