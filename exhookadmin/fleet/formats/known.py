"""Every format that can be read, by the name that ``manage.py import`` and the API know it by."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from exhookadmin.fleet.formats.acl_conf import read_acl_conf
from exhookadmin.fleet.formats.banned import read_banned
from exhookadmin.fleet.formats.dynamic_security import read_dynamic_security
from exhookadmin.fleet.formats.emqx_rules import read_emqx_cloud_csv, read_emqx_rules_json
from exhookadmin.fleet.formats.emqx_users import read_emqx_users_csv, read_emqx_users_json
from exhookadmin.fleet.formats.go_auth import read_go_auth_acls, read_go_auth_users
from exhookadmin.fleet.formats.malformed import Malformed
from exhookadmin.fleet.formats.mosquitto_acl import read_mosquitto_acl
from exhookadmin.fleet.formats.mosquitto_passwords import read_password_file
from exhookadmin.fleet.formats.mqtt_acl import read_mqtt_acl_csv, read_mqtt_acl_json
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.formats.own_devices import read_own_devices
from exhookadmin.fleet.formats.own_lines import read_own_lines
from exhookadmin.fleet.formats.vernemq import read_vernemq, read_vernemq_lines
from exhookadmin.fleet.records import Finding, Kind, Read

Reader = Callable[[BinaryIO, Options], Iterator[Read]]


@dataclass(frozen=True, slots=True)
class Format:
    """A format. ``whole`` says that its rules are one list: half of it would decide otherwise than the whole,
    so it takes effect in one transaction."""

    title: str
    example: str
    """A small file, with ⏎ for its line ends, and … for what is too long to show."""
    read: Reader
    whole: bool = False
    asks: tuple[str, ...] = ()
    """The options without which it cannot be read."""


FORMATS: Mapping[str, Format] = {
    "devices-csv": Format(
        "devices, this program's own CSV", "username,enabled ⏎ pump-1,true", read_own_devices
    ),
    "fleet-jsonl": Format(
        "groups, policies and devices, this program's own JSON Lines",
        '{"type": "device", "username": "pump-1"}',
        read_own_lines,
    ),
    "emqx-users-csv": Format(
        "EMQX built-in database, users, CSV",
        "user_id,password_hash,salt,is_superuser ⏎ pump-1,…,s1,false",
        read_emqx_users_csv,
        asks=("algorithm",),
    ),
    "emqx-users-json": Format(
        "EMQX built-in database, users, JSON",
        '[{"user_id": "pump-1", "password_hash": "…", "salt": "s1"}]',
        read_emqx_users_json,
        asks=("algorithm",),
    ),
    "emqx-rules-json": Format(
        "EMQX built-in database, authorization rules, JSON",
        '[{"username": "pump-1", "rules": [{"permission": "allow", "action": "publish", "topic": "a/#"}]}]',
        read_emqx_rules_json,
    ),
    "emqx-cloud-csv": Format(
        "EMQX Cloud, authorization rules, CSV",
        "username,topic,action,access ⏎ pump-1,a/#,pub,allow",
        read_emqx_cloud_csv,
        whole=True,
    ),
    "emqx-acl-conf": Format(
        "EMQX acl.conf", '{allow, {username, "pump-1"}, publish, ["a/#"]}.', read_acl_conf, whole=True
    ),
    "emqx-mqtt-acl-csv": Format(
        "EMQX 4 table mqtt_acl, CSV",
        "allow,ipaddr,username,clientid,access,topic ⏎ 1,,pump-1,,3,a/#",
        read_mqtt_acl_csv,
        whole=True,
    ),
    "emqx-mqtt-acl-json": Format(
        "EMQX 4 table mqtt_acl, JSON",
        '[{"allow": 1, "ipaddr": null, "username": "pump-1", "clientid": null, "access": 3, "topic": "a/#"}]',
        read_mqtt_acl_json,
        whole=True,
    ),
    "emqx-banned-csv": Format("EMQX ban list, CSV", "as,who ⏎ username,pump-1", read_banned),
    "mosquitto-passwords": Format(
        "password file of Mosquitto or mosquitto-go-auth", "pump-1:$7$…", read_password_file
    ),
    "mosquitto-acl": Format(
        "ACL file of Mosquitto", "user pump-1 ⏎ topic read a/#", read_mosquitto_acl, whole=True
    ),
    "mosquitto-dynamic-security": Format(
        "Mosquitto dynamic-security.json",
        '{"clients": [{"username": "pump-1", "roles": []}], "roles": []}',
        read_dynamic_security,
        whole=True,
    ),
    "go-auth-users-csv": Format(
        "mosquitto-go-auth users, CSV",
        "username,password_hash,is_admin ⏎ pump-1,$2b$…,false",
        read_go_auth_users,
    ),
    "go-auth-acls-csv": Format(
        "mosquitto-go-auth ACLs, CSV", "username,topic,rw ⏎ pump-1,a/#,3", read_go_auth_acls, whole=True
    ),
    "vernemq-json": Format(
        "VerneMQ authentication rows, JSON array",
        '[{"client_id": "c1", "username": "pump-1", "publish_acl": [{"pattern": "a/#"}]}]',
        read_vernemq,
    ),
    "vernemq-jsonl": Format(
        "VerneMQ authentication rows, JSON Lines",
        '{"client_id": "c1", "username": "pump-1", "publish_acl": [{"pattern": "a/#"}]}',
        read_vernemq_lines,
    ),
}


def read(format_: Format, stream: BinaryIO, options: Options) -> Iterator[Read]:
    """What the file says, in its order. A file that is not what it claims to be ends in one error."""
    for name in format_.asks:
        if not getattr(options, name) and not options.plain:
            yield Finding(Kind.ERROR, 0, name, "this must be given: the file does not carry it")
            return
    try:
        yield from format_.read(stream, options)
    except Malformed as problem:
        reason = f"{problem.reason}. Expected is {format_.title}, such as: {format_.example}"
        yield Finding(Kind.ERROR, problem.line, problem.field, reason)
