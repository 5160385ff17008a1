"""Every format that can be written, by the name that the import knows it by."""

from collections.abc import Mapping
from dataclasses import dataclass

from exhookadmin.fleet.writing.acl_conf import write_acl_conf
from exhookadmin.fleet.writing.dynamic_security import write_dynamic_security
from exhookadmin.fleet.writing.emqx_rules import write_emqx_rules
from exhookadmin.fleet.writing.emqx_users import write_emqx_users_csv, write_emqx_users_json
from exhookadmin.fleet.writing.fleet import Writer
from exhookadmin.fleet.writing.mosquitto_acl import write_mosquitto_acl
from exhookadmin.fleet.writing.mosquitto_passwords import write_password_file
from exhookadmin.fleet.writing.own_devices import write_own_devices
from exhookadmin.fleet.writing.own_lines import write_own_lines
from exhookadmin.fleet.writing.vernemq import write_vernemq


@dataclass(frozen=True, slots=True)
class Target:
    """A format to write. ``holds`` says what of a fleet it is about; the rest is for another file."""

    title: str
    holds: str
    write: Writer
    asks: tuple[str, ...] = ()
    """The options without which it cannot be written."""


TARGETS: Mapping[str, Target] = {
    "fleet-jsonl": Target("this program's own JSON Lines", "everything", write_own_lines),
    "devices-csv": Target("this program's own CSV", "devices, a credential each", write_own_devices),
    "emqx-users-csv": Target(
        "EMQX built-in database, CSV", "logins, superusers", write_emqx_users_csv, asks=("algorithm",)
    ),
    "emqx-users-json": Target(
        "EMQX built-in database, JSON", "logins, superusers", write_emqx_users_json, asks=("algorithm",)
    ),
    "emqx-rules-json": Target("EMQX built-in database, JSON", "rules by username", write_emqx_rules),
    "emqx-acl-conf": Target("EMQX acl.conf", "rules of all", write_acl_conf),
    "mosquitto-passwords": Target("Mosquitto password file", "logins", write_password_file),
    "mosquitto-acl": Target("Mosquitto ACL file", "rules by username", write_mosquitto_acl),
    "mosquitto-dynamic-security": Target(
        "Mosquitto dynamic-security.json", "logins and rules", write_dynamic_security
    ),
    "vernemq-json": Target("VerneMQ authentication rows, JSON", "logins and what is allowed", write_vernemq),
}
