"""Passwords and tokens come in and go nowhere: no repr, log record, exception, table or memory holds one."""

import json
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string

from accounts import services
from accounts.core.client import Client
from accounts.core.identity import IdentitySource
from accounts.core.tokens import generate_token
from accounts.models import Credential, Device
from accounts.passwords import password_matches
from accounts.principals import find_device, principal_of
from audit.fact import Fact
from audit.models import Event
from audit.writer import write_facts
from exhookadmin.exhook.boundary import answer
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.versions import VERSIONS, Version
from exhookadmin.logs import LOGGING
from tests.exhook.server import authenticate_request, authorize_request, method_of

pytestmark = pytest.mark.django_db

PASSWORD = "hunter2-Uw9oorah4k"
WRONG = "hunter2-wrong-iephah7E"
NAMES: dict[str, Any] = {
    "clientid": "pump-17",
    "username": "pump-17",
    "peerhost": "192.0.2.7",
    "node": "emqx@a",
}


@pytest.fixture
def token() -> str:
    return generate_token()


def traces(text: str, *secrets: str) -> list[str]:
    """Which of the secrets, or their halves, stand in the text."""
    parts = [part for secret in secrets for part in (secret[: len(secret) // 2], secret[len(secret) // 2 :])]
    return [part for part in parts if part in text]


def test_the_search_finds_what_it_looks_for():
    assert traces(f"x{PASSWORD}y", PASSWORD) == [PASSWORD[:9], PASSWORD[9:]]
    assert traces(f"x{PASSWORD[:9]}…", PASSWORD, WRONG) == [PASSWORD[:9]]
    assert traces("nothing", PASSWORD, WRONG) == []


def every_table() -> str:
    """Every value of every table, as text."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found += [
                f"{table}: {[bytes(v) if isinstance(v, memoryview) else v for v in row]}" for row in cursor
            ]
    return "\n".join(found)


def every_record(records: Iterable[logging.LogRecord]) -> str:
    """The records as operators get them, and everything that any other handler could make of them."""
    formatter = LOGGING["formatters"]["json"]
    as_json = import_string(formatter["()"])(formatter["fmt"], rename_fields=formatter["rename_fields"])
    return "\n".join(f"{as_json.format(record)} {record.getMessage()} {vars(record)!r}" for record in records)


@contextmanager
def listening(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """Every record of every logger at every level, the statements sent to the database included."""
    with caplog.at_level(1), caplog.at_level(1, "django.db.backends"), CaptureQueriesContext(connection):
        yield caplog.records


def told(error: BaseException) -> str:
    """Everything that an exception says of itself."""
    return "\n".join([str(error), repr(error), repr(error.args), *traceback.format_exception(error)])


def texts_in(*things: Any) -> str:
    """Every text that can be reached from these values and objects of ours, whatever their repr shows."""
    found, seen, left = [], set[int](), list(things)
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, str | bytes):
            found.append(repr(thing))
        elif isinstance(thing, Mapping):
            left += [*thing.keys(), *thing.values()]
        elif isinstance(thing, tuple | list | set | frozenset | deque):
            left += thing
        if type(thing).__module__.partition(".")[0] in ("accounts", "acl", "audit", "exhookadmin", "tests"):
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            left += [getattr(thing, name) for name in slots if hasattr(thing, name)]
            left += getattr(thing, "__dict__", {}).values()
    return "\n".join(found)


def test_services_leave_no_trace(caplog, token):
    shown = []
    with listening(caplog) as records:
        device = services.create_device("pump-17", attributes={"site": "berlin"})
        credential = services.add_password(device, PASSWORD, "by hand")
        made, new_token = services.create_token(device, "generated")
        services.save_credential(credential)
        services.switch_credential(made, False)
        services.switch_credential(made, True)
        services.replace_encoded(credential.pk, credential.encoded, credential.encoded)
        services.set_enabled(Device.objects.all(), False)
        found = find_device(IdentitySource.USERNAME, "pump-17")
        assert found is not None
        for row in (device, credential, made, found, principal_of(found), list(found.credentials.all())):
            shown += [str(row), repr(row), texts_in(row)]
        tables = every_table()
        services.revoke_passwords(device)
        services.delete_credential(credential)
        services.delete_devices(Device.objects.all())
    assert "pump-17" in tables
    assert "INSERT" in every_record(records)
    for text in ("\n".join(shown), tables, every_table(), every_record(records)):
        assert traces(text, PASSWORD, new_token.removeprefix("exh_")) == []


@pytest.mark.parametrize(
    "attempt",
    [
        lambda device, token: services.add_password(device, PASSWORD + "\x00"),
        lambda device, token: services.add_password(device, PASSWORD + "\ud800"),
        lambda device, token: services.add_password(device, PASSWORD * 5000),
        lambda device, token: services.add_password(device, token),
        lambda device, token: services.add_password(device, PASSWORD, label="x" * 101),
        lambda device, token: services.add_password(
            device, PASSWORD, expires_at=datetime(9999, 12, 31, tzinfo=UTC)
        ),
        lambda device, token: services.add_password(Device(username="never stored"), PASSWORD),
    ],
    ids=["NUL", "surrogate", "too long", "token", "label", "expiry", "device"],
)
def test_a_refusal_does_not_repeat_the_secret(caplog, token, attempt):
    device = services.create_device("pump-17")
    with listening(caplog) as records, pytest.raises(ValidationError) as refused:
        attempt(device, token)
    for text in (told(refused.value), every_record(records), every_table()):
        assert traces(text, PASSWORD, token.removeprefix("exh_")) == []


def away(execute: Callable[..., Any], *arguments: Any) -> Any:
    """Stands before every statement, as a database that does not answer."""
    raise OperationalError("the connection was refused")


@pytest.mark.parametrize(
    "add", [lambda device: services.add_password(device, PASSWORD), services.create_token]
)
def test_a_failure_of_the_database_does_not_tell_the_secret(caplog, token, monkeypatch, add):
    monkeypatch.setattr(services, "generate_token", lambda: token)
    device = services.create_device("pump-17")
    with (
        listening(caplog) as records,
        pytest.raises(OperationalError) as failed,
        connection.execute_wrapper(away),
    ):
        add(device)
    assert traces(told(failed.value) + every_record(records), PASSWORD, token.removeprefix("exh_")) == []


@pytest.mark.parametrize(
    "encoded", ["", "nonsense", "bcrypt_sha256$$2b$04$short", "pbkdf2_sha256$9999999999999999999$s$h"]
)
def test_a_stored_hash_that_cannot_be_read_does_not_tell_the_secret(caplog, encoded):
    with listening(caplog) as records:
        assert not password_matches(encoded, PASSWORD)
    assert traces(every_record(records), PASSWORD) == []


def ask(provider: Provider, version: Version, hook: Hook, message: Any) -> bytes:
    """A reply by way of memory and, where that is not enough, of the database and a hash."""
    method = method_of(version, hook)
    reply = answer(provider, method, message, provider.quick)
    return reply if isinstance(reply, bytes) else answer(provider, method, message, provider.full)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_decisions_leave_no_trace(caplog, token, version):
    device = services.create_device("pump-17")
    services.add_password(device, PASSWORD)
    _, right_token = services.create_token(device)
    services.create_device("valve-1", enabled=False)
    facts: list[Fact] = []
    provider = new_provider(facts.append)
    provider.directory.load_policies()
    replies = []
    with listening(caplog) as records:
        for names in (
            NAMES,
            NAMES | {"username": "valve-1"},
            NAMES | {"username": "stranger"},
            NAMES | {"clientid": "x"},
        ):
            for secret in (PASSWORD, WRONG, right_token, token, "", PASSWORD):
                message = authenticate_request(version, **names, password=secret)
                replies.append(ask(provider, version, Hook.CLIENT_AUTHENTICATE, message))
            ask(provider, version, Hook.CLIENT_AUTHORIZE, authorize_request(version, "a/b", **names))
        with connection.execute_wrapper(away):
            message = authenticate_request(version, **(NAMES | {"username": "not in memory"}), password=WRONG)
            replies.append(ask(provider, version, Hook.CLIENT_AUTHENTICATE, message))
        # A request that is none: an error of our own, with the password in reach of its traceback.
        broken = answer(provider, method_of(version, Hook.CLIENT_AUTHENTICATE), message, _stumble)
        write_facts(facts)
    assert set(replies) == {ALLOW, DENY}
    assert broken == DENY
    logins = Event.objects.filter(kind="client.authenticate").values_list("repeats", flat=True)
    assert sum(1 + repeats for repeats in logins) > 10
    assert {record.levelname for record in records} >= {"DEBUG", "ERROR"}
    secrets = (PASSWORD, WRONG, right_token.removeprefix("exh_"), token.removeprefix("exh_"))
    for text in (repr(facts), every_table(), every_record(records), texts_in(provider), repr(vars(provider))):
        assert traces(text, *secrets) == []


def _stumble(method: Any, message: Any) -> bytes:
    raise LookupError(f"no {method.name} in the index")


def test_values_that_hold_a_secret_do_not_show_it(token):
    client = Client(client_id="pump-17", username="pump-17", password=PASSWORD)
    credential = Credential(kind="password", encoded=PASSWORD)
    shown = [f"{thing!r} {thing!s} {thing}" for thing in (client, credential, [client], {"client": client})]
    assert traces("".join(shown), PASSWORD) == []


def test_what_the_search_walks_through_it_sees():
    """The memory of a provider is searched as this one is."""

    class Box:
        def __init__(self) -> None:
            self._hidden = {"key": [(Client(password=PASSWORD),)]}

    assert traces(texts_in(Box()), PASSWORD) == [PASSWORD[:9], PASSWORD[9:]]
    assert json.dumps(WRONG) not in texts_in(Box())
