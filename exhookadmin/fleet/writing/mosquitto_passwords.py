"""Mosquitto's password file: ``user:$7$…``, one a line."""

from collections.abc import Iterator

from exhookadmin.fleet.records import CredentialRecord, Kind
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.logins import login
from exhookadmin.fleet.writing.unsaid import Unsaid

WANTED = "a $7$ hash of Mosquitto"


def write_password_file(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """Superusers are plain users there: the ACL file lets them do what it can say."""
    for device in fleet.devices():
        name = device.username
        if ":" in name or name.startswith("#") or name != name.strip() or set(name) & set("\r\n"):
            reason = "the file cannot hold a name with a colon or line end, or that begins with # or a space"
            yield Unsaid(Kind.REFUSED, name, "username", reason)
            continue
        for found in login(device, options, pbkdf2_of, wanted=WANTED):
            yield found if isinstance(found, Unsaid) else f"{name}:{found}\n".encode()


def pbkdf2_of(credential: CredentialRecord) -> str | None:
    """The hash in the form of ``mosquitto_passwd``; None for another one."""
    return credential.encoded if credential.encoded.startswith("$7$") else None
