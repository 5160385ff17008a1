"""VerneMQ's authentication rows: one a device, with its bcrypt hash and what it is allowed.

There is no deny. An allow that a deny stands before, and that has a topic in common with it, would allow more
there, so it can only be left out; a deny that no allow comes after needs no saying.
"""

from collections.abc import Iterator

from accounts.core.binding import Binding, prescribed_client_id
from acl.core.rules import Action, Effect
from exhookadmin.fleet.records import CredentialRecord, Kind
from exhookadmin.fleet.writing.filling import Abilities, Said, said
from exhookadmin.fleet.writing.fleet import Effective, Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.json_arrays import JsonArray
from exhookadmin.fleet.writing.logins import login
from exhookadmin.fleet.writing.unsaid import Unsaid

ABILITIES = Abilities(special=("%c", "%u", "%m"))
BINDS = (Binding.EQUALS_USERNAME, Binding.EXACT)


def write_vernemq(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """A JSON array of rows."""
    array = JsonArray()
    for effective in fleet.effective():
        device = effective.device
        password = ""
        for found in login(device, options, _bcrypt, wanted="a bcrypt hash", binds=BINDS):
            if isinstance(found, Unsaid):
                yield found
            else:
                password = found
        if not password:
            continue
        acls: dict[Action, list[dict[str, str]]] = {Action.PUBLISH: [], Action.SUBSCRIBE: []}
        for one in _allowed(effective):
            if isinstance(one, Unsaid):
                yield one
                continue
            for action in acls:
                if action in one.actions():
                    acls[action].append({"pattern": one.text})
        binding = Binding(device.values["client_id_binding"])
        client_id = prescribed_client_id(binding, device.values["client_id"], device.username)
        yield array.item(
            {
                "mountpoint": "",
                "client_id": client_id or "*",
                "username": device.username,
                "password": password,
                "publish_acl": acls[Action.PUBLISH],
                "subscribe_acl": acls[Action.SUBSCRIBE],
            }
        )
    yield from array.end()


def _bcrypt(credential: CredentialRecord) -> str | None:
    return credential.encoded if credential.encoded.startswith("$2") else None


def _allowed(effective: Effective) -> Iterator[Said | Unsaid]:
    denies: list[Said] = []
    for one in said(effective, ABILITIES):
        if isinstance(one, Unsaid):
            # That a deny is wider only shows in the allows that are left out because of it.
            yield one
        elif one.effect is Effect.DENY:
            denies.append(one)
        elif any(deny.meets(one) for deny in denies):
            reason = f"“allow {one.action} {one.text}” comes after a deny, so it would be left out"
            yield Unsaid(Kind.ALLOW_LOST, effective.device.username, "rules", reason)
        else:
            yield one
