"""The django-grpc-framework service: all of it works on a plain synchronous gRPC server too."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import grpc
import pytest
from django.db import connection
from django_grpc_framework.settings import grpc_settings
from django_grpc_framework.signals import grpc_request_finished, grpc_request_started

from accounts.models import Device
from accounts.services import add_password, create_device, create_token, set_enabled
from acl.services import create_rule
from audit.models import Event, Session
from exhookadmin.exhook.hooks import HOOK_OF_METHOD, Hook
from exhookadmin.exhook.service import HookProviderService, attach, grpc_handlers, new_provider, servicer_of
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.endpoint import wait_until
from tests.exhook.server import (
    V3,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
    response_class,
)
from tests.outage import Outage

pytestmark = pytest.mark.django_db
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)

PASSWORD = "correct horse battery staple"
PUMP: dict[str, Any] = {"clientid": "pump-17", "username": "pump-17", "peerhost": "192.0.2.7"}


@dataclass
class SyncEndpoint:
    """A synchronous server with the service on it, and a channel to it."""

    channel: grpc.Channel

    def stub(self, version: Version) -> Any:
        """The version's own generated stub."""
        generated = import_module(f"protos.exhook_{version.name}_pb2_grpc")
        return generated.HookProviderStub(self.channel)

    def call(self, version: Version, hook: Hook, request: Any) -> Any:
        return getattr(self.stub(version), method_of(version, hook).name)(request, timeout=30)

    def admits(self, version: Version = V3, **clientinfo: Any) -> bool:
        request = authenticate_request(version, **clientinfo)
        return bool(self.call(version, Hook.CLIENT_AUTHENTICATE, request).bool_result)

    def grants(self, topic: str, version: Version = V3, **clientinfo: Any) -> bool:
        request = authorize_request(version, topic, **clientinfo)
        return bool(self.call(version, Hook.CLIENT_AUTHORIZE, request).bool_result)


@pytest.fixture
def endpoint(database: None) -> Iterator[SyncEndpoint]:
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    close = attach(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield SyncEndpoint(channel)
    finally:
        server.stop(1).wait()
        pool.shutdown()
        close()
        # The pool's threads have ended; their database connections end with the last reference.
        gc.collect()


def test_the_framework_finds_the_handlers_by_the_setting():
    assert grpc_settings.ROOT_HANDLERS_HOOK is grpc_handlers


@each_version
def test_the_service_has_every_method_of_every_version(version: Version):
    for name in version.methods:
        assert callable(getattr(HookProviderService, name))
    assert set(HOOK_OF_METHOD) >= set(version.methods)


@each_version
def test_every_rpc_answers(endpoint: SyncEndpoint, version: Version):
    for method in version.methods.values():
        answer = endpoint.call(version, method.hook, request_class(method)())
        assert type(answer) is response_class(method)
        if method.hook == Hook.PROVIDER_LOADED:
            assert version.spell(Hook.CLIENT_AUTHORIZE) in {hook.name for hook in answer.hooks}
        elif method.hook in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE):
            assert answer == version.pb2.ValuedResponse(type="STOP_AND_RETURN", bool_result=False)
        elif method.hook == Hook.MESSAGE_PUBLISH:
            assert answer == version.pb2.ValuedResponse(type="IGNORE")
        else:
            assert answer == version.pb2.EmptySuccess()


@each_version
def test_a_device_lives_a_whole_life(endpoint: SyncEndpoint, version: Version):
    device = create_device("pump-17")
    add_password(device, PASSWORD)
    _, token = create_token(device)
    create_rule(device, "allow", "publish", "up/#")
    assert endpoint.admits(version, **PUMP, password=PASSWORD)
    assert endpoint.admits(version, **PUMP, password=token)
    assert not endpoint.admits(version, **PUMP, password="wrong")
    assert not endpoint.admits(version, clientid="nobody", username="nobody", password="wrong")
    assert endpoint.grants("up/temperature", version, **PUMP)
    assert not endpoint.grants("down/valve", version, **PUMP)
    endpoint.call(version, Hook.CLIENT_CONNECTED, client_request(version, Hook.CLIENT_CONNECTED, PUMP))
    wait_until(lambda: Session.objects.online().filter(device="pump-17").exists())
    assert set(Event.objects.values_list("reason", flat=True)) == {
        "credential_wrong",
        "unknown_device",
        "no_rule_matched",
        "",
    }


def test_a_change_takes_effect(endpoint: SyncEndpoint):
    device = create_device("pump-17", superuser=True)
    wait_until(lambda: endpoint.grants("a/b", **PUMP))
    set_enabled(Device.objects.all(), False)
    wait_until(lambda: not endpoint.grants("a/b", **PUMP))
    set_enabled(Device.objects.all(), True)
    wait_until(lambda: endpoint.grants("a/b", **PUMP))
    assert device.pk


def test_an_error_is_a_denial_here_too(endpoint: SyncEndpoint):
    device = create_device("pump-17", superuser=True, credential_required=False)
    Device.objects.filter(pk=device.pk).update(networks="anywhere")
    assert not endpoint.admits(**PUMP)
    assert not endpoint.grants("a/b", **PUMP)
    wait_until(lambda: Event.objects.filter(reason="internal_error").count() == 2)


def test_a_thread_that_met_an_outage_works_after_it(endpoint: SyncEndpoint, outage: Outage):
    """The framework's request signals end connections that died."""
    create_device("pump-17", superuser=True)
    for _ in range(8):
        endpoint.grants("a/b", clientid="warm", username="warm")
    outage.begin()
    assert not endpoint.grants("a/b", clientid="lamp-1", username="lamp-1")
    outage.end()
    wait_until(lambda: endpoint.grants("a/b", **PUMP))


def test_every_call_begins_and_ends_with_the_framework_s_signals(database: None):
    heard: list[str] = []

    def begun(**_: Any) -> None:
        heard.append("begun")

    def ended(**_: Any) -> None:
        heard.append("ended")

    provider = new_provider(lambda fact: heard.append(fact.kind))
    provider.directory.load_policies()
    grpc_request_started.connect(begun)
    grpc_request_finished.connect(ended)
    try:
        servicer_of(V3, provider).OnClientAuthorize(authorize_request(V3, "a/b"), None)
    finally:
        grpc_request_started.disconnect(begun)
        grpc_request_finished.disconnect(ended)
    assert heard == ["begun", "client.authorize", "ended"]


def test_closing_writes_the_facts_that_wait(database: None):
    server = grpc.server(ThreadPoolExecutor(1))
    close = attach(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for number in range(50):
            SyncEndpoint(channel).grants("a/b", clientid=f"nobody-{number}")
    server.stop(1).wait()
    close()
    assert Event.objects.count() == 50
    assert connection.is_usable()
