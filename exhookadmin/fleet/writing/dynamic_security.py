"""Mosquitto's ``dynamic-security.json``: a client and a role of its own for each device.

The role holds all that applies to the device, in evaluation order as falling priorities. A denied
subscription is denied at delivery too, because Mosquitto lets a wider subscription pass.
"""

import json
from collections.abc import Iterator
from typing import Any

from accounts.core.binding import Binding, prescribed_client_id
from acl.core.rules import Action, Effect
from exhookadmin.fleet.writing.filling import Abilities, Said, said
from exhookadmin.fleet.writing.fleet import Fleet, WriteOptions, Written
from exhookadmin.fleet.writing.json_arrays import JsonArray
from exhookadmin.fleet.writing.logins import login
from exhookadmin.fleet.writing.mosquitto_passwords import WANTED, pbkdf2_of
from exhookadmin.fleet.writing.unsaid import Unsaid

ABILITIES = Abilities(special=("%c", "%u"))
BINDS = (Binding.EQUALS_USERNAME, Binding.EXACT)
DEFAULTS = {
    "publishClientSend": False,
    "publishClientReceive": False,
    "subscribe": False,
    "unsubscribe": True,
}
TYPES = {
    Action.PUBLISH: ("publishClientSend",),
    Action.SUBSCRIBE: ("subscribePattern", "publishClientReceive"),
    Action.ALL: ("publishClientSend", "subscribePattern", "publishClientReceive"),
}


def write_dynamic_security(fleet: Fleet, options: WriteOptions) -> Iterator[Written]:
    """One object; the fleet is gone through twice, for clients and for roles."""
    yield b'{"defaultACLAccess": ' + json.dumps(DEFAULTS).encode() + b',\n"clients": '
    clients = JsonArray()
    for device in fleet.devices():
        for found in login(device, options, pbkdf2_of, wanted=WANTED, binds=BINDS):
            if isinstance(found, Unsaid):
                yield found
                continue
            _, _, iterations, salt, password = found.split("$")
            client: dict[str, Any] = {"username": device.username}
            binding = Binding(device.values["client_id_binding"])
            client_id = prescribed_client_id(binding, device.values["client_id"], device.username)
            if client_id:
                client["clientid"] = client_id
            client |= {"password": password, "salt": salt, "iterations": int(iterations)}
            client["roles"] = [{"rolename": _role_name(device.username)}]
            yield clients.item(client)
    yield from clients.end()
    yield b',\n"groups": [],\n"roles": '
    roles = JsonArray()
    for effective in fleet.effective():
        rules = []
        for one in said(effective, ABILITIES):
            if isinstance(one, Unsaid):
                yield one
            else:
                rules.append(one)
        acls = [acl for place, rule in enumerate(rules) for acl in _acls(rule, len(rules) - place)]
        yield roles.item({"rolename": _role_name(effective.device.username), "acls": acls})
    yield from roles.end()
    yield b"}\n"


def _role_name(username: str) -> str:
    return f"device {username}"


def _acls(rule: Said, priority: int) -> Iterator[dict[str, Any]]:
    allow = rule.effect is Effect.ALLOW
    for kind in TYPES[rule.action]:
        yield {"acltype": kind, "topic": rule.text, "priority": priority, "allow": allow}
